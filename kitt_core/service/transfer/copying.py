"""Copy runs from one store into another: by id, bit for bit, and in several attempts if necessary.

Nothing is remembered between attempts. What the target contains shows how far the last one got, so a copy may be
killed at any moment, and the next one completes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, Protocol, TypeVar

from attrs import Factory, define

from kitt_core.errors import (
    ConfigurationError,
    InvalidDocumentError,
    KittError,
    RunExistsError,
    StoreUnavailableError,
)
from kitt_core.files import is_part_of
from kitt_core.runs import codec
from kitt_core.runs.checking import check_run
from kitt_core.runs.model import Attachment, CheckedRun, Progress, StoredRun
from kitt_core.runs.query import Filters, RunFilter
from kitt_core.service.transfer.reading import (
    CarriedFiles,
    FailedRun,
    check_source,
    digest_of,
    parts_to_retry,
    reason_of,
)
from kitt_core.storage.contract import Capability, ResultStore

__all__ = [
    "CopyReport",
    "Copying",
    "FailedRun",
    "Source",
    "check_distinct",
    "copy_runs",
    "digests_in",
]

logger = logging.getLogger(__name__)

T = TypeVar("T", StoredRun, CheckedRun)

# In some stores, looking up runs means walking through all of them, so many are looked up together. Fewer are
# written together, because a kill costs one such batch.
_MOST_LOOKED_FOR: Final = 400
_MOST_BYTES: Final = 4 << 20
_MOST_WRITTEN: Final = 100
_MOST_FILE_BYTES: Final = 64 << 20


@define
class CopyReport:
    """What a copy or a restore did, or has done so far; it is filled in as runs arrive.

    Attributes:
        copied: How many runs are new in the target.
        present: How many runs the target already had, with the same bytes.
        failed: The other runs that were read.
        unread: How many runs the source counted at the beginning but did not return, or said to be unreadable.
        files_left: How many attachments of runs copied or present the target can't hold.
        unfit: How many of the copied runs have fields that do not fit, and are empty in the target's rows.
        kept: How many runs the target has with other bytes and keeps, as requested of a restore.
        replaced: How many of the copied runs replaced others, as requested of a restore.
    """

    copied: int = 0
    present: int = 0
    failed: list[FailedRun] = Factory(list)
    unread: int = 0
    files_left: int = 0
    unfit: int = 0
    kept: int = 0
    replaced: int = 0

    @property
    def done(self) -> int:
        """How many runs were processed."""
        return self.copied + self.present + self.kept + len(self.failed)


class Source(Protocol):
    """Where runs come from: a store, or something that provides runs as a store does."""

    @property
    def location(self) -> str:
        """Where it is, for people."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Its capabilities: ``ATTACHMENTS`` if it has files."""

    def attachments(self, run_id: str) -> Iterator[Attachment]:
        """Yield a run's files."""


def copy_runs(
    source: ResultStore,
    target: ResultStore,
    filters: Filters = None,
    *,
    progress: Progress | None = None,
    report: CopyReport | None = None,
) -> CopyReport:
    """Copy the runs that match, with their ids, times and attachments, and report what became of them.

    A run whose id the target already has is left as it is if the bytes are the same, and has failed if they
    differ: nothing is ever overwritten. Each document is read back from the target and compared. A target without
    ``ATTACHMENTS`` takes the runs without their files.

    Args:
        source: The store to copy from; it is only read.
        target: The store to copy to.
        filters: A `RunFilter`, or a mapping of its fields.
        progress: Called with the number of runs done, and of all.
        report: Filled in and returned; if an error ends the copy, it still says what was done.

    Raises:
        ConfigurationError: Source and target are the same store.
        StoreUnavailableError: The source does not exist, or one of them has become unusable; what was copied
            stays, and the same call again continues from there.
        SchemaError: The target has to be created or upgraded first.
    """
    check_distinct(source, target)
    check_source(source)
    wanted = RunFilter.of(filters)
    total = source.count(wanted)
    copying = Copying(source, target, CopyReport() if report is None else report, progress, total)
    for batch in _batches(source.scan(wanted), lambda run: len(run.document), _MOST_BYTES, _MOST_LOOKED_FOR):
        copying.take(batch)
    copying.report.unread = max(total - copying.report.done, len(source.unread))
    return copying.report


def check_distinct(source: ResultStore, target: ResultStore) -> None:
    """Refuse a target that is the source, or lies in it.

    Stores without files are compared by identity alone; copying such a store into itself finds every run present.

    Raises:
        ConfigurationError: It is the source, or lies in it.
    """
    hint = "name another target with --to, or another source with --backend"
    if source is target:
        raise ConfigurationError(f"{target.location} is the store to copy from", hint=hint)
    with suppress(OSError):  # what can't be examined, the store will refuse
        for path in target.paths:
            if is_part_of(path, source.paths):
                what = f"is the store to copy from, or lies in it ({source.location})"
                raise ConfigurationError(f"{target.location} {what}", hint=hint)


class Copying:
    """A copy in progress; takes one batch after another.

    A run whose id the target has with other bytes has failed here; a subclass may decide otherwise.
    """

    def __init__(
        self, source: Source, target: ResultStore, report: CopyReport, progress: Progress | None, total: int
    ) -> None:
        self.report = report
        self._source = source
        self._target = target
        self._progress = progress
        self._total = total
        self._has_files = Capability.ATTACHMENTS in source.capabilities
        self._takes_files = Capability.ATTACHMENTS in target.capabilities
        self._show_progress()

    def take(self, batch: Sequence[StoredRun]) -> None:
        """Copy a batch."""
        digests = {run.id: digest for run in batch if (digest := self._digest_of(run)) is not None}
        stored = digests_in(self._target, tuple(digests))
        files: dict[str, CarriedFiles] = {}
        new: list[CheckedRun] = []
        for run in batch:
            if run.id not in digests:
                continue
            if run.id not in stored:
                files[run.id] = CarriedFiles()
                new += self._checked(run, files)
            elif stored[run.id] == digests[run.id]:
                self.report.present += 1
                self._leave_files(run.id)
            else:
                self.handle_conflict(run, stored[run.id], digests[run.id])
        self._show_progress()
        for part in _batches(new, lambda run: files[run.id].size, _MOST_FILE_BYTES, _MOST_WRITTEN):
            self._write(part, files)
            self._show_progress()

    def _show_progress(self) -> None:
        if self._progress is not None:
            self._progress(self.report.done, max(self._total, self.report.done))

    def _digest_of(self, run: StoredRun) -> str | None:
        """Return the digest of a run that is as it was saved; any other run has failed."""
        try:
            return digest_of(run, self._source.location)
        except InvalidDocumentError as error:
            self._fail(run.id, error)
            return None

    def _checked(self, run: StoredRun, files: dict[str, CarriedFiles]) -> Iterator[CheckedRun]:
        """Yield the run as the target takes it, unless it is invalid."""
        try:
            if self._has_files and self._takes_files:
                files[run.id] = CarriedFiles(self._source.attachments(run.id))
            checked = check_run(
                run.document,
                run_id=run.id,
                created_at=run.created_at,
                attachments=files[run.id].attachments,
                strict=False,
            )
        except (OSError, StoreUnavailableError) as error:  # of the source; if all of it is, its scan will raise
            self._fail(run.id, InvalidDocumentError(f"its attachments cannot be listed: {reason_of(error)}"))
        except InvalidDocumentError as error:
            self._fail(run.id, error)
        else:
            yield checked

    def _write(self, runs: Sequence[CheckedRun], files: dict[str, CarriedFiles]) -> None:
        """Store the runs together; if some are refused, the others are stored nevertheless."""
        try:
            self._target.save_checked(runs)
        except (KittError, OSError) as error:
            for part in parts_to_retry(runs, error, lambda run: files[run.id], self.handle_refusal):
                self._write(part, files)
        else:
            self._verify(runs)

    def _verify(self, runs: Sequence[CheckedRun]) -> None:
        for run in runs:
            arrived = self._target.get_document(run.id)
            if arrived != run.document:
                what = (
                    "is not there" if arrived is None else f"has the SHA-256 {codec.digest(arrived)[:12]}… there"
                )
                self._fail(
                    run.id,
                    StoreUnavailableError(
                        f"it was written to {self._target.location} but {what}, expected {run.sha256[:12]}…",
                        hint="check that store: `storage verify`, with it as --backend, finds damage",
                    ),
                )
                continue
            problems = run.rows.problems
            for problem in problems:
                logger.info("run %s: %s", run.id, problem)
            self.report.copied += 1
            self.report.unfit += bool(problems)
            self._leave_files(run.id)

    def _leave_files(self, run_id: str) -> None:
        if self._has_files and not self._takes_files:
            with suppress(OSError, StoreUnavailableError):  # they are left out in any case
                self.report.files_left += sum(1 for _ in self._source.attachments(run_id))

    def handle_conflict(self, run: StoredRun, stored: str, given: str) -> None:
        """Handle a run whose id the target has with other bytes; ``stored`` and ``given`` are the digests."""
        error = RunExistsError(
            f"it is already in {self._target.location}, with other content"
            f" (SHA-256 {stored[:12]}…, not {given[:12]}…)",
            hint="nothing is overwritten; delete it there first if the source's is the right one",
        )
        self._fail(run.id, error)

    def handle_refusal(self, run: CheckedRun, error: KittError) -> None:
        """Handle a run whose files can't be read, or that the target refused when it was written alone."""
        self._fail(run.id, error)

    def _fail(self, run_id: str, error: KittError) -> None:
        self.report.failed.append(FailedRun(run_id, error))


def digests_in(target: ResultStore, run_ids: Sequence[str]) -> dict[str, str]:
    """Return, by id, the digests of the documents that a store really contains, not those that it noted."""
    found = target.scan(RunFilter(id=run_ids)) if run_ids else ()
    return {run.id: codec.digest(run.document) for run in found}


def _batches(runs: Iterable[T], size_of: Callable[[T], int], most_size: int, most_runs: int) -> Iterator[list[T]]:
    """Yield the runs in batches of limited number and size; a larger run comes alone, and no id twice in one."""
    batch: dict[str, T] = {}
    size = 0
    try:
        for run in runs:
            if batch and (run.id in batch or len(batch) >= most_runs or size + size_of(run) > most_size):
                yield list(batch.values())
                batch, size = {}, 0
            batch[run.id] = run
            size += size_of(run)
    except KittError:
        # A source that fails here would fail here again next time, so what it returned before must not be lost.
        if batch:
            yield list(batch.values())
        raise
    if batch:
        yield list(batch.values())
