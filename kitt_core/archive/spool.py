"""A temporary place on the disk for attachments on their way between a store and an archive."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, cast

from attrs import field, frozen

from kitt_core.errors import StoreUnavailableError

__all__ = ["Spool", "Spooled", "no_room"]

_CHUNK: Final = 1 << 20


@frozen
class Spooled:
    """A part of a `Spool`; until that is cleared, ``open`` reads it from its beginning."""

    size: int
    sha256: str
    _file: BinaryIO = field(eq=False, repr=False)
    _start: int

    def open(self) -> BinaryIO:
        """Open it for reading."""
        return cast("BinaryIO", io.BufferedReader(_Section(self._file, self._start, self.size)))

    def chunks(self) -> Iterator[bytes]:
        """Yield its content in parts."""
        with self.open() as stream:
            yield from iter(partial(stream.read, _CHUNK), b"")


class Spool(AbstractContextManager["Spool"]):
    """A file without a name: however the process ends, nothing is left of it.

    Args:
        directory: Where to create it; by default where the system keeps temporary files.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._file = cast("BinaryIO", tempfile.TemporaryFile(dir=directory))  # noqa: SIM115 - closed by __exit__
        self._end = 0

    def take(self, chunks: Iterable[bytes]) -> Spooled:
        """Add a content, given in parts.

        Raises:
            OSError: There is no room for it, or it can't be read.
        """
        start, digest = self._end, hashlib.sha256()
        for chunk in chunks:
            self._file.seek(self._end)
            self._file.write(chunk)
            self._end += len(chunk)
            digest.update(chunk)
        return Spooled(self._end - start, digest.hexdigest(), self._file, start)

    def take_stream(self, stream: BinaryIO) -> Spooled:
        """Add the content of a stream, to its end."""
        return self.take(iter(partial(stream.read, _CHUNK), b""))

    def append(self, data: bytes) -> None:
        """Append to the only content of this spool, which `whole` yields."""
        self._file.seek(0, os.SEEK_END)
        self._file.write(data)
        self._end += len(data)

    def whole(self) -> Iterator[bytes]:
        """Yield everything in it, in parts."""
        self._file.seek(0)
        yield from iter(partial(self._file.read, _CHUNK), b"")

    def clear(self) -> None:
        """Discard everything and free the space."""
        self._file.seek(0)
        self._file.truncate()
        self._end = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Discard everything and close the file."""
        self._file.close()


def no_room(error: OSError) -> StoreUnavailableError:
    """Return the error for temporary files that can't be written, which is not the archive's fault."""
    return StoreUnavailableError(
        f"the temporary directory cannot be written: {error.strerror or error}",
        hint="set TMPDIR to a directory with free space",
    )


class _Section(io.RawIOBase):
    """A part of a file that is shared with other readers: each read seeks to its own position first."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file = file
        self._next = start
        self._end = start + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # typeshed: any writable buffer
        self._file.seek(self._next)
        data = self._file.read(min(len(buffer), self._end - self._next))
        buffer[: len(data)] = data
        self._next += len(data)
        return len(data)
