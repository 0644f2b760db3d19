"""Restore an archive's runs into a store: the whole archive is checked, then copied as if it were a store."""

from __future__ import annotations

import enum
import os
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, cast

from attrs import Factory, define

from kitt_core.archive import ArchivedRun, ArchiveReader, Limits, Manifest, Marker, RunRecord, Spool
from kitt_core.archive.members import USUAL_LIMITS
from kitt_core.archive.spool import no_room
from kitt_core.errors import (
    InputNotFoundError,
    InvalidArchiveError,
    InvalidDocumentError,
    KittError,
    RunExistsError,
)
from kitt_core.files import check_readable, readable_stdin
from kitt_core.runs import codec
from kitt_core.runs.checking import check_run
from kitt_core.runs.model import Attachment, CheckedRun, Progress, StoredRun
from kitt_core.runs.query import RunFilter
from kitt_core.service.transfer.copying import Copying, CopyReport, digests_in
from kitt_core.service.transfer.reading import CarriedFiles
from kitt_core.storage.contract import Capability, ResultStore

__all__ = ["CheckedArchive", "Limits", "OnConflict", "check_archive", "open_archive", "restore_runs"]

STANDARD_INPUT: Final = "-"
_CHUNK: Final = 1 << 20
_MOST_SHOWN: Final = 120
_MOST_LOOKED_FOR: Final = 400
_MOST_BYTES: Final = 4 << 20
_MOST_FILE_BYTES: Final = 64 << 20
_MOST_NAMED: Final = 5


@contextmanager
def open_archive(path: str | Path) -> Iterator[BinaryIO]:
    """Open an archive so that it can be read twice; ``-`` is standard input.

    The messages of errors that the block raises about the archive get its name.

    Raises:
        InputNotFoundError: There is no such file.
        InvalidArchiveError: It can't be read.
        StoreUnavailableError: There is no room for the content of a pipe.
    """
    with ExitStack() as stack:
        try:
            standard = str(path) == STANDARD_INPUT
            if not standard:
                check_readable(Path(path), str(path))
            stream = readable_stdin() if standard else stack.enter_context(Path(path).open("rb"))
            if standard or not Path(path).is_file():  # a pipe, which can be read only once
                stream = _kept(stream, stack)
        except FileNotFoundError as error:
            raise InputNotFoundError(
                f"{path}: no such file", hint="check the path; - is standard input"
            ) from error
        except OSError as error:
            raise InvalidArchiveError(f"{path} cannot be read: {error.strerror or error}") from error
        try:
            yield stream
        except InvalidArchiveError as error:
            name = "standard input" if standard else str(path)[-_MOST_SHOWN:]
            raise InvalidArchiveError(f"{name}: {error.message}", hint=error.hint) from error


def _kept(stream: BinaryIO, stack: ExitStack) -> BinaryIO:
    """Return a stream's content in a temporary file that lasts as long as the stack.

    Raises:
        OSError: The stream can't be read.
        StoreUnavailableError: There is no room.
    """
    with _room():
        kept = cast("BinaryIO", stack.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115 - the stack's
    for chunk in iter(partial(stream.read, _CHUNK), b""):
        with _room():
            kept.write(chunk)
    with _room():
        kept.seek(0)  # this writes what is still buffered
    return kept


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise no_room(error) from error


class OnConflict(enum.StrEnum):
    """What to do with a run whose id the store has with other bytes."""

    ERROR = "error"
    """Nothing is restored."""
    SKIP = "skip"
    """The store's run stays."""
    REPLACE = "replace"
    """The archive's run takes its place."""


@define
class CheckedArchive:
    """An archive that was read to its end and found intact.

    Attributes:
        marker: What it says about itself.
        manifest: How much is in it.
        conflicts: How many runs the target has with other bytes.
    """

    marker: Marker
    manifest: Manifest
    conflicts: int
    _plan: _Plan


@define
class _Plan:
    """What the first reading found out, by position; small enough for millions of runs."""

    keys: array[int] = Factory(lambda: array("Q"))
    present: bytearray = Factory(bytearray)
    conflicting: int = 0
    named: list[str] = Factory(list)


def check_archive(
    stream: BinaryIO,
    target: ResultStore,
    *,
    on_conflict: OnConflict = OnConflict.ERROR,
    limits: Limits = USUAL_LIMITS,
    progress: Progress | None = None,
) -> CheckedArchive:
    """Read an archive to its end, and look up which of its runs the target has; nothing is written.

    Args:
        stream: The archive; it is read from its beginning.
        target: The store that it will be restored to.
        on_conflict: What to do with runs that the target has with other bytes.
        limits: How much the archive may unpack to, and how large a document may be.
        progress: Called with the number of MiB read, and of all.

    Raises:
        InvalidArchiveError: It is damaged, truncated, in another format, or malicious.
        RunExistsError: The target has runs with other bytes, and ``on_conflict`` is `OnConflict.ERROR`.
        UnsupportedOperationError: Runs are to be replaced, but the target can't delete any.
    """
    if on_conflict is OnConflict.REPLACE:
        target.require(Capability.DELETE, "replace runs")
    plan = _Plan()
    reader = _reader(stream, limits)
    size = _size(stream)
    batch: list[RunRecord] = []
    for run in reader.runs():
        try:
            codec.parse(run.document, most_parts=limits.document_parts)
        except codec.TooManyPartsError as error:
            raise limits.too_many_parts(f"run {run.record.id}", error.possible) from error
        except InvalidDocumentError as error:
            raise InvalidArchiveError(f"run {run.record.id}: {error.message}", hint=error.hint) from error
        plan.keys.append(run.key)
        batch.append(run.record)
        if len(batch) >= _MOST_LOOKED_FOR:
            _look_up(batch, target, plan)
            batch = []
        if progress is not None:
            progress(stream.tell() >> 20, size >> 20)
    _look_up(batch, target, plan)
    if plan.conflicting and on_conflict is OnConflict.ERROR:
        raise _conflict(plan, target)
    return CheckedArchive(reader.marker, reader.manifest, plan.conflicting, plan)


def restore_runs(
    stream: BinaryIO,
    archive: CheckedArchive,
    target: ResultStore,
    *,
    location: str = "the archive",
    on_conflict: OnConflict = OnConflict.ERROR,
    limits: Limits = USUAL_LIMITS,
    progress: Progress | None = None,
    report: CopyReport | None = None,
) -> CopyReport:
    """Write the runs of an archive that was checked, with their ids, times and attachments.

    The archive is checked once more while it is read. A run that the target has with the same bytes is left as
    it is, so the same call again completes a restore that was interrupted.

    Args:
        stream: The archive; it is read from its beginning.
        archive: What `check_archive` found, with the same ``target`` and ``on_conflict``.
        target: The store to restore to.
        location: Where the archive is, for messages.
        on_conflict: What to do with runs that the target has with other bytes; with `OnConflict.ERROR`, those that
            were stored since the check have failed.
        limits: How much the archive may unpack to, and how large a document may be.
        progress: Called with the number of runs done, and of all.
        report: Filled in and returned; if an error ends the restore, it still says what was done.

    Raises:
        InvalidArchiveError: The archive has changed since it was checked; what was written by then stays.
        StoreUnavailableError: The target has become unusable; what was written stays.
    """
    reader = _reader(stream, limits)
    with Spool() as spool:
        source = _Batch(location, reader, archive._plan, spool, takes_files=_takes_files(target))  # noqa: SLF001
        report = CopyReport() if report is None else report
        restoring = _Restoring(source, target, report, progress, archive.manifest.runs, on_conflict)
        for batch in source.batches():
            restoring.take(batch)
    return report


class _Batch:
    """The runs of the current batch, as the source of a `Copying`."""

    capabilities = frozenset({Capability.ATTACHMENTS})

    def __init__(
        self, location: str, reader: ArchiveReader, plan: _Plan, spool: Spool, *, takes_files: bool
    ) -> None:
        self.location = location
        self._reader = reader
        self._plan = plan
        self._spool = spool
        self._takes_files = takes_files
        self._position = 0
        self._runs: dict[str, ArchivedRun] = {}

    def attachments(self, run_id: str) -> Iterator[Attachment]:
        return iter(self._runs[run_id].attachments)

    def batches(self) -> Iterator[list[StoredRun]]:
        """Yield the runs in batches of limited number and size; a batch's files are dropped after it."""
        size = file_size = 0
        for run in self._reader.runs(self._spool_for):
            if self._position >= len(self._plan.keys) or self._plan.keys[self._position] != run.key:
                raise InvalidArchiveError("it was changed while it was being restored", hint="restore it again")
            self._position += 1
            self._runs[run.record.id] = run
            size += len(run.document)
            file_size += sum(file.size for file in run.attachments)
            if size >= _MOST_BYTES or file_size >= _MOST_FILE_BYTES or len(self._runs) >= _MOST_LOOKED_FOR:
                yield self._stored()
                self._runs.clear()
                self._spool.clear()
                size = file_size = 0
        if self._runs:
            yield self._stored()

    def _spool_for(self, record: RunRecord) -> Spool | None:
        # The files of a run that the target has are not needed; when a restore is repeated, those are most files.
        known = self._position < len(self._plan.present) and self._plan.present[self._position]
        return self._spool if self._takes_files and not known else None

    def _stored(self) -> list[StoredRun]:
        return [
            StoredRun(run.record.id, run.document, run.record.created_at, run.record.sha256)
            for run in self._runs.values()
        ]


class _Restoring(Copying):
    """A copy out of an archive, which can keep or replace runs that the target has."""

    def __init__(
        self,
        source: _Batch,
        target: ResultStore,
        report: CopyReport,
        progress: Progress | None,
        total: int,
        on_conflict: OnConflict,
    ) -> None:
        super().__init__(source, target, report, progress, total)
        self._on_conflict = on_conflict

    def handle_conflict(self, run: StoredRun, stored: str, given: str) -> None:
        if self._on_conflict is OnConflict.SKIP:
            self.report.kept += 1
        elif self._on_conflict is OnConflict.REPLACE:
            files: dict[str, CarriedFiles] = {run.id: CarriedFiles()}
            for checked in self._checked(run, files):
                self._replace(checked)
        else:
            super().handle_conflict(run, stored, given)

    def handle_refusal(self, run: CheckedRun, error: KittError) -> None:
        # The run is too damaged to have been found by the look-up, or was stored since.
        taken = isinstance(error, RunExistsError)
        if taken and self._on_conflict is OnConflict.SKIP:
            self.report.kept += 1
        elif taken and self._on_conflict is OnConflict.REPLACE:
            self._replace(run)
        else:
            super().handle_refusal(run, error)

    def _replace(self, run: CheckedRun) -> None:
        before = self.report.copied
        with Spool() as spool:
            former = _former(self._target, run.id, spool)
            self._target.delete_result(run.id)
            try:
                self._target.save_checked([run])
            except BaseException as error:
                self._target.save_checked(former)
                if not isinstance(error, RunExistsError | InvalidDocumentError):
                    raise
                self._fail(run.id, error)
                return
        self._verify([run])
        self.report.replaced += self.report.copied - before


def _former(target: ResultStore, run_id: str, spool: Spool) -> list[CheckedRun]:
    """Return what a store has under an id, so that it can be put back; nothing if it is too damaged for that."""
    found = next(iter(target.scan(RunFilter(id=(run_id,)))), None)
    if found is None:
        return []
    files = []
    for file in target.attachments(run_id):
        with file.open() as content:
            held = spool.take_stream(content)
        files.append(Attachment(file.name, held.size, held.open))
    try:
        return [
            check_run(found.document, run_id=run_id, created_at=found.created_at, attachments=files, strict=False)
        ]
    except InvalidDocumentError:
        return []


def _look_up(records: Sequence[RunRecord], target: ResultStore, plan: _Plan) -> None:
    stored = digests_in(target, tuple(record.id for record in records))
    for record in records:
        found = stored.get(record.id)
        plan.present.append(found == record.sha256)
        if found not in {None, record.sha256}:
            plan.conflicting += 1
            if len(plan.named) < _MOST_NAMED:
                plan.named.append(record.id)


def _conflict(plan: _Plan, target: ResultStore) -> RunExistsError:
    runs = "1 run is" if plan.conflicting == 1 else f"{plan.conflicting} runs are"
    names = ", ".join(plan.named) + (", …" if plan.conflicting > len(plan.named) else "")
    return RunExistsError(
        f"{runs} already in {target.location}, with other content: {names}; nothing was restored",
        hint="--on-conflict skip keeps the store's runs, --on-conflict replace takes the archive's",
    )


def _reader(stream: BinaryIO, limits: Limits) -> ArchiveReader:
    stream.seek(0)
    return ArchiveReader(stream, size=_size(stream), limits=limits)


def _size(stream: BinaryIO) -> int:
    position = stream.tell()
    size = stream.seek(0, os.SEEK_END)
    stream.seek(position)
    return size


def _takes_files(target: ResultStore) -> bool:
    return Capability.ATTACHMENTS in target.capabilities
