"""Import files into a store: each document once, by its bytes; a bad file affects only itself."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

from attrs import Factory, define, field, frozen

from kitt_core.errors import InputNotFoundError, InvalidDocumentError, KittError
from kitt_core.files import check_readable, readable_stdin
from kitt_core.plugins.loading import IMPORTERS, PluginManager
from kitt_core.plugins.records import ImportCandidate, Importer
from kitt_core.runs.checking import CheckedDocument, check_document
from kitt_core.runs.model import CheckedRun, Progress
from kitt_core.service.transfer.reading import CarriedFiles, parts_to_retry
from kitt_core.storage.contract import Capability, ResultStore

if TYPE_CHECKING:
    from kitt_core.service.transfer.checking_ahead import Checked

__all__ = [
    "MOST_JOBS",
    "STANDARD_INPUT",
    "ImportReport",
    "Refusal",
    "find_candidates",
    "import_runs",
    "usual_jobs",
]

MOST_JOBS: Final = 64
"""Enough for any number of processors: one process writes."""

STANDARD_INPUT: Final = "-"
_OWN: Final = "kitt"
_MOST_RUNS: Final = 100
_MOST_BYTES: Final = 16 << 20
_USUAL_JOBS: Final = 2
"""More don't help: two check faster than any store writes."""
_SECONDS_ALONE: Final = 0.2
"""How long an import works before it starts other processes, so that a short one needs none."""
_SECONDS_TO_START: Final = 0.15
"""How long it goes on alone while they start, instead of waiting for them."""

Announce = Callable[[CheckedRun], None]
"""Called for each run after it was stored."""


@frozen
class Refusal:
    """A document that was not stored.

    Attributes:
        source: Where it was found.
        reason: Why, in one line.
        error: The error behind it.
    """

    source: str
    reason: str
    error: KittError = field(repr=False, eq=False)


@define
class ImportReport:
    """What an import did, or has done so far; it is filled in as documents are read.

    Attributes:
        stored: Ids of the runs that are new in the store.
        present: Ids of the runs that already had the documents that were not stored again.
        refused: What was not stored.
        files_left: How many attachments of runs stored or present the store can't hold.
    """

    stored: list[str] = Factory(list)
    present: list[str] = Factory(list)
    refused: list[Refusal] = Factory(list)
    files_left: int = 0

    @property
    def done(self) -> int:
        """How many documents were processed."""
        return len(self.stored) + len(self.present) + len(self.refused)


def find_candidates(
    plugins: PluginManager, paths: Iterable[str | Path], *, standard_input: BinaryIO | None = None
) -> Iterator[ImportCandidate]:
    """Yield the documents of files, directories and ``-``, as the installed importers find them.

    What is found but can't be imported is yielded as well; it raises when it is read.

    Args:
        plugins: Provides the importers. KITT's own is tried last, because it takes any JSON file.
        paths: Files, directories, or ``-`` for standard input.
        standard_input: What ``-`` reads; by default the process's.

    Raises:
        InputNotFoundError: A path does not exist; raised before anything is yielded.
    """
    given = [str(path) for path in paths]
    for path in given:
        if path != STANDARD_INPUT and not _exists(Path(path)):
            raise InputNotFoundError(
                f"{path}: no such file or directory", hint="check the path; - is standard input"
            )
    importers = sorted(plugins.all(IMPORTERS), key=lambda importer: (importer.name == _OWN, importer.name))
    return _candidates(given, importers, standard_input)


def usual_jobs() -> int:
    """Return the number of jobs of an import if nobody chooses it: 1 on a single processor."""
    affinity = getattr(os, "sched_getaffinity", None)
    return min(_USUAL_JOBS, len(affinity(0)) if affinity else os.cpu_count() or 1)


def import_runs(
    store: ResultStore,
    candidates: Iterable[ImportCandidate],
    *,
    progress: Progress | None = None,
    announce: Announce | None = None,
    report: ImportReport | None = None,
    jobs: int = 1,
) -> ImportReport:
    """Store the documents whose bytes are not in the store yet, and report what became of each.

    Args:
        store: The store to import into.
        candidates: Read one after another; a batch of documents is in memory at a time, and a few with each job.
        progress: Called with the number of documents done.
        announce: Called for each new run after it was stored.
        report: Filled in and returned; if an error ends the import, it still says what was done.
        jobs: How many processes read and check documents that are `ImportCandidate.portable`; they are started
            when the import has taken longer than it takes to start them. With 1, this process does everything.

    Raises:
        StoreUnavailableError: The store has become unusable; earlier batches stay stored.
    """
    importing = _Import(store, ImportReport() if report is None else report, progress, announce)
    with closing(_checked_ahead(candidates, jobs)) as all_checked:
        for candidate, checked in all_checked:
            importing.take(candidate, checked)
    importing.flush()
    return importing.report


def _checked_ahead(candidates: Iterable[ImportCandidate], jobs: int) -> Generator[Checked]:
    remaining = iter(candidates)
    end = math.inf if jobs == 1 else time.monotonic() + _SECONDS_ALONE
    for candidate in remaining:
        if candidate.portable and time.monotonic() >= end:
            break
        yield candidate, None
    else:
        return
    from kitt_core.service.transfer.checking_ahead import Workers

    with Workers(jobs) as workers:
        workers.start()
        end = time.monotonic() + _SECONDS_TO_START
        yield candidate, None
        for following in remaining:
            yield following, None
            if time.monotonic() >= end:
                break
        yield from workers.check(remaining)


@frozen
class _Taken:
    source: str
    run: CheckedRun
    files: CarriedFiles


class _Import:
    """An import in progress: the batch being collected, and the report so far."""

    def __init__(
        self, store: ResultStore, report: ImportReport, progress: Progress | None, announce: Announce | None
    ) -> None:
        self.report = report
        self._store = store
        self._progress = progress
        self._announce = announce
        self._batch: list[_Taken] = []
        self._ids: set[str] = set()  # of the batch, as are the digests
        self._digests: set[str] = set()
        self._takes_files = Capability.ATTACHMENTS in store.capabilities
        self._files_left: dict[str, int] = {}  # of the batch, by source
        self._size = 0

    def take(self, candidate: ImportCandidate, checked: CheckedDocument | KittError | None) -> None:
        files = CarriedFiles(candidate.attachments if self._takes_files else ())
        try:
            run = _run_of(candidate, checked, files)
        except KittError as error:
            self._refuse(candidate.source, error)
            return
        except OSError as error:
            reason = files.problem or f"cannot be read: {error.strerror or error}"
            self._refuse(candidate.source, InvalidDocumentError(reason))
            return
        if run.id in self._ids or run.sha256 in self._digests:
            self.flush()  # what happens to the second of the two depends on the first
        self._batch.append(_Taken(candidate.source, run, files))
        self._ids.add(run.id)
        self._digests.add(run.sha256)
        if not self._takes_files:
            self._files_left[candidate.source] = len(candidate.attachments)
        self._size += len(run.document)
        if len(self._batch) >= _MOST_RUNS or self._size >= _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        batch, self._batch, self._size = self._batch, [], 0
        if not batch:
            return
        self._ids.clear()
        self._digests.clear()
        self._save(batch)
        self._files_left.clear()
        self._report_progress()

    def _save(self, batch: Sequence[_Taken]) -> None:
        try:
            present = self._store.save_unless_stored([taken.run for taken in batch])
        except (KittError, OSError) as error:
            for part in parts_to_retry(batch, error, lambda taken: taken.files, self._refuse_taken):
                self._save(part)
            return
        for taken in batch:
            run = taken.run
            self.report.files_left += self._files_left.get(taken.source, 0)
            if run.sha256 in present:
                self.report.present.append(present[run.sha256])
            else:
                self.report.stored.append(run.id)
                if self._announce is not None:
                    self._announce(run)

    def _refuse_taken(self, taken: _Taken, error: KittError) -> None:
        self._refuse(taken.source, error)

    def _refuse(self, source: str, error: KittError) -> None:
        reason = error.message if error.hint is None else f"{error.message} ({error.hint})"
        self.report.refused.append(Refusal(source, reason, error))
        self._report_progress()

    def _report_progress(self) -> None:
        if self._progress is not None:
            self._progress(self.report.done, None)


def _run_of(
    candidate: ImportCandidate, checked: CheckedDocument | KittError | None, files: CarriedFiles
) -> CheckedRun:
    for file in files.attachments:
        file.open().close()  # if it can't be read, refuse this run now instead of its whole batch later
    if isinstance(checked, KittError):
        raise checked
    return (checked or check_document(candidate.read())).as_run(
        run_id=candidate.run_id, created_at=candidate.created_at, attachments=files.attachments
    )


def _candidates(
    paths: Sequence[str], importers: Sequence[Importer], standard_input: BinaryIO | None
) -> Iterator[ImportCandidate]:
    for path in paths:
        found = False
        try:
            for candidate in _of_path(path, importers, standard_input):
                found = True
                yield candidate
            if not found:
                raise InputNotFoundError(
                    "it contains no results",
                    hint="a directory is searched for metrics.json at any depth, else for *.json",
                )
        except OSError as error:
            yield _refused(path, InvalidDocumentError(f"cannot be read: {error.strerror or error}"))
        except KittError as error:
            yield _refused(path, error)


def _of_path(
    text: str, importers: Sequence[Importer], standard_input: BinaryIO | None
) -> Iterator[ImportCandidate]:
    path = Path(text)
    if text == STANDARD_INPUT:
        yield from _of_stream(standard_input or readable_stdin(), "standard input", importers)
    elif not path.is_file() and not path.is_dir():  # a pipe, such as the shell's <(…)
        check_readable(path)
        with path.open("rb") as stream:
            yield from _of_stream(stream, text, importers)
    else:
        importer = next((importer for importer in importers if importer.recognises(path)), None)
        if importer is None:
            raise InvalidDocumentError(
                "no installed importer takes this file",
                hint=f"importers: {', '.join(i.name for i in importers)}; KITT's takes .json and .jsonl",
            )
        yield from importer.find(path)


def _of_stream(stream: BinaryIO, source: str, importers: Sequence[Importer]) -> Iterator[ImportCandidate]:
    # A stream can be read only once, so importers can't look at it first: it goes to KITT's own.
    own = next((importer for importer in importers if importer.name == _OWN), None)
    if own is None:
        raise InvalidDocumentError(f"importer {_OWN}, which reads streams, is not available")
    yield from own.read_stream(stream, source)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # access denied: reading it reports that
        return True


def _refused(source: str, error: KittError) -> ImportCandidate:
    def read() -> NoReturn:
        raise error

    return ImportCandidate(source, read)
