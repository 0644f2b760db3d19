"""Bad use and damage: one line with a hint, nothing lost, nothing half written."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitt_core import open_store
from kitt_core.errors import (
    ConfigurationError,
    KittError,
    RunExistsError,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from kitt_core.runs import Attachment, SchemaState, Severity
from kitt_core.testing.documents import MINIMAL, small
from kitt_karr.store import KarrResultStore


def refused(call: Callable[[], object], match: str) -> str:
    with pytest.raises(StoreUnavailableError, match=match) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) <= 300
    assert caught.value.hint
    return caught.value.hint


def save(path: Path) -> None:
    with KarrResultStore(path) as store:
        store.save_result(MINIMAL)


def count(path: Path) -> int:
    with KarrResultStore(path) as store:
        return store.count()


def test_what_is_not_a_repository_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("a")
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "notes", tmp_path / "file"):
        refused(partial(save, path), "is not a git repository")
        refused(partial(count, path), "is not a git repository")
    assert [file.name for file in (tmp_path / "notes").iterdir()] == ["a.txt"]
    assert (tmp_path / "file").read_text() == "x"


def test_a_repository_of_source_code_is_refused(git: Any, tmp_path: Path) -> None:
    code = tmp_path / "code"
    git(tmp_path, "init", "-q", str(code))
    (code / "main.py").write_text("")
    git(code, "add", ".")
    git(code, "commit", "-qm", "code")
    assert count(code) == 0
    hint = refused(lambda: save(code), "is a git repository, but not KARR's")
    assert "hardware_fingerprint.txt" in hint
    assert git(code, "status", "--porcelain") == ""
    assert git(code, "rev-list", "--count", "HEAD").strip() == "1"


def test_reading_what_is_not_there_makes_nothing(path: Path) -> None:
    with KarrResultStore(path) as store:
        assert store.get_document("x") is None
        assert store.list_results() == []
        assert list(store.scan()) == []
        assert store.aggregate("engine") == []
        assert list(store.attachments("x")) == []
        assert store.delete_result("x") is False
        assert list(store.verify()) == []
        status = store.schema_status()
        assert (status.state, status.version) == (SchemaState.MISSING, None)
        assert store.prepares_itself(status)
    assert not path.exists()


def test_an_empty_directory_becomes_the_repository(git: Any, path: Path) -> None:
    path.mkdir()
    save(path)
    assert count(path) == 1
    git.assert_intact(path)


@pytest.mark.parametrize("work_tree", [False, True])
def test_a_repository_whose_creation_was_interrupted_is_completed(
    git: Any, path: Path, *, work_tree: bool
) -> None:
    (path / ".kitt-karr-0123/refs").mkdir(parents=True)
    if not work_tree:
        for part in ("objects", "config"):  # those are moved before HEAD
            (path / part).mkdir()
    with KarrResultStore(path, work_tree=work_tree) as store:
        store.save_result(MINIMAL)
    assert count(path) == 1
    assert not (path / ".kitt-karr-0123").exists()
    git.assert_intact(path)


def test_a_tree_of_results_is_not_taken_for_an_unfinished_repository(path: Path) -> None:
    for name in ("objects", "config"):
        (path / name).mkdir(parents=True)
    (path / ".kitt-lock").touch()
    refused(lambda: save(path), "is not a git repository")
    assert len(list(path.iterdir())) == 3


def follow(git: Any, hint: str) -> None:
    """Do what a hint says."""
    _, option, place, *arguments = hint.split("`")[1].split()
    assert option == "-C"
    git(Path(place), *arguments)


def test_a_detached_head_is_read_and_not_written(git: Any, store: KarrResultStore, path: Path) -> None:
    run_id = store.save_result(MINIMAL)
    tip = git(path, "rev-parse", "main").strip()
    (path / "HEAD").write_text(f"{tip}\n")
    assert store.count() == 1
    hint = refused(lambda: store.save_result(small(1)), "detached HEAD")
    refused(lambda: store.delete_result(run_id), "detached HEAD")
    assert git(path, "rev-parse", "main").strip() == tip
    follow(git, hint)
    assert store.delete_result(run_id)


def test_the_hint_for_a_detached_head_works_with_a_work_tree(git: Any, path: Path) -> None:
    with KarrResultStore(path, work_tree=True) as store:
        store.save_result(small(0))
        git(path, "checkout", "-q", "--detach")
        follow(git, refused(lambda: store.save_result(small(1)), "detached HEAD"))
        store.save_result(small(1))
    assert git(path, "status", "--porcelain") == ""


def test_an_unborn_branch_is_refused_if_there_are_others(git: Any, store: KarrResultStore, path: Path) -> None:
    store.save_result(MINIMAL)
    git(path, "symbolic-ref", "HEAD", "refs/heads/mian")
    hint = refused(store.count, "on the branch mian, which has no commit yet; the branch main has")
    assert hint.endswith("symbolic-ref HEAD refs/heads/main")
    refused(lambda: store.save_result(small(1)), "mian")
    git(path, "symbolic-ref", "HEAD", "refs/heads/main")
    assert store.count() == 1


def test_a_head_that_leads_nowhere_is_one_line(store: KarrResultStore, path: Path) -> None:
    store.save_result(MINIMAL)
    for head in ("", "nonsense", "ref: refs/heads/../../x", "ref: HEAD"):
        (path / "HEAD").write_text(head)
        with KarrResultStore(path) as other, pytest.raises(StoreUnavailableError) as caught:
            other.count()
        assert caught.value.hint


def test_a_locked_branch_is_one_line_and_git_keeps_its_lock(
    store: KarrResultStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitt_karr.git.locks._TIMEOUT_SECONDS", 0.05)
    store.save_result(MINIMAL)
    lock = path / "refs/heads/main.lock"
    lock.touch()
    assert refused(lambda: store.save_result(small(1)), "the branch is locked by").endswith(f"rm {lock}")
    assert lock.exists()
    assert store.count() == 1
    lock.unlink()
    store.save_result(small(1))


def test_a_lock_that_a_killed_kitt_left_is_removed(store: KarrResultStore, path: Path) -> None:
    store.save_result(MINIMAL)
    (path / "kitt/branch-012345.claim").touch()
    os.link(path / "kitt/branch-012345.claim", path / "refs/heads/main.lock")
    store.save_result(small(1))
    assert store.count() == 2
    assert not list((path / "kitt").glob("*.claim"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_repository_is_read(store: KarrResultStore, path: Path) -> None:
    _read_only(store, path)


def test_a_repository_without_a_writable_place_for_the_index_is_read(
    store: KarrResultStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = store.save_result(MINIMAL)
    shutil.rmtree(path / "kitt")
    real = os.access
    monkeypatch.setattr(os, "access", lambda place, mode: place != path / "kitt" and real(place, mode))
    with KarrResultStore(path) as other:
        assert other.get_document(run_id) == MINIMAL
        assert other._opened is not None
        index = other._opened[1].paths[0]
        assert index.exists()
        assert path not in index.parents
    assert not index.parent.exists()


def _read_only(store: KarrResultStore, path: Path) -> None:
    run_id = store.save_result(MINIMAL)
    store.close()
    shutil.rmtree(path / "kitt")
    places = [path, *(place for place in path.rglob("*") if place.is_dir())]
    for place in places:
        place.chmod(0o555)
    try:
        with KarrResultStore(path) as other:
            assert other.get_document(run_id) == MINIMAL
            refused(lambda: other.save_result(small(1)), "cannot be written: Permission denied")
            assert other.count() == 1
    finally:
        for place in places:
            place.chmod(0o755)


def objects(path: Path, git: Any, name: str) -> Path:
    for line in git(path, "ls-tree", "-r", "main").splitlines():
        if line.endswith(name):
            identity = str(line.split()[2])
            return path / "objects" / identity[:2] / identity[2:]
    raise AssertionError(name)


@pytest.mark.parametrize("how", ["removed", "emptied", "cut off", "changed", "another"])
@pytest.mark.parametrize("name", ["metrics.json", "run.json", "summary.md", "outputs/a"])
def test_a_corrupt_object_is_named_and_hides_nothing_else(
    git: Any, store: KarrResultStore, path: Path, name: str, how: str
) -> None:
    kept = store.save_result(small(1))
    file = Attachment("a", 5, partial(io.BytesIO, b"small"))
    hurt = store.save_result(MINIMAL, run_id="hurt", attachments=[file])
    victim = objects(path, git, f"_hurt/{name}")
    content = victim.read_bytes()
    other = objects(path, git, "README.md").read_bytes()
    victim.chmod(0o644)
    if how == "removed":
        victim.unlink()
    else:
        damage = {"emptied": b"", "cut off": content[:-8], "changed": b"\0" + content[1:], "another": other}
        victim.write_bytes(damage[how])
    for rebuild in (False, True):
        with KarrResultStore(path) as again:
            damage_found = [f for f in again.verify(rebuild=rebuild) if f.severity is Severity.DAMAGE]
            assert any(f"_hurt/{name}" in finding.what for finding in damage_found)
            assert all("\n" not in finding.what for finding in damage_found)
            assert again.get_document(kept) is not None
            assert kept in {summary.id for summary in again.list_results()}
    with KarrResultStore(path) as again:
        if name == "metrics.json":
            with pytest.raises(KittError):
                again.get_document(hurt)
        elif name != "run.json":
            assert again.get_document(hurt) == MINIMAL
        again.save_result(small(2))


def test_a_corrupt_tree_is_one_line(git: Any, store: KarrResultStore, path: Path) -> None:
    store.save_result(MINIMAL)
    identity = git(path, "rev-parse", "main:m").strip()
    victim = path / "objects" / identity[:2] / identity[2:]
    victim.chmod(0o644)
    victim.write_bytes(b"nonsense")
    shutil.rmtree(path / "kitt")
    with KarrResultStore(path) as again:
        refused(again.count, f"object {identity[:12]}")
        refused(lambda: again.save_result(small(1)), f"object {identity[:12]}")
        assert {finding.severity for finding in again.verify()} == {Severity.DAMAGE}


def test_a_file_where_a_directory_is_needed_is_named(
    git: Any, store: KarrResultStore, path: Path, tmp_path: Path
) -> None:
    store.initialize()
    clone = git.clone(path, tmp_path / "clone")
    (clone / "m").write_text("x")
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "m")
    git(clone, "push", "-q")
    assert refused(lambda: store.save_result(MINIMAL), "has a file m, a directory is needed")
    store.save_result(small(1))
    assert store.count() == 1


def test_formats_that_are_not_known_are_refused(git: Any, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "--object-format=sha256", str(tmp_path / "sha256"))
    refused(lambda: count(tmp_path / "sha256"), "SHA-256")
    git(tmp_path, "init", "-q", "--bare", str(tmp_path / "future"))
    git(tmp_path / "future", "config", "core.repositoryformatversion", "99")
    refused(lambda: count(tmp_path / "future"), "cannot be opened")


@pytest.mark.parametrize("mistake", ["[user\n", '[core]\nrepositoryformatversion = "1\n', "name\n[a b c]\n"])
@pytest.mark.parametrize("work_tree", [False, True])
def test_a_configuration_of_git_that_cannot_be_read_is_named(path: Path, mistake: str, *, work_tree: bool) -> None:
    with KarrResultStore(path, work_tree=work_tree) as store:
        store.initialize()
    file = path / (".git/config" if work_tree else "config")
    with file.open("a") as config:
        config.write(mistake)
    for call in (save, count):
        hint = refused(lambda call=call: call(path), f"^{file} is not a valid git configuration")  # type: ignore[misc]
        assert f"git -C {path} config --list" in hint


def test_a_configuration_of_the_user_that_cannot_be_read_is_not_taken_for_damage(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gitconfig").write_text("[user\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert "config --list" in refused(lambda: save(path), f"{path} is not a valid git configuration")


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="lfs_threshold"):
        open_store("karr:///x", lfs_threshold=-1)


def test_a_refused_save_changes_nothing(git: Any, store: KarrResultStore, path: Path) -> None:
    store.save_result(MINIMAL, run_id="taken")
    before = git(path, "rev-parse", "main")
    with pytest.raises(RunExistsError):
        store.save_result(small(1), run_id="taken")
    store.save_result(MINIMAL, run_id="taken")
    assert git(path, "rev-parse", "main") == before
    git.assert_intact(path)


def test_an_unsupported_operation_is_reported_without_the_name_of_a_class(tmp_path: Path) -> None:
    with KarrResultStore(tmp_path / "karr") as store, pytest.raises(UnsupportedOperationError) as caught:
        store.migrate()
    assert caught.value.message == f"{tmp_path / 'karr'} cannot migrate: its backend does not offer MIGRATE"


def test_a_repository_that_cannot_be_committed_to_is_refused_beforehand(
    git: Any, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.access
    with KarrResultStore(path) as store:
        store.check_writable()
        store.save_result(MINIMAL)
        store.check_writable()
        for part in ("objects", "refs/heads", "kitt"):
            with monkeypatch.context() as denied:
                denied.setattr(
                    os, "access", lambda p, mode, part=part: str(p) != str(path / part) and real(p, mode)
                )
                with pytest.raises(StoreUnavailableError, match=rf"{part} cannot be written: .* is not writable"):
                    store.check_writable()
        git(path, "update-ref", "--no-deref", "HEAD", "main")
        with pytest.raises(StoreUnavailableError, match="detached HEAD"):
            store.check_writable()
