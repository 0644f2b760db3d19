from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from kitt_core import open_store
from kitt_core.errors import (
    InvalidDocumentError,
    KittError,
    RunExistsError,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from kitt_core.runs import CheckedRun, Severity, StoredRun
from kitt_core.runs.codec import digest
from kitt_core.service.transfer.copying import CopyReport
from kitt_core.service.transfer.restoring import OnConflict, check_archive, restore_runs
from kitt_core.storage import Capability
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing.documents import MINIMAL, small

from .archives import CREATED, archive_of, five, parts_of, restore
from .contents import BACKENDS, CORPUS, OpenStore, attachment, contents, documents, filled

# What comes back.


def test_everything_comes_back_bit_for_bit(open_backend: OpenStore) -> None:
    # The archive of all is the same, as the next test shows, and a target stores what a copy also brings.
    source, target = open_backend("json"), open_backend("postgres")
    for run_id, content in CORPUS.items():
        source.save_result(content, run_id=run_id, created_at=CREATED, strict=False)
    stream = archive_of(source)
    report = restore(stream, target)
    assert (report.copied, report.present, report.failed) == (len(CORPUS), 0, [])
    assert report.unfit > 0
    assert {run.id: run for run in target.scan()} == {
        run_id: StoredRun(run_id, content, CREATED, digest(content)) for run_id, content in CORPUS.items()
    }
    assert list(target.list_results()) == list(source.list_results())
    assert [finding for finding in target.verify() if finding.severity is Severity.DAMAGE] == []
    assert restore(stream, target) == CopyReport(present=len(CORPUS))


def test_the_archive_is_the_same_from_every_backend(open_backend: OpenStore) -> None:
    found = []
    for name in BACKENDS:
        store = open_backend(name)
        for i in range(3):
            store.save_result(small(i), run_id=f"run-{i}", created_at=CREATED.replace(day=1 + i))
        found.append({part.path: part.content for part in parts_of(archive_of(store).getvalue())})
        for path in ("kitt-archive.json", "SHA256SUMS", "manifest.json"):  # its time is in there
            del found[-1][path]
    assert all(parts == found[0] for parts in found)


def test_files_come_back_with_their_runs(open_backend: OpenStore) -> None:
    source, target = open_backend("json"), open_backend("json")
    files = {"samples é.jsonl.gz": bytes(range(256)) * 5000, "A": b"1", "a": b"2", "empty": b""}
    for i in range(3):
        given_ = [attachment(name, content + bytes([i])) for name, content in files.items()]
        source.save_result(small(i), run_id=f"run-{i}", attachments=given_)
    assert restore(archive_of(source), target) == CopyReport(copied=3)
    for i in range(3):
        assert contents(target, f"run-{i}") == {name: content + bytes([i]) for name, content in files.items()}


def test_files_that_the_store_cannot_hold_stay_behind_and_are_counted(open_backend: OpenStore) -> None:
    source, target = open_backend("json"), open_backend("sqlite")
    assert Capability.ATTACHMENTS not in target.capabilities
    source.save_result(small(0), attachments=[attachment("a", b"1"), attachment("b", b"2")])
    stream = archive_of(source)
    assert restore(stream, target) == CopyReport(copied=1, files_left=2)
    assert restore(stream, target) == CopyReport(present=1, files_left=2)


def test_batches_are_bounded_and_their_files_are_not_mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kitt_core.service.transfer.restoring._MOST_FILE_BYTES", 10)
    monkeypatch.setattr("kitt_core.service.transfer.restoring._MOST_LOOKED_FOR", 3)
    with MemoryStore() as source, MemoryStore() as target:
        for i in range(20):
            source.save_result(small(i), run_id=f"run-{i:02}", attachments=[attachment("f", b"%d" % i * (i % 7))])
        assert restore(archive_of(source), target).copied == 20
        for i in range(20):
            assert contents(target, f"run-{i:02}") == {"f": b"%d" % i * (i % 7)}


def test_progress_is_told_of_both_readings() -> None:
    checking: list[int] = []
    calls: list[tuple[int, int | None]] = []
    stream = five()
    with MemoryStore() as target:
        archive = check_archive(stream, target, progress=lambda done, total: checking.append(done))
        restore_runs(stream, archive, target, progress=lambda done, total: calls.append((done, total)))
    assert len(checking) == 5
    assert calls[-1] == (5, 5)


# Conflicts.


@pytest.mark.parametrize("to", BACKENDS)
def test_a_conflict_refuses_everything_before_anything_is_written(open_backend: OpenStore, to: str) -> None:
    target = open_backend(to)
    target.save_result(MINIMAL, run_id="run-002")
    with pytest.raises(RunExistsError, match=r"1 run is already in .*, with other content: run-002") as caught:
        restore(five(), target)
    assert "--on-conflict" in (caught.value.hint or "")
    assert documents(target) == {"run-002": MINIMAL}


@pytest.mark.parametrize("to", BACKENDS)
def test_skip_keeps_what_the_store_has(open_backend: OpenStore, to: str) -> None:
    target = open_backend(to)
    target.save_result(MINIMAL, run_id="run-002")
    assert restore(five(), target, OnConflict.SKIP) == CopyReport(copied=4, kept=1)
    assert documents(target)["run-002"] == MINIMAL
    assert target.count() == 5


@pytest.mark.parametrize("to", BACKENDS)
def test_replace_takes_what_the_archive_has(open_backend: OpenStore, to: str) -> None:
    target = open_backend(to)
    target.save_result(MINIMAL, run_id="run-002")
    target.save_result(MINIMAL, run_id="mine")
    assert restore(five(), target, OnConflict.REPLACE) == CopyReport(copied=5, replaced=1)
    with MemoryStore() as source:
        assert documents(target) == documents(filled(source)) | {"mine": MINIMAL}
    assert restore(five(), target, OnConflict.REPLACE) == CopyReport(present=5)
    assert [finding for finding in target.verify() if finding.severity is Severity.DAMAGE] == []


def test_replace_brings_back_what_was_damaged(tmp_path: Path) -> None:
    with open_store(f"json:///{tmp_path}") as store:
        stream = archive_of(filled(store))
        victim = next(tmp_path.rglob("metrics.json"))
        victim.write_bytes(b"torn")
        assert [finding for finding in store.verify() if finding.severity is Severity.DAMAGE] != []
        assert restore(stream, store, OnConflict.REPLACE) == CopyReport(copied=1, present=4, replaced=1)
        assert [finding for finding in store.verify() if finding.severity is Severity.DAMAGE] == []


class Lasting(MemoryStore):
    """Can't delete."""

    capabilities = frozenset({Capability.ATOMIC_BATCH})


def test_replace_needs_a_store_that_deletes() -> None:
    with Lasting() as target, pytest.raises(UnsupportedOperationError, match="replace runs"):
        check_archive(five(), target, on_conflict=OnConflict.REPLACE)


class Narrow(MemoryStore):
    """Refuses a run, or all of them from some moment on."""

    refused: str = ""
    error: KittError = InvalidDocumentError("no room")

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        if any(run.document != MINIMAL and run.id == self.refused for run in checked):
            raise self.error
        super().write_runs(checked)


@pytest.mark.parametrize("error", [InvalidDocumentError("no room"), StoreUnavailableError("it is full")])
def test_what_cannot_be_replaced_is_put_back_with_its_files(error: KittError) -> None:
    with Narrow() as target:
        target.save_result(MINIMAL, run_id="run-002", created_at=CREATED, attachments=[attachment("a", b"mine")])
        before = next(target.scan())
        target.refused, target.error = "run-002", error
        if isinstance(error, InvalidDocumentError):
            report = restore(five(), target, OnConflict.REPLACE)
            assert [failed.run_id for failed in report.failed] == ["run-002"]
            assert (report.copied, report.replaced) == (4, 0)
        else:
            with pytest.raises(StoreUnavailableError, match="it is full"):
                restore(five(), target, OnConflict.REPLACE)
        assert next(target.scan({"id": "run-002"})) == before
        assert contents(target, "run-002") == {"a": b"mine"}


def test_what_the_store_refuses_costs_only_its_run() -> None:
    with Narrow() as target:
        target.refused = "run-003"
        report = restore(five(), target)
        assert (report.copied, [failed.run_id for failed in report.failed]) == (4, ["run-003"])


def test_a_conflict_that_comes_after_the_check_costs_only_its_run() -> None:
    stream = five()
    with MemoryStore() as target:
        archive = check_archive(stream, target)
        target.save_result(MINIMAL, run_id="run-001")
        report = restore_runs(stream, archive, target)
        assert (report.copied, [failed.run_id for failed in report.failed]) == (4, ["run-001"])
        assert target.get_document("run-001") == MINIMAL


def test_a_run_that_goes_after_the_check_is_not_restored_without_its_files() -> None:
    with MemoryStore() as source, MemoryStore() as target:
        source.save_result(MINIMAL, run_id="one", attachments=[attachment("a", b"1")])
        stream = archive_of(source)
        restore(stream, target)
        archive = check_archive(stream, target)
        target.delete_result("one")
        report = restore_runs(stream, archive, target)
        assert "its files were skipped" in report.failed[0].reason
        assert restore(stream, target) == CopyReport(copied=1)
        assert contents(target, "one") == {"a": b"1"}
