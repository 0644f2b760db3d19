"""Real git clients accept what KITT writes, byte for byte, and KITT reads what they write."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitt_core.runs import Attachment, Severity, check_run
from kitt_core.testing.documents import HOSTILE, HOSTILE_NAMES, MINIMAL, STANDARD, run, small
from kitt_karr.store import KarrResultStore

NAMES = [*HOSTILE_NAMES, ".git", ".GIT", "git~1", "GIT~1", "gitmod~1", "GI7EBA~1", ".gitattributes", ".gitmodules"]


def attachment(name: str, content: bytes) -> Attachment:
    return Attachment(name, len(content), partial(io.BytesIO, content))


def contents(store: KarrResultStore, run_id: str) -> dict[str, bytes]:
    found = {}
    for item in store.attachments(run_id):
        with item.open() as file:
            found[item.name] = file.read()
        assert item.size == len(found[item.name])
    return found


def test_a_save_is_one_commit_that_git_shows(git: Any, store: KarrResultStore, path: Path) -> None:
    document = b'{"model": "org/name", "engine": "vllm", "timestamp": "2025-06-01T12:00:05+02:00"}'
    run_id = store.save_result(document, attachments=[attachment("a.gz", b"ab")])
    log = git(path, "log", "--format=%s|%an|%ae", "main").splitlines()
    assert log == [
        "Add results: org_name/vllm/2025-06-01_100005|KITT|kitt@localhost",
        "Initial commit: KARR results repository|KITT|kitt@localhost",
    ]
    directory = f"org_name/vllm/2025-06-01_100005_{run_id[-8:]}"
    names = git(path, "ls-tree", "-r", "--name-only", "main", f"{directory}/").split()
    assert [name.removeprefix(f"{directory}/") for name in names] == [
        "config.json",
        "metrics.json",
        "outputs/a.gz",
        "run.json",
        "summary.md",
    ]
    assert git(path, "config", "core.bare").strip() == "true"
    git.assert_intact(path)


def test_the_author_is_the_one_that_git_knows(
    git: Any, store: KarrResultStore, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.initialize()
    (tmp_path / ".gitconfig").write_text("[user]\nname = Ada <x>\nemail = ada@example.org\n")
    with KarrResultStore(path) as other:
        other.save_result(MINIMAL)
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Grace")
    with KarrResultStore(path) as other:
        other.save_result(MINIMAL)
    log = git(path, "log", "-2", "--format=%an|%ae|%cn").splitlines()
    assert log == ["Grace|ada@example.org|Ada x", "Ada x|ada@example.org|Ada x"]


def test_every_document_and_name_survives_a_clone_with_line_endings_converted(
    git: Any, store: KarrResultStore, path: Path, tmp_path: Path
) -> None:
    documents = {f"doc-{i}": document for i, document in enumerate(HOSTILE.values())}
    runs = [check_run(document, run_id=run_id) for run_id, document in documents.items()]
    runs += [check_run(run(model=name, engine=name), run_id=f"name-{i}") for i, name in enumerate(NAMES)]
    store.save_checked(runs)
    git.assert_intact(path)
    clone = git.clone(path, tmp_path / "clone", "-c", "core.autocrlf=true", "-c", "core.eol=crlf")
    assert git(clone, "status", "--porcelain", "--ignored") == ""
    with KarrResultStore(clone) as other:
        assert {stored.id: stored.document for stored in other.scan()} == {run.id: run.document for run in runs}
        assert [finding for finding in other.verify() if finding.severity is Severity.DAMAGE] == []
    files = {json.loads(file.read_bytes())["id"]: file.parent for file in clone.rglob("run.json")}
    for each in runs:
        assert (files[each.id] / "metrics.json").read_bytes() == each.document
        assert (files[each.id] / "summary.md").read_bytes().count(b"\r\n") == 0


def test_attachments_of_every_name_and_size_come_back_and_git_takes_them(
    git: Any, store: KarrResultStore, path: Path, tmp_path: Path
) -> None:
    files = {name: name.encode() * 3 for name in (".git", "git~1", ".gitattributes", "é %", '"q"', "[a]*?", " b ")}
    files |= {f"large {name}": bytes(range(256)) for name in files}
    files |= {"empty": b"", "x" * 255: b"long", "y" * 255: b"longer" * 40}
    files["pointer"] = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"
    run_id = store.save_result(MINIMAL, attachments=[attachment(*item) for item in files.items()])
    assert contents(store, run_id) == files
    git.assert_intact(path)
    clone = git.clone(path, tmp_path / "clone")
    assert git(clone, "status", "--porcelain") == ""
    with KarrResultStore(clone) as other:  # what LFS has did not come along: pointers only
        small_ones = {name for name, content in files.items() if len(content) <= 100 and name != "pointer"}
        assert contents(other, run_id).keys() == small_ones
        notices = [finding for finding in other.verify() if "LFS content is not here" in finding.what]
        assert len(notices) == len(files) - len(small_ones)
        assert {finding.severity for finding in other.verify()} == {Severity.NOTICE}


def test_json_shows_as_text_in_a_diff(git: Any, store: KarrResultStore, path: Path) -> None:
    store.save_result(b'{"model": "m",\r\n "engine": "e"}')
    assert '+{"model": "m",' in git(path, "show", "main")


def test_commits_of_git_are_runs_at_once(git: Any, store: KarrResultStore, path: Path, tmp_path: Path) -> None:
    kept = store.save_result(small(1))
    clone = git.clone(path, tmp_path / "clone")
    directory = clone / "org/name/2025-06-01_120000"
    directory.mkdir(parents=True)
    (directory / "metrics.json").write_bytes(STANDARD)
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "by hand", GIT_COMMITTER_DATE="2025-06-02T00:00:00Z")
    git(clone, "push", "-q")
    assert store.count() == 2
    (stored,) = store.scan({"engine": "vllm", "suite_name": "standard", "passed": False})
    assert stored.document == STANDARD
    assert stored.created_at.isoformat() == "2025-06-02T00:00:00+00:00"
    git(clone, "commit", "-q", "--allow-empty", "-m", "later")
    git(clone, "rm", "-rq", "org_model-0001")
    git(clone, "commit", "-qm", "removed")
    git(clone, "push", "-q")
    assert [run.id for run in store.scan()] == [stored.id]
    assert store.get_document(kept) is None
    assert next(iter(store.scan())).created_at == stored.created_at
    assert store.delete_result(stored.id)
    git(clone, "pull", "-q")
    assert not directory.exists()
    assert list(store.verify()) == []


def test_history_that_was_rewritten_is_followed(git: Any, store: KarrResultStore, path: Path) -> None:
    ids = [store.save_result(small(i)) for i in range(5)]
    git(path, "update-ref", "refs/heads/main", "main~2")
    assert {run.id for run in store.scan()} == set(ids[:3])
    git(path, "reflog", "expire", "--expire=now", "--all")
    git(path, "gc", "-q", "--prune=now")  # so that the commit that the index was at no longer exists
    ids.append(store.save_result(small(7)))
    assert {run.id for run in store.scan()} == {*ids[:3], ids[-1]}
    assert list(store.verify()) == []
    git.assert_intact(path)


def test_a_packed_repository_is_read_and_written(git: Any, store: KarrResultStore, path: Path) -> None:
    ids = [store.save_result(small(i)) for i in range(5)]
    git(path, "gc", "-q", "--prune=now")
    git(path, "pack-refs", "--all")
    assert not (path / "refs/heads/main").exists()
    assert {run.id for run in store.scan()} == set(ids)
    ids.append(store.save_result(small(7)))
    with KarrResultStore(path) as other:
        assert {run.id for run in other.scan()} == set(ids)
    git.assert_intact(path)


def test_git_and_kitt_committing_in_turn_lose_nothing(
    git: Any, store: KarrResultStore, path: Path, tmp_path: Path
) -> None:
    store.save_result(small(0))
    clone = git.clone(path, tmp_path / "clone")
    for i in range(5):
        store.save_result(small(i + 1))
        git(clone, "pull", "-q", "--rebase")
        (clone / f"note-{i}").write_text("x")
        git(clone, "add", ".")
        git(clone, "commit", "-qm", f"note {i}")
        git(clone, "push", "-q")
    assert store.count() == 6
    names = git(path, "ls-tree", "--name-only", "main").split()
    assert {f"note-{i}" for i in range(5)} <= set(names)
    assert git(path, "rev-list", "--count", "main").strip() == "12"


def test_a_deleted_run_stays_in_the_history(git: Any, store: KarrResultStore, path: Path) -> None:
    run_id = store.save_result(b'{"model": "m", "engine": "e", "timestamp": "2025-06-01T12:00:05"}')
    assert store.delete_result(run_id)
    assert git(path, "log", "-1", "--format=%s").strip() == "Delete results: m/e/2025-06-01_120005"
    assert git(path, "show", f"main~1:m/e/2025-06-01_120005_{run_id[-8:]}/metrics.json").startswith('{"model"')
    assert not git(path, "ls-tree", "main", "m")


def test_a_batch_is_one_commit(git: Any, store: KarrResultStore, path: Path) -> None:
    ids = store.save_results([small(i) for i in range(4)])
    message = git(path, "log", "-1", "--format=%B").splitlines()
    assert message[:3] == ["Add results: 4 runs", "", "org_model-0000/vllm/2025-01-01_000000"]
    assert git(path, "rev-list", "--count", "main").strip() == "2"
    assert {run.id for run in store.scan()} == set(ids)


def test_runs_of_the_same_second_and_end_of_id_have_their_own_directories(
    git: Any, store: KarrResultStore, path: Path
) -> None:
    runs = [check_run(run(n=n, timestamp="2025-06-01T12:00:00"), run_id=f"{n}-12345678") for n in range(3)]
    store.save_checked(runs[:1])
    store.save_checked(runs[1:])
    assert {stored.id: stored.document for stored in store.scan()} == {each.id: each.document for each in runs}
    assert store.delete_result("1-12345678")
    assert {stored.id for stored in store.scan()} == {"0-12345678", "2-12345678"}
    git.assert_intact(path)


@pytest.mark.parametrize("branch", ["main", "results/gpu"])
def test_the_branch_that_a_repository_is_on_is_used(git: Any, tmp_path: Path, branch: str) -> None:
    path = tmp_path / "own"
    git(tmp_path, "init", "-q", "--bare", "-b", branch, str(path))
    with KarrResultStore(path) as store:
        store.save_result(MINIMAL)
        assert store.count() == 1
    assert git(path, "log", "--format=%s").splitlines()[1:] == ["Initial commit: KARR results repository"]
    assert git(path, "for-each-ref", "--format=%(refname)").split() == [f"refs/heads/{branch}"]
    git.assert_intact(path)
