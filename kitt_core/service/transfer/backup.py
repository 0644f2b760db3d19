"""Write a store's runs to one portable archive, while others may write to the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from attrs import field, frozen

import kitt_core
from kitt_core.archive import ArchiveWriter, Marker
from kitt_core.errors import ConfigurationError, InvalidDocumentError, StoreUnavailableError
from kitt_core.files import check_output, replaced_file
from kitt_core.runs import codec
from kitt_core.runs.model import Progress, StoredRun
from kitt_core.service.transfer.reading import CarriedFiles, FailedRun, check_source, digest_of, reason_of
from kitt_core.storage.contract import Capability, ResultStore

__all__ = ["BackupReport", "back_up", "new_archive"]

_HINT: Final = "name another file"


@frozen
class BackupReport:
    """What a backup did.

    Attributes:
        runs: How many runs are in the archive.
        attachments: How many files they have.
        failed: Runs that were left out because they are damaged.
        unread: How many runs the store counted at the beginning but did not return, or said to be unreadable.
    """

    runs: int
    attachments: int
    failed: tuple[FailedRun, ...] = field(default=())
    unread: int = 0


def back_up(
    store: ResultStore,
    stream: BinaryIO,
    *,
    backend: str = "",
    directory: Path | None = None,
    progress: Progress | None = None,
) -> BackupReport:
    """Write all runs of a store to a stream, as an archive that any store can be restored from.

    Every run that was saved before the call is included in full, unless it is deleted meanwhile. A run that is no
    longer what was saved is left out and reported.

    Args:
        store: The store to back up; it is only read.
        stream: Where to write, from its current position.
        backend: The name of the store's backend, for people who read the archive.
        directory: Where an attachment is kept until it has been read completely.
        progress: Called with the number of runs done, and of all.

    Raises:
        StoreUnavailableError: The store does not exist, or has become unusable; the archive is incomplete.
        OSError: The stream can't be written to; the archive is incomplete.
    """
    check_source(store)
    marker = Marker(datetime.now(UTC), kitt_core.__version__, backend)
    total = store.count()
    done = 0
    failed: list[FailedRun] = []
    with ArchiveWriter(stream, marker, directory=directory) as archive:
        for run in store.scan():
            try:
                _add(archive, store, run)
            except InvalidDocumentError as error:
                failed.append(FailedRun(run.id, error))
            done += 1
            if progress is not None:
                progress(done, max(total, done))
        archive.left_out = len(failed)
        manifest = archive.finish()
    return BackupReport(manifest.runs, manifest.attachments, tuple(failed), max(total - done, len(store.unread)))


@contextmanager
def new_archive(path: Path, store: ResultStore, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a file for an archive; it appears, readable by its owner alone, once the block ends without an error.

    Raises:
        ConfigurationError: It exists already, belongs to the store, or can't be written.
    """
    check_output(path, store.paths, hint=_HINT)
    _check_free(path, overwrite=overwrite)
    with replaced_file(path, private=True, hint=_HINT) as stream:
        yield stream
        _check_free(path, overwrite=overwrite)  # another process may have created it meanwhile


def _add(archive: ArchiveWriter, store: ResultStore, run: StoredRun) -> None:
    """Write one run, unless it is deleted meanwhile.

    Raises:
        InvalidDocumentError: It is damaged.
    """
    digest_of(run, store.location)
    codec.parse(run.document)
    carried = CarriedFiles()
    if Capability.ATTACHMENTS in store.capabilities:
        try:
            carried = CarriedFiles(store.attachments(run.id))
        except (OSError, StoreUnavailableError) as error:
            what = f"its attachments cannot be listed: {reason_of(error)}"
            raise InvalidDocumentError(what) from error
        if not carried.attachments and store.get_document(run.id) is None:
            return  # deleted meanwhile: whether it had files is not known
    try:
        archive.add(run, carried.attachments)
    except OSError as error:
        if carried.problem is None:  # the stream failed, not an attachment
            raise
        if store.get_document(run.id) is not None:
            raise InvalidDocumentError(carried.problem) from error


def _check_free(path: Path, *, overwrite: bool) -> None:
    if path.is_file() and not overwrite:
        raise ConfigurationError(f"{path} already exists", hint="give --force to replace it, or name another file")
