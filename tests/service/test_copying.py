from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from attrs import evolve

from kitt_core import open_store
from kitt_core.errors import (
    ConfigurationError,
    InvalidDocumentError,
    RunExistsError,
    StoreUnavailableError,
    UnknownFieldError,
)
from kitt_core.runs import Attachment, CheckedRun, Filters, Severity, StoredRun
from kitt_core.runs.codec import digest
from kitt_core.service.transfer.copying import CopyReport, copy_runs
from kitt_core.storage import Capability
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing.documents import as_bytes

from .contents import BACKENDS, CORPUS, NewTarget, OpenStore, attachment, documents, filled

CREATED = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)


def document(number: int = 0, **more: Any) -> bytes:
    return as_bytes({"model": f"m{number}", "engine": "e", **more})


def reasons(report: CopyReport) -> dict[str, str]:
    return {failed.run_id: failed.reason for failed in report.failed}


# What is copied.


def test_every_document_arrives_bit_for_bit_with_its_id_and_time(open_backend: OpenStore) -> None:
    source, target = open_backend("sqlite"), open_backend("json")  # tests/test_chains.py has each pair
    for run_id, content in CORPUS.items():
        source.save_result(content, run_id=run_id, created_at=CREATED, strict=False)
    before = {run.id: run for run in source.scan()}

    report = copy_runs(source, target)
    assert (report.copied, report.present, report.failed, report.unread) == (len(CORPUS), 0, [], 0)
    assert report.unfit > 0
    assert {run.id: run for run in target.scan()} == {
        run_id: StoredRun(run_id, content, CREATED, digest(content)) for run_id, content in CORPUS.items()
    }
    assert list(target.list_results()) == list(source.list_results())
    assert [finding for finding in target.verify() if finding.severity is Severity.DAMAGE] == []

    again = copy_runs(source, target)
    assert again == CopyReport(present=len(CORPUS))
    assert {run.id: run for run in source.scan()} == before


def test_only_what_matches_is_copied(open_backend: OpenStore) -> None:
    source, target = filled(open_backend("sqlite")), open_backend("json")
    assert copy_runs(source, target, {"id": ["run-001", "run-003"]}).copied == 2
    assert set(documents(target)) == {"run-001", "run-003"}
    assert copy_runs(source, target, {"model": "nothing"}) == CopyReport()
    with pytest.raises(UnknownFieldError):
        copy_runs(source, target, {"modle": "m"})


def test_a_filter_that_matches_nothing_makes_no_target(new_target: NewTarget, tmp_path: Path) -> None:
    where = new_target("sqlite")
    with MemoryStore() as source, open_store(where) as target:
        assert copy_runs(filled(source), target, {"model": "nothing"}) == CopyReport()
        assert not target.paths[0].exists()


def test_attachments_move_with_their_runs(open_backend: OpenStore) -> None:
    source, target = open_backend("memory"), open_backend("json")
    files = {"samples é.jsonl.gz": bytes(range(256)) * 5000, "empty": b""}
    given = [attachment(name, content) for name, content in files.items()]
    source.save_result(document(), run_id="with", attachments=given)
    source.save_result(document(1), run_id="without")
    assert copy_runs(source, target).files_left == 0
    found = {}
    for file in target.attachments("with"):
        with file.open() as stream:
            found[file.name] = stream.read()
    assert found == files
    assert list(target.attachments("without")) == []


def test_files_that_the_target_cannot_hold_stay_behind_and_are_counted(open_backend: OpenStore) -> None:
    source, target = open_backend("json"), open_backend("sqlite")
    assert Capability.ATTACHMENTS not in target.capabilities
    source.save_result(document(), attachments=[attachment("a", b"1"), attachment("b", b"2")])
    source.save_result(document(1), attachments=[attachment("a", b"3")])
    assert copy_runs(source, target) == CopyReport(copied=2, files_left=3)
    assert copy_runs(source, target) == CopyReport(present=2, files_left=3)


def test_a_run_that_is_there_is_left_as_it_is(open_backend: OpenStore) -> None:
    source, target = open_backend("memory"), open_backend("memory")
    source.save_result(document(), run_id="a", created_at=CREATED, attachments=[attachment("file", b"1")])
    target.save_result(document(), run_id="a")
    before = list(target.scan())
    assert copy_runs(source, target) == CopyReport(present=1)
    assert list(target.scan()) == before
    assert list(target.attachments("a")) == []


# What fails.


@pytest.mark.parametrize("to", BACKENDS)
def test_other_bytes_under_the_id_are_never_overwritten(open_backend: OpenStore, to: str) -> None:
    source, target = filled(open_backend("memory")), open_backend(to)
    target.save_result(document(77), run_id="run-002")
    report = copy_runs(source, target)
    assert (report.copied, report.present) == (4, 0)
    assert list(reasons(report)) == ["run-002"]
    assert ", with other content" in reasons(report)["run-002"]
    assert isinstance(report.failed[0].error, RunExistsError)
    assert documents(target) == documents(source) | {"run-002": document(77)}


def test_a_document_that_changed_in_the_source_is_not_copied_on(open_backend: OpenStore) -> None:
    with MemoryStore() as source:
        filled(source)
        for run_id, noted in (("run-001", digest(b"other")), ("run-003", "")):
            source._runs[run_id] = evolve(source._runs[run_id], sha256=noted)
        target = open_backend("sqlite")
        report = copy_runs(source, target)
        assert list(reasons(report)) == ["run-001"]
        assert "its document has changed" in reasons(report)["run-001"]
        assert set(documents(target)) == {"run-000", "run-002", "run-003", "run-004"}


def test_what_is_no_document_or_has_no_proper_id_costs_only_itself(open_backend: OpenStore) -> None:
    with MemoryStore() as source:
        filled(source, 3)
        for run_id, content in (("broken", b"{"), ("list", b"[]"), ("a b*", document(9))):
            source._runs[run_id] = StoredRun(run_id, content, CREATED, "")
        target = open_backend("sqlite")
        report = copy_runs(source, target)
        assert set(reasons(report)) == {"broken", "list", "a b*"}
        assert (report.copied, target.count()) == (3, 3)


class Narrow(MemoryStore):
    """Has no room for one run, and notes what it is given together."""

    def __init__(self, refused: str = "") -> None:
        super().__init__()
        self.refused = refused
        self.batches: list[list[str]] = []

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        self.batches.append([run.id for run in checked])
        if self.refused in self.batches[-1]:
            raise InvalidDocumentError("no room")
        super().write_runs(checked)


def test_what_the_target_refuses_costs_only_its_run(open_backend: OpenStore) -> None:
    source = filled(open_backend("memory"), 40)
    with Narrow("run-017") as target:
        report = copy_runs(source, target)
        assert (report.copied, reasons(report)) == (39, {"run-017": "no room"})
        assert target.count() == 39
        assert len(target.batches) < 20  # halves, not one by one


def test_the_target_is_given_batches_of_bounded_number_and_size(open_backend: OpenStore) -> None:
    source = filled(open_backend("memory"), 250)
    huge = as_bytes({"model": "huge", "engine": "e", "pad": "x" * (5 << 20)})
    source.save_result(huge, run_id="huge")
    source.save_result(document(998), run_id="last-1")
    source.save_result(document(999), run_id="last-2")
    with Narrow() as target:
        assert copy_runs(source, target).copied == 253
        sizes = [len(batch) for batch in target.batches]
        assert max(sizes) == 100
        assert ["huge"] in target.batches
        assert target.batches[-1] == ["last-1", "last-2"]
        assert target.get_document("huge") == huge


def test_runs_with_large_files_are_written_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kitt_core.service.transfer.copying._MOST_FILE_BYTES", 10)
    with MemoryStore() as source, Narrow() as target:
        for i in range(4):
            source.save_result(document(i), run_id=f"run-{i}", attachments=[attachment("a", b"x" * 5)])
        assert copy_runs(source, target).copied == 4
        assert target.batches == [["run-0", "run-1"], ["run-2", "run-3"]]


class Forgetful(MemoryStore):
    """Returns other bytes than it was given for one run, and loses another."""

    def get_document(self, run_id: str) -> bytes | None:
        found = super().get_document(run_id)
        if run_id == "run-002" or found is None:
            return None
        return found + b" " if run_id == "run-001" else found


def test_what_arrives_changed_or_not_at_all_has_failed(open_backend: OpenStore) -> None:
    source = filled(open_backend("memory"))
    with Forgetful() as target:
        report = copy_runs(source, target)
        assert report.copied == 3
        assert set(reasons(report)) == {"run-001", "run-002"}
        assert "has the SHA-256" in reasons(report)["run-001"]
        assert "is not there" in reasons(report)["run-002"]


class Worn(MemoryStore):
    """Some of its files can't be read."""

    def attachments(self, run_id: str) -> Iterator[Attachment]:
        if run_id == "unlisted":
            raise PermissionError(13, "Permission denied")
        for file in super().attachments(run_id):
            if file.name == "closed":
                yield evolve(file, open=self._refuse)
            elif file.name == "torn":
                yield evolve(file, open=Torn)
            elif file.name == "short":
                yield evolve(file, size=file.size + 1)
            else:
                yield file

    @staticmethod
    def _refuse() -> BinaryIO:
        raise StoreUnavailableError("the file server is away")


class Torn(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("to", ["memory", "json"])
def test_a_file_that_cannot_be_read_at_the_source_costs_only_its_run(open_backend: OpenStore, to: str) -> None:
    target = open_backend(to)
    with Worn() as source:
        for i, name in enumerate(["fine", "closed", "torn", "short", "unlisted", "good"]):
            source.save_result(document(i), run_id=name, attachments=[attachment(name, b"content")])
        report = copy_runs(source, target)
        assert report.copied == 2
        assert set(documents(target)) == {"fine", "good"}
        assert reasons(report) == {
            "closed": "attachment closed cannot be read: the file server is away",
            "torn": "attachment torn cannot be read: Input/output error",
            "short": "attachment short cannot be read: it ends after 7 of 8 bytes",
            "unlisted": "its attachments cannot be listed: Permission denied",
        }


class Gappy(MemoryStore):
    """Counts runs that it does not give."""

    def count(self, filters: Filters = None) -> int:
        return super().count(filters) + 2


def test_runs_that_the_source_counts_and_does_not_give_are_told(open_backend: OpenStore) -> None:
    with Gappy() as source:
        report = copy_runs(filled(source), open_backend("memory"))
        assert (report.copied, report.unread) == (5, 2)


class Twice(MemoryStore):
    """Gives a run twice."""

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        runs = list(super().scan(filters))
        return iter([*runs, runs[0], evolve(runs[1], document=document(55), sha256="")])


def test_an_id_that_comes_twice_is_judged_by_what_the_first_became(open_backend: OpenStore) -> None:
    with Twice() as source:
        filled(source)
        target = open_backend("sqlite")
        report = copy_runs(source, target)
        assert (report.copied, report.present, list(reasons(report))) == (5, 1, ["run-001"])
        assert target.count() == 5


# What ends a copy, and how it goes on.


class Failing(MemoryStore):
    """Goes away after some runs."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        if len(self._runs) + len(checked) > self.room:
            raise StoreUnavailableError("the target cannot grow")
        super().write_runs(checked)


def test_a_target_that_goes_away_ends_the_copy_and_the_next_one_goes_on(open_backend: OpenStore) -> None:
    source = filled(open_backend("memory"), 250)
    report = CopyReport()
    with Failing(200) as target:
        with pytest.raises(StoreUnavailableError, match="cannot grow"):
            copy_runs(source, target, report=report)
        assert (report.copied, target.count()) == (200, 200)
        target.room = 250
        assert copy_runs(source, target) == CopyReport(copied=50, present=200)
        assert documents(target) == documents(source)


class Breaking(MemoryStore):
    """Cannot be read behind some run."""

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        for i, run in enumerate(super().scan(filters)):
            if i == 120:
                raise StoreUnavailableError("the source is damaged")
            yield run


def test_what_a_source_gave_before_it_broke_off_is_copied(open_backend: OpenStore) -> None:
    target = open_backend("sqlite")
    report = CopyReport()
    with Breaking() as source:
        filled(source, 200)
        source.count = lambda filters=None: 200  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailableError, match="damaged"):
            copy_runs(source, target, report=report)
    assert (target.count(), report.copied) == (120, 120)


def test_progress_begins_with_the_total_and_ends_with_it(open_backend: OpenStore) -> None:
    calls: list[tuple[int, int | None]] = []
    source = filled(open_backend("json"), 230)
    copy_runs(source, open_backend("memory"), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(0, 230), (0, 230), (100, 230), (200, 230), (230, 230)]


# Places.


def test_a_store_is_not_copied_into_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    database, tree = f"sqlite:///{tmp_path}/runs.db", f"json:///{tmp_path}"
    with open_store(database) as store:
        filled(store)
    with open_store(tree) as store:
        filled(store)
    (tmp_path / "hard.db").hardlink_to(tmp_path / "runs.db")
    pairs = [
        (database, "sqlite:///runs.db"),
        (database, "sqlite:///link/runs.db"),
        (database, f"sqlite:///{tmp_path}/hard.db"),
        (tree, "json:///."),
        (tree, "json:///link"),
        (tree, "json:///kitt-results"),
        (tree, "json:///kitt-results/below"),
        (tree, "sqlite:///kitt-results/runs.db"),
    ]
    for where, to in pairs:
        with open_store(where) as source, open_store(to) as target:
            with pytest.raises(ConfigurationError, match="is the store to copy from"):
                copy_runs(source, target)
            assert source.count() == 5
    with MemoryStore() as store, pytest.raises(ConfigurationError):
        copy_runs(store, store)


def test_neighbours_are_no_relatives(tmp_path: Path) -> None:
    uris = [
        f"sqlite:///{tmp_path}/a.db",
        f"sqlite:///{tmp_path}/b.db",
        f"json:///{tmp_path}/a",
        f"json:///{tmp_path}/b",
    ]
    for where, to in pairwise(uris):
        with open_store(where) as source, open_store(to) as target:
            if where == uris[0]:
                filled(source)
            assert copy_runs(source, target).copied == 5


def test_the_source_is_only_read(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/a.db") as source:
        filled(source)
    content = (tmp_path / "a.db").read_bytes()
    (tmp_path / "a.db").chmod(0o444)
    with open_store(f"sqlite:///{tmp_path}/a.db") as source, MemoryStore() as target:
        assert copy_runs(source, target).copied == 5
    assert (tmp_path / "a.db").read_bytes() == content


# Size and sudden death.


def test_memory_does_not_grow_with_what_is_copied(open_backend: OpenStore) -> None:
    source, target = open_backend("sqlite"), open_backend("json")
    for i in range(80):
        source.save_result(document(i, pad=chr(97 + i % 26) * (1 << 20)), run_id=f"run-{i:03}")
    tracemalloc.start()
    try:
        assert copy_runs(source, target).copied == 80
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20  # of more than 80 MiB; a batch is 4 MiB, its texts and their copies are some more
    assert target.count() == 80
