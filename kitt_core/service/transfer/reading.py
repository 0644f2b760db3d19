"""Runs and their files as they are read from a store: is the run what was saved, and can its files be read?

A target reads the files while it writes the run. If that fails, only the files know that the source was at fault:
then this run has failed, but not the target.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO, TypeVar, cast

from attrs import evolve, field, frozen

from kitt_core.errors import InvalidDocumentError, KittError, RunExistsError, StoreUnavailableError
from kitt_core.runs import codec
from kitt_core.runs.ids import check_run_id
from kitt_core.runs.model import Attachment, StoredRun
from kitt_core.storage.contract import ResultStore

__all__ = ["CarriedFiles", "FailedRun", "check_source", "digest_of", "parts_to_retry", "reason_of"]

T = TypeVar("T")


@frozen
class FailedRun:
    """A run that did not arrive unchanged.

    Attributes:
        run_id: Its id.
        error: What is wrong.
    """

    run_id: str
    error: KittError = field(eq=False)

    @property
    def reason(self) -> str:
        """Why, in one line."""
        return self.error.message if self.error.hint is None else f"{self.error.message} ({self.error.hint})"


def check_source(store: ResultStore) -> None:
    """Refuse a store that does not exist: reading would create some stores, and no runs would pass for success.

    Raises:
        StoreUnavailableError: Nothing is at its path.
    """
    if not store.paths:
        return
    with suppress(OSError):  # what can't be examined, the store will refuse
        if not store.paths[0].exists():
            raise StoreUnavailableError(
                f"{store.location} does not exist, so there are no runs to read from it",
                hint="check --backend and the configuration; `kitt config show` says which store is in effect",
            )


def digest_of(run: StoredRun, location: str) -> str:
    """Return the digest of a run, after checking that it is as it was saved.

    Args:
        run: The run as its store returned it.
        location: That store, for the message.

    Raises:
        InvalidDocumentError: It has changed since, or its id is not valid.
    """
    found = codec.digest(run.document)
    check_run_id(run.id)
    if run.sha256 and run.sha256 != found:
        raise InvalidDocumentError(
            f"its document has changed in {location}: the SHA-256 is {found[:12]}…, expected {run.sha256[:12]}…",
            hint="restore it from a backup; `kitt storage verify` finds all such runs",
        )
    return found


class CarriedFiles:
    """Attachments that remember why one of them could not be read completely.

    Attributes:
        attachments: The files to give to the target.
        size: Their total size in bytes.
        problem: Why one could not be read, in one line; None if none has failed so far.
    """

    def __init__(self, files: Iterable[Attachment] = ()) -> None:
        given = tuple(files)
        self.attachments = tuple(evolve(file, open=self._opener(file)) for file in given)
        self.size = sum(file.size for file in given)
        self.problem: str | None = None

    def note_failure(self, name: str, why: str) -> OSError:
        """Note why a file could not be read, and return the error to raise."""
        self.problem = f"attachment {name} cannot be read: {why}"
        return OSError(self.problem)

    def _opener(self, file: Attachment) -> _Opener:
        return _Opener(file, self)


def parts_to_retry(
    batch: Sequence[T],
    error: KittError | OSError,
    files_of: Callable[[T], CarriedFiles],
    refuse: Callable[[T, KittError], None],
) -> Iterator[Sequence[T]]:
    """Yield what of a batch to save again, in parts, after an error that some of it caused.

    Args:
        batch: What was saved together.
        error: What the target raised.
        files_of: Returns the files of each.
        refuse: Called for each that can't be saved: its files can't be read, or the target refused it alone.

    Raises:
        KittError, OSError: The error is not about what was saved.
    """
    unread = [each for each in batch if files_of(each).problem is not None]
    if unread:
        for each in unread:
            refuse(each, InvalidDocumentError(files_of(each).problem or ""))
        if rest := [each for each in batch if files_of(each).problem is None]:
            yield rest
    elif not isinstance(error, RunExistsError | InvalidDocumentError):
        raise error
    elif len(batch) == 1:
        refuse(batch[0], error)
    else:
        yield batch[: len(batch) // 2]
        yield batch[len(batch) // 2 :]


class _Opener:
    """The `Attachment.open` of these files."""

    def __init__(self, file: Attachment, carried: CarriedFiles) -> None:
        self._file = file
        self._carried = carried

    def __call__(self) -> BinaryIO:
        try:
            content = self._file.open()
        except (OSError, KittError) as error:
            raise self._carried.note_failure(self._file.name, reason_of(error)) from error
        return cast("BinaryIO", io.BufferedReader(_Watched(content, self._file, self._carried)))


class _Watched(io.RawIOBase):
    """A file's content; notes if the store can't read it, or if it is not what was saved."""

    def __init__(self, content: BinaryIO, file: Attachment, carried: CarriedFiles) -> None:
        self._content = content
        self._file = file
        self._carried = carried
        self._read = 0
        self._digest = None if file.sha256 is None else hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # typeshed: any writable buffer
        try:
            data = self._content.read(len(buffer))
        except (OSError, KittError) as error:
            raise self._carried.note_failure(self._file.name, reason_of(error)) from error
        self._read += len(data)
        if self._digest is not None:
            self._digest.update(data)
        why = None if data else self._difference()
        if why is not None:
            raise self._carried.note_failure(self._file.name, why)
        buffer[: len(data)] = data
        return len(data)

    def _difference(self) -> str | None:
        if self._read != self._file.size:
            return f"it ends after {self._read} of {self._file.size} bytes"
        if self._digest is not None and self._digest.hexdigest() != self._file.sha256:
            return (
                f"its SHA-256 is {self._digest.hexdigest()[:12]}…, but {(self._file.sha256 or '')[:12]}… was saved"
            )
        return None

    def close(self) -> None:
        if not self.closed:
            self._content.close()
        super().close()


def reason_of(error: OSError | KittError) -> str:
    """Return why something can't be read, in one line."""
    if isinstance(error, KittError):
        return error.message
    return error.strerror or str(error)
