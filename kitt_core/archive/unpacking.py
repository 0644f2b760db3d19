"""A gzip file read piece by piece, and not a byte further than it may go."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from kitt_core.archive.limits import Limits
from kitt_core.errors import InvalidArchiveError

__all__ = ["Unpacked"]

_GZIP: Final = 16 + zlib.MAX_WBITS
_MAGIC: Final = b"\x1f\x8b"
_READ: Final = 1 << 16
_UNPACKED: Final = 1 << 20
_ALWAYS: Final = 64 << 20
"""Bytes that an archive may unpack to, however small it is."""


class Unpacked:
    """The content of one gzip member.

    Args:
        stream: The packed file, from its beginning.
        size: Its length.
        limits: How many times that length it may unpack to.
    """

    def __init__(self, stream: BinaryIO, *, size: int, limits: Limits) -> None:
        self._stream = stream
        self._inflater = zlib.decompressobj(_GZIP)
        self._ready, self._next = b"", 0  # what is unpacked, and where in it the rest begins
        self._limits = limits
        self._allowed = _ALWAYS + size * limits.ratio
        self._begun = False

    def check_room(self, size: int) -> None:
        """Refuse what is announced to be more than may still come.

        Raises:
            InvalidArchiveError: It is.
        """
        if size - (len(self._ready) - self._next) > self._allowed:
            raise self._limits.unpacks_to_too_much()

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes.

        Raises:
            InvalidArchiveError: The file is damaged, or ends before.
        """
        return b"".join(self.chunks(size))

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield the next ``size`` bytes in parts.

        Raises:
            InvalidArchiveError: The file is damaged, or ends before.
        """
        while size:
            if self._next == len(self._ready):
                self._ready, self._next = self._more(), 0
                if not self._ready:
                    raise _cut_off()
            # An offset, for the rest is large and most parts are small.
            part = self._ready[self._next : self._next + size]
            self._next += len(part)
            size -= len(part)
            yield part

    def rest(self) -> Iterator[bytes]:
        """Yield what is left, to the end of the file, in parts.

        Raises:
            InvalidArchiveError: The file is damaged, or something follows the gzip member.
        """
        # Also where nothing is left: the check sum behind the last byte is looked at by whoever wants one more.
        while part := self._ready[self._next :] or self._more():
            self._ready, self._next = b"", 0
            yield part
        if self._inflater.unused_data or self._read(1):
            raise InvalidArchiveError("something follows the archive's end", hint="it is not as it was written")

    def _more(self) -> bytes:
        """Return some of what follows; nothing at the end of the gzip member."""
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._read(_READ)
            if not self._begun and packed:
                self._begun = True
                if not packed.startswith(_MAGIC):
                    raise InvalidArchiveError(
                        "it is no archive: it does not begin as gzip does",
                        hint="archives are what `kitt storage backup` writes; documents are imported",
                    )
            try:
                found = self._inflater.decompress(packed, _UNPACKED)
            except zlib.error as error:
                raise InvalidArchiveError(f"it is damaged: {error}", hint="use another copy of it") from error
            if found:
                self._allowed -= len(found)
                if self._allowed < 0:
                    raise self._limits.unpacks_to_too_much()
                return found
            if not packed and not self._inflater.eof:
                raise _cut_off()
        return b""

    def _read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except OSError as error:
            raise InvalidArchiveError(f"it cannot be read: {error.strerror or error}") from error


def _cut_off() -> InvalidArchiveError:
    return InvalidArchiveError("it is cut off: it ends before its end", hint="use another copy of it")
