"""The store: a ``kitt-results`` tree behind the storage contract.

Files that others write, move or remove are seen at once: all that is remembered between calls is where some runs
were, and that is checked before it is used. `kitt_core.rundir` describes the form and safety of a tree.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final

from kitt_core.errors import InvalidDocumentError, StoreUnavailableError
from kitt_core.files import size_below
from kitt_core.rundir import (
    DOCUMENT,
    IDENTITY,
    LINK,
    LOST,
    OUTPUTS,
    FoundRun,
    check_outputs,
    delete_run,
    find_runs,
    locate,
    prepare_root,
    read_attachments,
    unfinished_runs,
    write_new_runs,
    write_runs,
)
from kitt_core.runs import (
    Attachment,
    CheckedRun,
    Filters,
    Finding,
    RunFilter,
    SchemaStatus,
    Severity,
    StoredRun,
    codec,
    sought_id,
)
from kitt_core.storage import Capability, DocumentCheck, ResultStore, fallbacks
from kitt_json.options import CAPABILITIES, tree_of

__all__ = ["JSONResultStore"]

_MOST_PLACES: Final = 1000

logger = logging.getLogger(__name__)


class JSONResultStore(ResultStore):
    """Keeps runs as directories of a ``kitt-results`` tree; also reads those of older KITTs.

    Args:
        path: The directory that holds the tree, or the tree itself if it has the name ``kitt-results``. It
            need not exist: the first save creates it.

    Raises:
        StoreUnavailableError: The path is a file, or is relative and the current directory was removed.
    """

    capabilities: ClassVar[frozenset[Capability]] = CAPABILITIES

    def __init__(self, path: str | os.PathLike[str] = ".") -> None:
        try:
            self._root = tree_of(Path(path))
        except FileNotFoundError as error:
            raise StoreUnavailableError(
                f"{path} is relative, but the current directory no longer exists",
                hint="change to another directory, or give an absolute path",
            ) from error
        self._closed = False
        # A walk through all runs asks for the files of each; finding each again would be a walk of its own.
        self._places: dict[str, FoundRun] = {}
        self._unread = _Unread()
        for place in (self._root.parent, self._root):
            if _is_a_file(place):
                raise StoreUnavailableError(
                    f"{place} is a file, the json backend needs a directory",
                    hint="give the directory that holds kitt-results",
                )

    @property
    def location(self) -> str:
        """Where the tree is."""
        return str(self._root)

    @property
    def run_tree(self) -> Path:
        """The tree's root: a run that `kitt run` wrote there is already in this store."""
        return self._root

    @property
    def paths(self) -> tuple[Path, ...]:
        """The tree's root."""
        return (self._root,)

    @property
    def unread(self) -> tuple[str, ...]:
        """What the latest answer lacks because it could not be read."""
        return tuple(f"{path} {reason}" for path, reason in self._unread.items())

    def write_runs(self, runs: Sequence[CheckedRun]) -> None:
        """Store checked runs, each completely and durably; after an error none of them is stored."""
        self._check_open()
        for run, directory in zip(runs, write_runs(self._root, runs), strict=True):
            path = PurePosixPath(directory.relative_to(self._root).as_posix())
            self._remember(run.id, FoundRun(self._root, path))

    def write_unless_stored(self, checked: Sequence[CheckedRun]) -> dict[str, str]:
        """Store the runs whose bytes are not yet in the tree; the search holds the tree's lock."""
        self._check_open()
        return write_new_runs(self._root, checked)

    def get_document(self, run_id: str) -> bytes | None:
        """Return the bytes that were saved; None if there is no such run.

        Raises:
            StoreUnavailableError: The run exists, but its document can't be read.
        """
        run = self._located(run_id)
        if run is None:
            return None
        try:
            return run.document()
        except FileNotFoundError:  # removed in the meantime
            return None
        except OSError as error:
            raise StoreUnavailableError(f"run {run_id} in {run.path} cannot be read: {error.strerror}") from error

    def attachments(self, run_id: str) -> Iterator[Attachment]:
        """Yield the files of the run's ``outputs/``.

        Raises:
            StoreUnavailableError: The directory can't be read.
        """
        run = self._located(run_id)
        if run is None:
            return
        try:
            yield from read_attachments(run)
        except OSError as error:
            what = f"the outputs of run {run_id} in {run.path} cannot be read: {error.strerror}"
            raise StoreUnavailableError(what) from error

    def query(
        self,
        filters: Filters = None,
        *,
        order_by: str = "-timestamp",
        limit: int | None = None,
        offset: int = 0,
    ) -> list[dict[str, Any]]:
        """Return the parsed documents that match, in order; walks the tree twice, however many there are."""
        page = self.list_results(filters, order_by=order_by, limit=limit, offset=offset)
        wanted = {summary.id for summary in page}
        unread = self._unread  # of the listing: the documents are those of the same runs
        runs = _read_each(find_runs(self._root), lambda run: run.identity().id in wanted, skip=unread.add)
        found = {run.id: codec.parse(run.document) for run in runs} if wanted else {}
        return [found[summary.id] for summary in page if summary.id in found]

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        """Yield the runs that match, out of those that existed when the scan began.

        What can't be read is left out, with a warning, and is in `unread`.
        """
        wanted = RunFilter.of(filters)
        self._check_open()
        known, self._unread = self._unread, (unread := _Unread())
        found = list(find_runs(self._root, on_skip=unread.add))
        runs = _read_each(found, _identity_test(wanted), self._remember, unread.add)
        return self._then_warn(fallbacks.select(runs, wanted, self.note_damage), unread, known)

    def note_damage(self, run: StoredRun, error: InvalidDocumentError) -> None:
        """Add a run whose document can't be parsed to `unread`."""
        found = self._places.get(run.id)
        path = PurePosixPath(run.id) if found is None else found.path / DOCUMENT
        self._unread.add(path, f"cannot be parsed: {error.message}")

    def _then_warn(self, runs: Iterator[StoredRun], unread: _Unread, known: _Unread) -> Iterator[StoredRun]:
        yield from runs
        if unread and unread != known:
            logger.warning(
                "%s: %d places cannot be read and are left out, for example %s; `kitt storage verify` says why",
                self.location,
                len(unread),
                next(iter(unread)),
            )

    def delete_result(self, run_id: str) -> bool:
        """Remove the run's directory and everything in it."""
        run = self._located(run_id)
        if run is None or not delete_run(run):
            return False
        # Copies made by hand have the same id and would bring the run back.
        while copy := locate(self._root, [run_id], trust_names=True):
            delete_run(copy[1])
        return True

    def verify(self, *, rebuild: bool = False) -> Iterator[Finding]:
        """Yield what is wrong: lost or changed documents, broken ``run.json``, duplicate ids, unreadable files."""
        self._check_open()
        skipped: list[tuple[PurePosixPath, str]] = []
        runs = list(find_runs(self._root, on_skip=lambda path, why: skipped.append((path, why))))
        yield from (_skipped(path, why) for path, why in skipped if why != LOST)
        check = DocumentCheck()
        seen: dict[str, FoundRun] = {}
        unlisted = 0
        for run in runs:
            yield from _verified(run, check, seen)
            unlisted += _has_unlisted_outputs(run)
        if unlisted:
            what = f"runs whose outputs have no digest in {IDENTITY}, as older KITTs wrote them: {unlisted}"
            yield Finding(
                None, Severity.NOTICE, f"{what}; of these only .gz files, which have checksums, are checked"
            )
        for path in (path for path, why in skipped if why == LOST):
            yield from _lost(FoundRun(self._root, path), seen)
        if unfinished := unfinished_runs(self._root):
            what = f"runs that are being written, or were when their writer was killed: {unfinished}"
            yield Finding(
                None, Severity.NOTICE, f"{what}; of a killed batch, those before them are stored: repeat it"
            )

    def initialize(self) -> None:
        """Create the tree's directory."""
        self._check_open()
        prepare_root(self._root)

    def schema_status(self) -> SchemaStatus:
        """Return the version of the tree's format and the size of its files in bytes."""
        without = sum(not (run.directory / IDENTITY).exists() for run in find_runs(self._root))
        notes = (f"runs without {IDENTITY}, from an older KITT or another tool: {without}",) if without else ()
        return SchemaStatus(version=1, newest=1, notes=notes, size_bytes=size_below(self._root))

    def close(self) -> None:
        """Refuse further calls; there is nothing to release."""
        self._closed = True

    def _located(self, run_id: str) -> FoundRun | None:
        self._check_open()
        run_id = sought_id(run_id)
        noted = self._places.pop(run_id, None)
        if noted is not None and _is_there(noted, run_id):
            self._remember(run_id, noted)
            return noted
        unread = _Unread()
        located = locate(self._root, [run_id], on_skip=unread.add)
        if located is None:
            self._unread = unread  # one of these may be the run
        return None if located is None else located[1]

    def _remember(self, run_id: str, run: FoundRun) -> None:
        if len(self._places) >= _MOST_PLACES:
            with suppress(StopIteration, RuntimeError):  # another thread was faster
                self._places.pop(next(iter(self._places)), None)
        self._places[run_id] = run

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailableError(f"{self.location} is closed", hint="open it again")


class _Unread(dict[PurePosixPath, str]):
    """Places that could not be read, and why."""

    def add(self, path: PurePosixPath, reason: str) -> None:
        if reason != LINK:  # links are never followed: nothing behind them is in the tree
            self[path] = reason


def _is_a_file(place: Path) -> bool:
    try:
        return place.exists() and not place.is_dir()
    except OSError:  # the first call that needs the directory reports it
        return False


def _identity_test(wanted: RunFilter) -> Callable[[FoundRun], bool]:
    """Return a test by id and digest, which needs no document."""
    if wanted.id is None and wanted.sha256 is None:
        return lambda _: True
    test = fallbacks.matches_identity(wanted)

    def passes(run: FoundRun) -> bool:
        identity = run.identity()
        return test(identity.id, identity.sha256)

    return passes


def _is_there(run: FoundRun, run_id: str) -> bool:
    parts = (*run.path.parts, DOCUMENT)
    try:
        if any(run.root.joinpath(*parts[:depth]).is_symlink() for depth in range(1, len(parts) + 1)):
            return False
        return run.is_any_of([run_id]) is not None and (run.directory / DOCUMENT).is_file()
    except OSError:
        return False


def _read_each(
    runs: Iterable[FoundRun],
    wanted: Callable[[FoundRun], bool],
    remember: Callable[[str, FoundRun], None] = lambda *_: None,
    skip: Callable[[PurePosixPath, str], None] = lambda *_: None,
) -> Iterator[StoredRun]:
    seen: set[str] = set()
    for run in runs:
        try:
            if not wanted(run):
                continue
            stored = run.read()
        except FileNotFoundError:  # removed in the meantime
            continue
        except OSError as error:
            skip(run.path, f"cannot be read: {error.strerror}")
            continue
        if stored.id not in seen:  # a copy of a directory, made by hand, is the same run
            seen.add(stored.id)
            remember(stored.id, run)
            yield stored


def _verified(run: FoundRun, check: DocumentCheck, seen: dict[str, FoundRun]) -> Iterator[Finding]:
    try:
        stored = run.read()
    except FileNotFoundError:
        return
    except OSError as error:
        file = Path(error.filename or DOCUMENT).name
        yield Finding(None, Severity.DAMAGE, f"{run.path}/{file} cannot be read: {error.strerror}")
        return
    first = seen.setdefault(stored.id, run)
    if first is not run:
        same = _digest(first) == codec.digest(stored.document)
        what = f"{run.path} has the id of {first.path} and is not listed"
        yield Finding(stored.id, Severity.NOTICE if same else Severity.DAMAGE, what)
        return
    for finding in check(stored):
        yield Finding(finding.run_id, finding.severity, f"{run.path}: {finding.what}")
    try:
        for severity, what in check_outputs(run):
            yield Finding(stored.id, severity, f"{run.path}: {what}")
    except OSError as error:
        yield Finding(stored.id, Severity.DAMAGE, f"{run.path}/{OUTPUTS} cannot be read: {error.strerror}")


def _has_unlisted_outputs(run: FoundRun) -> bool:
    try:
        return run.saved_files() is None and any(read_attachments(run))
    except (OSError, ValueError):  # reported already
        return False


def _lost(run: FoundRun, seen: Mapping[str, FoundRun]) -> Iterator[Finding]:
    """Yield what to say of a directory that has lost its document, unless it was removed in the meantime."""
    try:
        run_id = run.identity().id
    except FileNotFoundError:
        return
    except OSError:  # run.json is unusable as well
        run_id = None
    if run_id is not None and run_id in seen:
        what = f"{run.path} has no {DOCUMENT}, remove it; the run is in {seen[run_id].path}"
        yield Finding(run_id, Severity.NOTICE, what)
    else:
        yield Finding(run_id, Severity.DAMAGE, f"{run.path}: {DOCUMENT} is missing, the run is lost")


def _digest(run: FoundRun) -> str | None:
    try:
        return codec.digest(run.document())
    except OSError:
        return None


def _skipped(path: PurePosixPath, reason: str) -> Finding:
    return Finding(None, Severity.NOTICE if reason == LINK else Severity.DAMAGE, f"{path} {reason}")
