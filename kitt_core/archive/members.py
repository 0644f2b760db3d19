"""What an archive is made of: a gzip stream of regular files as tar members, read no further than it may go."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from array import array
from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO, Final

from attrs import frozen

from kitt_core.errors import InvalidArchiveError

__all__ = [
    "BLOCK",
    "BYTES_PER_PART",
    "END_BLOCKS",
    "MAX_DOCUMENT_MIB",
    "MAX_RATIO",
    "RECORD_BLOCKS",
    "USUAL_LIMITS",
    "Distinct",
    "Limits",
    "Member",
    "Unpacked",
    "padding",
    "read_header",
    "shown",
    "write_header",
]

MAX_RATIO: Final = 250
"""Times of its size that an archive may unpack to; what benchmarks write packs to a fiftieth at most."""
MAX_DOCUMENT_MIB: Final = 64
"""MiB that one document may have: far more than a run's results take, and little enough to be parsed anywhere."""
BYTES_PER_PART: Final = 32
"""A document may hold one text, array or object per so many bytes of what it may have. Each takes up to 250 bytes
of memory when it is parsed, whereas two bytes are enough to write one."""

_ANY_RATIO: Final = 1100  # deflate makes at most 1032 bytes of one


@frozen
class Limits:
    """What is still read.

    Attributes:
        ratio: How many times its size the archive may unpack to, beyond what any archive may.
        document_mib: How many MiB a document may have; how many texts, arrays and objects follows from it.
    """

    ratio: int = MAX_RATIO
    document_mib: int = MAX_DOCUMENT_MIB

    @property
    def document_parts(self) -> int:
        """Texts, arrays and objects that a document may hold."""
        return (self.document_mib << 20) // BYTES_PER_PART

    def check_document_size(self, where: str, size: int) -> None:
        """Refuse a document that is announced to be too large.

        Raises:
            InvalidArchiveError: It is.
        """
        if size > self.document_mib << 20:
            raise InvalidArchiveError(
                f"{where}: a document of {size} bytes; at most {self.document_mib} MiB are read",
                hint=_document_hint(size),
            )

    def too_many_parts(self, where: str, possible: int) -> InvalidArchiveError:
        """Return what is said of a document with more parts than `document_parts`.

        Args:
            where: The run.
            possible: How many there are at most.
        """
        return InvalidArchiveError(
            f"{where}: its document holds more than {self.document_parts} texts, arrays and objects",
            hint=_document_hint(possible * BYTES_PER_PART),
        )

    def unpacks_to_too_much(self) -> InvalidArchiveError:
        """Return what is said of an archive that unpacks to more than it may."""
        return InvalidArchiveError(
            f"it unpacks to more than {self.ratio} times its size",
            hint=f"if you know where it comes from, give --max-ratio {_ANY_RATIO}, which is enough for any",
        )


USUAL_LIMITS: Final = Limits()


def _document_hint(size: int) -> str:
    # A power of two, so that a few documents that need more and more are no more than a few attempts.
    enough = 1 << (-(-size >> 20) - 1).bit_length()
    return f"if you know where it comes from, give --max-document {enough}"


class Distinct:
    """Remembers 8 bytes of each text, salted, so that nobody can make two alike."""

    def __init__(self) -> None:
        self._salt = os.urandom(16)
        # In parts, because the question makes a set of each.
        self._seen = [array("Q") for _ in range(256)]

    def add(self, text: str) -> None:
        """Note one."""
        key = hashlib.blake2b(text.encode(), digest_size=8, key=self._salt).digest()
        self._seen[key[0]].append(int.from_bytes(key))

    def repeated(self) -> bool:
        """Return whether one was noted twice."""
        return any(len(set(keys)) != len(keys) for keys in self._seen)


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


BLOCK: Final = 512
END_BLOCKS: Final = 2
RECORD_BLOCKS: Final = 20
"""A tar file's length is a multiple of so many blocks, by old custom."""

_PRIVATE: Final = 0o600
_LARGEST_OCTAL: Final = 8**11 - 1
_SIZE: Final = slice(124, 136)
_CHECKSUM: Final = slice(148, 156)
_KINDS: Final = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.DIRTYPE: "a directory",
    tarfile.FIFOTYPE: "a named pipe",
}


@frozen
class Member:
    """What a header says."""

    path: str
    size: int


def padding(size: int) -> int:
    """Return how many zero bytes follow a content of ``size`` bytes."""
    return -size % BLOCK


def write_header(path: str, size: int, modified: datetime) -> bytes:
    """Return the header of a regular file; the path is ASCII."""
    info = tarfile.TarInfo(path)
    info.mode = _PRIVATE
    info.mtime = min(max(0, int(modified.timestamp())), _LARGEST_OCTAL)
    info.size = size if size <= _LARGEST_OCTAL else 0
    block = info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    return block if size <= _LARGEST_OCTAL else _with_large_size(block, size)


def read_header(block: bytes, expected: str) -> Member | None:
    """Return what a header says; None if it is a block of zeros: the end.

    Args:
        block: The header.
        expected: What should stand here, for the message.

    Raises:
        InvalidArchiveError: It is no header, or one of something that no archive holds.
    """
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed has only the base
        return None
    except (tarfile.HeaderError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise InvalidArchiveError(f"there is no tar header where {expected} should begin ({error})") from error
    if info.type != tarfile.REGTYPE or info.size < 0:
        kind = _KINDS.get(info.type, f"of the type {info.type.decode('latin-1')!r}")
        raise InvalidArchiveError(
            f"member {shown(info.name)} is {kind}, expected {expected}",
            hint="an archive is restored as `kitt storage backup` wrote it, not as tar packs it again",
        )
    return Member(info.name, info.size)


def _with_large_size(block: bytes, size: int) -> bytes:
    # Octal digits end at 8 GiB. GNU's base 256 is read by every tar since, and needs no second header.
    changed = bytearray(block)
    changed[_SIZE] = b"\x80" + size.to_bytes(11)
    changed[_CHECKSUM] = b" " * 8
    changed[_CHECKSUM] = b"%06o\0 " % sum(changed)
    return bytes(changed)


def shown(name: str) -> str:
    """Return a member's name as messages show it: quoted, and cut to a readable length."""
    return repr(name if len(name) <= 80 else f"{name[:80]}…")
