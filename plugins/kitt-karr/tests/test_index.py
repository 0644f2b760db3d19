"""The index is derived: never trusted, rebuilt when it is lost or damaged, or by `verify`."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import traceback
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitt_core.runs import Attachment, Finding, Severity
from kitt_core.testing.documents import MINIMAL, STANDARD, run, small
from kitt_karr.git.objects import write_object
from kitt_karr.index import INDEX_NAME, IndexChange, RunIndex
from kitt_karr.store import KarrResultStore


@pytest.fixture
def filled(store: KarrResultStore) -> KarrResultStore:
    store.save_results([small(i) for i in range(6)])
    return store


def index_of(path: Path) -> Path:
    return path / "kitt" / INDEX_NAME


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(index_of(path))) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_it_is_not_part_of_what_git_has(git: Any, filled: KarrResultStore, path: Path) -> None:
    assert index_of(path).exists()
    assert "kitt" not in git(path, "ls-tree", "-r", "--name-only", "main").split("/")


def test_documents_are_in_git_alone(filled: KarrResultStore, path: Path) -> None:
    with closing(sqlite3.connect(index_of(path))) as connection:
        assert connection.execute("SELECT DISTINCT raw_json FROM runs").fetchall() == [("",)]


def _foreign(file: Path) -> None:
    for name in file.parent.glob("index*"):
        name.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE other (x)")


def _tables_gone(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("DROP TABLE karr_runs; DROP TABLE karr_state")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "nonsense": lambda file: file.write_bytes(b"nonsense" * 1000),
    "scribbled": lambda file: file.write_bytes(file.read_bytes()[:100] + b"\xff" * (file.stat().st_size - 100)),
    "tables gone": _tables_gone,
    "deleted": lambda file: shutil.rmtree(file.parent),
    "empty": lambda file: file.write_bytes(b""),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "foreign": _foreign,
}


@pytest.mark.parametrize(
    ("damage", "closed"), [*((name, True) for name in DAMAGE), *((name, False) for name in list(DAMAGE)[:3])]
)
def test_a_lost_or_damaged_index_is_rebuilt(
    filled: KarrResultStore, path: Path, damage: str, *, closed: bool
) -> None:
    expected = list(filled.list_results())
    if closed:
        filled.close()
    DAMAGE[damage](index_of(path))
    with KarrResultStore(path) as store:
        assert list(store.list_results()) == expected
        assert list(store.verify()) == []
        store.save_result(MINIMAL)
        assert store.count() == 7


def test_an_index_of_another_commit_is_updated(filled: KarrResultStore, path: Path) -> None:
    old = index_of(path).read_bytes()
    with KarrResultStore(path) as store:
        store.save_results([small(i) for i in range(6, 9)])
        first = next(iter(store.scan())).id
        store.delete_result(first)
        expected = list(store.list_results())
    filled.close()
    for file in path.glob("kitt/index*"):
        file.unlink()
    index_of(path).write_bytes(old)
    with KarrResultStore(path) as store:
        assert list(store.list_results()) == expected
        assert list(store.verify()) == []


@pytest.mark.parametrize(
    "lie",
    [
        "DELETE FROM runs WHERE id = (SELECT min(id) FROM runs)",
        "DELETE FROM karr_runs WHERE place = (SELECT min(place) FROM karr_runs)",
        "UPDATE runs SET model = 'other' WHERE id = (SELECT min(id) FROM runs)",
        "UPDATE metrics SET metric_value = 1 WHERE id = (SELECT min(id) FROM metrics)",
        "UPDATE karr_runs SET problem = 'x' WHERE place = (SELECT min(place) FROM karr_runs)",
        "UPDATE karr_runs SET sha256 = 'x', run_id = 'y' WHERE place = (SELECT min(place) FROM karr_runs)",
        "UPDATE karr_runs SET created_at = '2020-01-01T00:00:00+00:00'",
        "UPDATE karr_runs SET problem = 'none'",
        "UPDATE karr_runs SET place = CAST('x/y/z' AS BLOB) WHERE place = (SELECT min(place) FROM karr_runs)",
    ],
)
def test_verify_finds_what_the_index_has_wrong_and_rebuilds_it(
    filled: KarrResultStore, path: Path, lie: str
) -> None:
    expected = list(filled.list_results())
    change(path, lie)
    findings = list(filled.verify())
    assert {finding.severity for finding in findings} == {Severity.DAMAGE}
    repaired = list(filled.verify(rebuild=True))
    assert {finding.severity for finding in repaired} == {Severity.NOTICE}
    assert any("rebuilt" in finding.what for finding in repaired)
    assert list(filled.verify()) == []
    assert list(filled.list_results()) == expected


def test_a_save_that_could_not_be_recorded_is_found_by_the_next_reader(
    filled: KarrResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kitt_core.errors import StoreUnavailableError

    real = IndexChange.add

    def fail(self: IndexChange, runs: Any, commit: str) -> None:
        real(self, runs, commit)
        raise StoreUnavailableError("the disk is full")

    monkeypatch.setattr(IndexChange, "add", fail)
    run_id = filled.save_result(STANDARD)
    assert filled.get_document(run_id) == STANDARD
    assert filled.count() == 7


def test_a_save_reads_nothing_of_other_runs(filled: KarrResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    from kitt_karr.git.repository import Repository

    real = Repository.blob

    def noted(self: Repository, identity: str) -> bytes:
        read.append(identity)
        return real(self, identity)

    monkeypatch.setattr(Repository, "blob", noted)
    filled.save_result(STANDARD)
    assert len(read) <= 1  # the attributes at the root
    assert filled.list_results(limit=3)
    assert len(read) <= 1


def test_copies_count_once_and_the_next_takes_their_place(
    git: Any, filled: KarrResultStore, path: Path, tmp_path: Path
) -> None:
    (original,) = filled.scan({"model": "org/model-0003"})
    clone = git.clone(path, tmp_path / "clone")
    (directory,) = clone.glob("org_model-0003/*/*")
    shutil.copytree(directory, clone / "zcopy")
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "copied")
    git(clone, "push", "-q")
    assert filled.count() == 6
    (finding,) = filled.verify()
    assert (finding.run_id, finding.severity) == (original.id, Severity.NOTICE)
    assert finding.what.startswith("zcopy has the id of")
    git(clone, "rm", "-rq", "org_model-0003")
    git(clone, "commit", "-qm", "removed")
    git(clone, "push", "-q")
    assert filled.count() == 6
    assert filled.get_document(original.id) == original.document
    (clone / "zcopy/metrics.json").write_bytes(STANDARD)
    git(clone, "commit", "-qam", "changed")
    git(clone, "push", "-q")
    assert filled.list_results({"id": original.id})[0].model == "meta-llama/Llama-3.1-8B-Instruct"
    damage = [finding for finding in filled.verify() if finding.severity is Severity.DAMAGE]
    assert len(damage) == 1
    assert "SHA-256" in damage[0].what
    assert filled.delete_result(original.id)
    assert filled.count() == 5
    git(clone, "pull", "-q")
    assert not (clone / "zcopy").exists()


def test_a_document_that_cannot_be_read_hides_no_other(
    git: Any, filled: KarrResultStore, path: Path, tmp_path: Path
) -> None:
    clone = git.clone(path, tmp_path / "clone")
    for name, content in {
        "text": b"not json",
        "array": b"[]",
        "empty": b"",
        "utf16": "{}".encode("utf-16"),
    }.items():
        (clone / "bad" / name).mkdir(parents=True)
        (clone / "bad" / name / "metrics.json").write_bytes(content)
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "bad")
    git(clone, "push", "-q")
    assert filled.count() == len(filled.list_results()) == len(list(filled.scan({"engine": "*"}))) == 6
    assert [place.partition(": ")[0] for place in filled.unread] == [
        f"bad/{name}" for name in ("array", "empty", "text", "utf16")
    ]
    assert all("metrics.json cannot be parsed: " in place for place in filled.unread)
    findings = [finding for finding in filled.verify() if finding.severity is Severity.DAMAGE]
    assert sorted(finding.what.partition("/metrics")[0] for finding in findings) == [
        "bad/array",
        "bad/empty",
        "bad/text",
        "bad/utf16",
    ]
    bad = [finding.run_id for finding in findings if finding.run_id is not None]
    assert filled.get_document(bad[0]) is not None
    assert [filled.delete_result(run_id) for run_id in bad] == [True] * 4
    assert list(filled.verify()) == []


def test_a_run_json_that_cannot_be_used_is_damage_and_gives_no_second_identity(
    git: Any, filled: KarrResultStore, path: Path, tmp_path: Path
) -> None:
    clone = git.clone(path, tmp_path / "clone")
    (file,) = clone.glob("org_model-0003/*/*/run.json")
    file.write_text("{")
    git(clone, "commit", "-qam", "broken")
    git(clone, "push", "-q")
    assert filled.count() == len(list(filled.scan())) == 5
    (place,) = filled.unread
    assert place.startswith("org_model-0003/")
    (finding,) = filled.verify()
    assert isinstance(finding, Finding)
    assert finding.severity is Severity.DAMAGE
    assert "run.json cannot be used" in finding.what
    git(clone, "revert", "--no-edit", "HEAD")
    git(clone, "push", "-q")
    assert filled.count() == 6
    assert filled.unread == ()


@pytest.mark.parametrize("instead", [None, "a link", "a directory"])
def test_a_run_whose_document_was_removed_is_lost_and_can_be_stored_again(
    git: Any, filled: KarrResultStore, path: Path, tmp_path: Path, instead: str | None
) -> None:
    (lost,) = filled.scan({"model": "org/model-0003"})
    clone = git.clone(path, tmp_path / "clone")
    (file,) = clone.glob("org_model-0003/*/*/metrics.json")
    file.unlink()
    if instead == "a link":
        file.symlink_to("summary.md")
    elif instead == "a directory":
        file.mkdir()
        (file / "a").touch()
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "removed")
    git(clone, "push", "-q")
    for rebuild in (False, True):
        assert filled.count() == len(list(filled.scan())) == 5
        (place,) = filled.unread
        assert place.endswith("has run.json, but has lost its metrics.json")
        assert [finding.severity for finding in filled.verify(rebuild=rebuild)] == [Severity.DAMAGE]
    assert filled.get_document(lost.id) is None
    filled.save_result(lost.document, run_id=lost.id)
    assert filled.get_document(lost.id) == lost.document
    assert filled.count() == 6


def test_many_runs_are_indexed_in_batches(path: Path) -> None:
    with KarrResultStore(path) as store:
        ids = store.save_results([run(n=n) for n in range(250)])
        shutil.rmtree(path / "kitt")
    with KarrResultStore(path) as store:
        assert store.count() == 250
        assert {run.id for run in store.scan()} == set(ids)
        assert store.delete_result(ids[0])
        assert store.count() == 249


def test_a_failed_read_is_tried_again(filled: KarrResultStore, path: Path, git: Any) -> None:
    expected = list(filled.list_results())
    shutil.rmtree(path / "kitt")
    lines = git(path, "ls-tree", "-r", "main").splitlines()
    names = [
        next(line.split()[2] for line in lines if line.endswith(name)) for name in ("metrics.json", "run.json")
    ]
    for name in names:
        (path / "objects" / name[:2] / name[2:]).rename(path / name)
    with KarrResultStore(path) as store:
        assert store.count() == 5
        for name in names:
            (path / name).rename(path / "objects" / name[:2] / name[2:])
        assert list(store.list_results()) == expected
        assert list(store.verify()) == []


def test_a_partial_clone_says_what_it_lacks_until_it_is_fetched(
    kitt: Any, filled: KarrResultStore, path: Path, git: Any, tmp_path: Path
) -> None:
    expected = list(filled.list_results())
    for name in ("allowFilter", "allowAnySHA1InWant"):
        git(path, "config", f"uploadpack.{name}", "true")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--bare", "--filter=blob:none", path.as_uri(), str(clone))
    commands = [("list",), ("copy", "--to", "copy.db"), ("backup", "b.tar.gz"), ("verify",)]
    answers = [kitt("--backend", f"karr:///{clone}", "storage", *command) for command in commands]
    assert [answer.code for answer in answers] == [1] * 4
    for answer in answers:
        assert "error: the runs in 6 places of the store are missing here: they cannot be read" in answer.err
        assert "6 places cannot be read and are left out, for example org_model-0000/" in answer.err
        assert "not in this partial clone: `git fetch --refetch --no-filter` fetches it" in answer.err
    (tmp_path / "new.json").write_text(json.dumps(small(99)))
    refused = kitt("--backend", f"karr:///{clone}", "storage", "import", str(tmp_path / "new.json"))
    assert refused.code == 4
    assert [line.partition(":")[0] for line in refused.err.splitlines()] == ["warning", "error", "hint"]
    with KarrResultStore(clone) as store:
        assert store.count() == 0
        assert len(store.unread) == 6
        git(clone, "fetch", "-q", "--refetch", "--no-filter")
        assert list(store.list_results()) == expected
        assert len(store.unread) == 0
        assert list(store.verify()) == []


@pytest.mark.parametrize("name", ["metrics.json", "run.json"])
@pytest.mark.parametrize("lost", ["before it is indexed", "after"])
def test_what_is_away_is_said_and_back_when_it_is_back(
    filled: KarrResultStore, path: Path, git: Any, name: str, lost: str
) -> None:
    expected = list(filled.list_results())
    line = next(line for line in git(path, "ls-tree", "-r", "main").splitlines() if line.endswith(name))
    place, blob = line.split("\t")[1], line.split()[2]
    if lost != "after":
        shutil.rmtree(path / "kitt")
    with KarrResultStore(path) as store:
        (path / "objects" / blob[:2] / blob[2:]).rename(path / blob)
        needed = lost != "after" or name == "metrics.json"
        there = list(store.scan())
        assert len(there) == 6 - needed
        assert len(store.unread) == needed
        assert {run.id for run in there} < {run.id for run in expected} or not needed
        for rebuild in (False, True):
            found = [f for f in store.verify(rebuild=rebuild) if f.severity is Severity.DAMAGE]
            assert any(place in finding.what and "is missing" in finding.what for finding in found)
        assert store.count() == 5  # nothing is known of it now but that it is there
        (path / blob).rename(path / "objects" / blob[:2] / blob[2:])
        assert list(store.list_results()) == expected
        assert store.unread == ()
        assert list(store.verify()) == []


def test_a_run_whose_document_is_away_can_be_deleted_and_not_stored_again(
    filled: KarrResultStore, path: Path, git: Any
) -> None:
    from kitt_core.errors import StoreUnavailableError

    run_id = next(filled.scan({"model": "org/model-0003"})).id
    blob = git(
        path, "rev-parse", f"main:{git(path, 'ls-tree', '-r', '--name-only', 'main', 'org_model-0003').split()[1]}"
    )
    shutil.rmtree(path / "kitt")
    (path / "objects" / blob[:2] / blob[2:].strip()).unlink()
    with KarrResultStore(path) as store:
        assert store.count() == 5
        with pytest.raises(StoreUnavailableError, match="missing"):
            store.get_document(run_id)
        with pytest.raises(StoreUnavailableError, match="missing"):
            store.save_result(small(3), run_id=run_id)
        assert store.delete_result(run_id)
        assert list(store.verify()) == []
        assert store.unread == ()


@pytest.mark.parametrize("work_tree", [False, True])
def test_a_save_is_eight_calls_deep_and_meets_the_index_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, work_tree: bool
) -> None:
    depths: list[int] = []
    meetings: list[str] = []
    change = RunIndex.changing

    def measured(objects: Path, kind: bytes, content: bytes) -> str:
        names = [frame.name for frame in traceback.extract_stack()]
        if "write_runs" in names:
            depths.append(len(names) - names.index("write_runs") - 2)  # both ends left out
        return write_object(objects, kind, content)

    def met(self: RunIndex) -> Any:
        meetings.append("changing")
        return change(self)

    monkeypatch.setattr("kitt_karr.git.repository.write_object", measured)
    monkeypatch.setattr(RunIndex, "changing", met)
    with KarrResultStore(path, lfs_threshold=4, work_tree=work_tree) as store:
        for content, times in ((b"ab", 2), (b"larger", 1)):  # the first makes the repository as well
            file = Attachment("a", len(content), partial(io.BytesIO, content))
            store.save_result(run(size=len(content)), attachments=[file])
            assert meetings == ["changing"] * times
            meetings.clear()
    assert len(depths) > 20
    assert max(depths) <= 8
