"""Repositories with a work tree: a run's files come and go with its commits, the user's stay as they are."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitt_core.errors import RunExistsError, StoreUnavailableError
from kitt_core.runs import Attachment, check_run
from kitt_core.testing.documents import MINIMAL, run, small
from kitt_karr.store import KarrResultStore


@pytest.fixture
def tree(git: Any, tmp_path: Path) -> Path:
    """A repository with a work tree, in which the user is at work."""
    tree = tmp_path / "tree"
    git(tmp_path, "init", "-q", "-b", "main", str(tree))
    for name in ("hardware_fingerprint.txt", "kept.txt", "staged.txt", "dirty.txt"):
        (tree / name).write_text(name)
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "first")
    (tree / "staged.txt").write_text("staged")
    git(tree, "add", "staged.txt")
    (tree / "dirty.txt").write_text("dirty")
    (tree / "untracked.txt").write_text("untracked")
    return tree


USERS = " M dirty.txt\nM  staged.txt\n?? untracked.txt\n"


def status(git: Any, tree: Path) -> str:
    return str(git(tree, "status", "--porcelain"))


def test_a_save_adds_the_runs_files_and_leaves_the_users(git: Any, tree: Path) -> None:
    with KarrResultStore(tree, lfs_threshold=10) as store:
        files = [Attachment(n, len(c), partial(io.BytesIO, c)) for n, c in {"a": b"a", "large": b"x" * 50}.items()]
        run_id = store.save_result(MINIMAL, attachments=files)
        assert status(git, tree) == USERS
        (directory,) = (tree / "m/e").iterdir()
        assert (directory / "metrics.json").read_bytes() == MINIMAL
        assert (directory / "outputs/large").read_bytes().startswith(b"version https://git-lfs")
        assert git(tree, "show", "--format=", "--name-only").split() == sorted(
            path.relative_to(tree).as_posix() for path in directory.rglob("*") if path.is_file()
        )
        git.assert_intact(tree)
        git(tree, "commit", "-qm", "the user's")
        assert git(tree, "show", "--format=", "--name-only").split() == ["staged.txt"]
        assert store.count() == 1
        assert store.delete_result(run_id)
    assert status(git, tree) == " M dirty.txt\n?? untracked.txt\n"
    assert not (tree / "m").exists()
    assert git(tree, "reflog", "-1", "--format=%gs").startswith("Delete results: m/e/")


def test_large_outputs_are_files_where_git_lfs_is_set_up(git_lfs: Any, tree: Path) -> None:
    git_lfs(tree, "lfs", "install", "--local")
    with KarrResultStore(tree, lfs_threshold=10) as store:
        content = b"x" * 50
        run_id = store.save_result(MINIMAL, attachments=[Attachment("large", 50, partial(io.BytesIO, content))])
        assert status(git_lfs, tree) == USERS
        (file,) = tree.glob("m/e/*/outputs/large")
        assert file.read_bytes() == content
        git_lfs(tree, "lfs", "fsck")
        assert store.delete_result(run_id)
    assert status(git_lfs, tree) == USERS


def test_what_the_user_changed_in_a_run_stays_when_it_is_deleted(git: Any, tree: Path) -> None:
    with KarrResultStore(tree) as store:
        run_id = store.save_result(MINIMAL)
        (directory,) = (tree / "m/e").iterdir()
        (directory / "summary.md").write_text("my notes")
        (directory / "more.txt").write_text("more")
        assert store.get_document(run_id) == MINIMAL
        assert store.delete_result(run_id)
    assert sorted(path.name for path in directory.iterdir()) == ["more.txt", "summary.md"]


def test_a_file_of_the_users_in_the_way_is_not_overwritten(git: Any, tree: Path) -> None:
    one = check_run(run(timestamp="2025-06-01T12:00:00"), run_id="run-12345678")
    directory = tree / "m/e/2025-06-01_120000_12345678"
    directory.mkdir(parents=True)
    (directory / "metrics.json").write_text("mine")
    with KarrResultStore(tree) as store:
        store.save_checked([one])
        assert (directory / "metrics.json").read_text() == "mine"
        assert store.get_document(one.id) == one.document
    assert f" M {directory.relative_to(tree)}/metrics.json\n" in status(git, tree)


def test_no_link_leads_out_of_the_work_tree(git: Any, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tree / "m").symlink_to(tmp_path / "outside")
    with KarrResultStore(tree) as store:
        with pytest.raises(StoreUnavailableError, match="is a link"):
            store.save_result(MINIMAL)
        assert store.count() == 0
    assert list((tmp_path / "outside").iterdir()) == []
    assert status(git, tree) == USERS + "?? m\n" or "?? m" in status(git, tree)


def test_a_locked_index_is_one_line_and_nothing_changes(
    git: Any, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitt_karr.git.locks._TIMEOUT_SECONDS", 0.05)
    (tree / ".git/index.lock").touch()
    before = git(tree, "rev-parse", "HEAD")
    with KarrResultStore(tree) as store:
        with pytest.raises(StoreUnavailableError, match="index is locked by") as caught:
            store.save_result(MINIMAL)
        assert caught.value.hint == f"if no git is running, remove it: rm {tree}/.git/index.lock"
        assert (git(tree, "rev-parse", "HEAD"), store.count()) == (before, 0)
        assert (tree / ".git/index.lock").exists()
        (tree / ".git/index.lock").unlink()
        store.save_result(MINIMAL)
    assert status(git, tree) == USERS


def test_a_branch_that_moves_meanwhile_causes_a_second_attempt(
    git: Any, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kitt_karr.git.repository import Repository

    real = Repository.advance
    moved: list[str] = []

    def beaten(self: Repository, head: Any, commit: str, reason: str) -> bool:
        if not moved:
            moved.append(git(tree, "commit", "--allow-empty", "-qm", "faster", "--only"))
        return real(self, head, commit, reason)

    monkeypatch.setattr(Repository, "advance", beaten)
    (tree / ".git/hooks").mkdir(exist_ok=True)
    with KarrResultStore(tree) as store:
        monkeypatch.setattr("kitt_karr.git.worktree.held", NotHeld)
        store.save_result(MINIMAL)
        assert store.count() == 1
    assert git(tree, "log", "--format=%s").splitlines()[1:] == ["faster", "first"]
    assert status(git, tree) == USERS


class NotHeld:
    """No lock of the index, so that the test's git can be faster."""

    def __init__(self, *arguments: object) -> None:
        pass

    def __enter__(self) -> Path:
        return Path()

    def __exit__(self, *error: object) -> None:
        pass


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
@pytest.mark.parametrize("job", ["save_result", "delete_result"])
def test_killed_at_any_moment_it_is_usable_and_loses_nothing_of_the_users(
    git: Any, tree: Path, job: str, kills: int
) -> None:
    with KarrResultStore(tree) as store:
        kept = store.save_result(small(0))
    code = f"""
import os, signal, sys
from kitt_core.testing import worker
from kitt_karr.store import KarrResultStore
store = KarrResultStore({str(tree)!r})
number, point = sys.argv[1:]
if {job!r} == "delete_result":
    store.save_result({MINIMAL!r}, run_id=number)
    action = lambda: store.delete_result(number)
else:
    action = lambda: store.save_result({MINIMAL!r}, run_id=number)
worker.kill_at(int(point), action)
"""
    done = subprocess.run([sys.executable, "-c", code, "first", "0"], capture_output=True, text=True, check=True)
    points = int(done.stdout.removeprefix("points "))
    for number in range(kills):
        point = 1 + number * points // kills
        command = [sys.executable, "-c", code, f"run-{number}", str(point)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode in {0, -signal.SIGKILL}
        with KarrResultStore(tree) as store:
            assert store.get_document(f"run-{number}") in {None, MINIMAL}
            store.save_result(MINIMAL, run_id=f"run-{number}")  # nothing that was left behind is in the way
            assert store.get_document(kept) is not None
            git(tree, "status")
            assert (tree / "dirty.txt").read_text() == "dirty"
            # The user's next commit deletes no run.
            assert "D  " not in status(git, tree) or job == "delete_result"
            store.delete_result(f"run-{number}")
    git.assert_intact(tree)
    assert git(tree, "diff", "--cached", "--name-only", "--", "*.txt").split() == ["staged.txt"]


def test_a_split_index_is_refused_and_nothing_changes(git: Any, tree: Path) -> None:
    git(tree, "update-index", "--split-index")
    with KarrResultStore(tree) as store:
        with pytest.raises(StoreUnavailableError, match="split or sparse"):
            store.save_result(MINIMAL)
        git(tree, "update-index", "--no-split-index")
        store.save_result(MINIMAL)
    assert status(git, tree) == USERS


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_every_version_of_the_index_is_kept(git: Any, tree: Path, version: str) -> None:
    git(tree, "update-index", "--index-version", version)
    with KarrResultStore(tree) as store:
        store.save_result(MINIMAL)
    assert status(git, tree) == USERS


def test_a_linked_work_tree_commits_to_its_own_branch(git: Any, tree: Path, tmp_path: Path) -> None:
    git(tree, "worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    with KarrResultStore(tmp_path / "linked") as store:
        store.save_result(MINIMAL)
        assert store.count() == 1
    assert status(git, tmp_path / "linked") == ""
    assert git(tree, "log", "-1", "--format=%s", "other").startswith("Add results")
    assert git(tree, "log", "-1", "--format=%s").strip() == "first"
    assert status(git, tree) == USERS


def test_a_refused_save_leaves_no_file(git: Any, tree: Path) -> None:
    with KarrResultStore(tree) as store:
        store.save_result(MINIMAL, run_id="taken")
        with pytest.raises(RunExistsError):
            store.save_result(small(1), run_id="taken")
    assert status(git, tree) == USERS
    names = {path.name for path in tree.iterdir()}
    assert names == {
        ".git",
        "hardware_fingerprint.txt",
        "kept.txt",
        "staged.txt",
        "dirty.txt",
        "untracked.txt",
        "m",
    }
    assert len(list((tree / "m/e").iterdir())) == 1
