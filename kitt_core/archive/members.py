"""What an archive is made of: a gzip stream with regular files as tar members, read within limits."""

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
"""How many times its own size an archive may unpack to; benchmark results compress to a fiftieth at best."""
MAX_DOCUMENT_MIB: Final = 64
"""The size limit of a document in MiB: far more than a run's results need, and little enough to parse anywhere."""
BYTES_PER_PART: Final = 32
"""A document may contain one text, array or object for this many bytes of its size limit. Each takes up to 250
bytes of memory when it is parsed, but as few as two bytes in the file."""

_ANY_RATIO: Final = 1100  # deflate expands a byte to at most 1032


@frozen
class Limits:
    """How much is read before an archive is refused.

    Attributes:
        ratio: How many times its size the archive may unpack to, in addition to what any archive may.
        document_mib: The size limit of a document in MiB, from which that of its parts follows.
    """

    ratio: int = MAX_RATIO
    document_mib: int = MAX_DOCUMENT_MIB

    @property
    def document_parts(self) -> int:
        """How many texts, arrays and objects a document may contain."""
        return (self.document_mib << 20) // BYTES_PER_PART

    def check_document_size(self, where: str, size: int) -> None:
        """Refuse a document whose announced size is too large.

        Raises:
            InvalidArchiveError: It is too large.
        """
        if size > self.document_mib << 20:
            raise InvalidArchiveError(
                f"{where}: its document has {size} bytes, expected at most {self.document_mib} MiB",
                hint=_document_hint(size),
            )

    def too_many_parts(self, where: str, possible: int) -> InvalidArchiveError:
        """Return the error for a document with more parts than `document_parts`.

        Args:
            where: The run.
            possible: How many there are at most.
        """
        return InvalidArchiveError(
            f"{where}: its document contains more than {self.document_parts} texts, arrays and objects",
            hint=_document_hint(possible * BYTES_PER_PART),
        )

    def unpacks_to_too_much(self) -> InvalidArchiveError:
        """Return the error for an archive that unpacks to more than it may."""
        return InvalidArchiveError(
            f"it unpacks to more than {self.ratio} times its size",
            hint=f"if you trust its origin, give --max-ratio {_ANY_RATIO}, which is enough for any archive",
        )


USUAL_LIMITS: Final = Limits()


def _document_hint(size: int) -> str:
    # A power of two, so that documents that need more and more take only a few attempts.
    enough = 1 << (-(-size >> 20) - 1).bit_length()
    return f"if you trust its origin, give --max-document {enough}"


class Distinct:
    """Detects repeated texts; it keeps 8 bytes of each, salted so that nobody can craft a collision."""

    def __init__(self) -> None:
        self._salt = os.urandom(16)
        # In parts, because `repeated` makes a set of each.
        self._seen = [array("Q") for _ in range(256)]

    def add(self, text: str) -> None:
        """Add a text."""
        key = hashlib.blake2b(text.encode(), digest_size=8, key=self._salt).digest()
        self._seen[key[0]].append(int.from_bytes(key))

    def repeated(self) -> bool:
        """Return whether any text was added twice."""
        return any(len(set(keys)) != len(keys) for keys in self._seen)


_GZIP: Final = 16 + zlib.MAX_WBITS
_MAGIC: Final = b"\x1f\x8b"
_READ: Final = 1 << 16
_UNPACKED: Final = 1 << 20
_ALWAYS: Final = 64 << 20
"""Bytes that an archive may unpack to, however small it is."""


class Unpacked:
    """The unpacked content of one gzip member.

    Args:
        stream: The packed file, from its beginning.
        size: Its length.
        limits: How many times that length it may unpack to.
    """

    def __init__(self, stream: BinaryIO, *, size: int, limits: Limits) -> None:
        self._stream = stream
        self._inflater = zlib.decompressobj(_GZIP)
        self._ready, self._next = b"", 0  # unpacked data, and where its unread part begins
        self._limits = limits
        self._allowed = _ALWAYS + size * limits.ratio
        self._begun = False

    def check_room(self, size: int) -> None:
        """Refuse an announced size that is more than may still be unpacked.

        Raises:
            InvalidArchiveError: It is more.
        """
        if size - (len(self._ready) - self._next) > self._allowed:
            raise self._limits.unpacks_to_too_much()

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes.

        Raises:
            InvalidArchiveError: The file is damaged, or ends early.
        """
        return b"".join(self.chunks(size))

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield the next ``size`` bytes in parts.

        Raises:
            InvalidArchiveError: The file is damaged, or ends early.
        """
        while size:
            if self._next == len(self._ready):
                self._ready, self._next = self._more(), 0
                if not self._ready:
                    raise _cut_off()
            # Sliced at an offset, because the rest is large and most parts are small.
            part = self._ready[self._next : self._next + size]
            self._next += len(part)
            size -= len(part)
            yield part

    def rest(self) -> Iterator[bytes]:
        """Yield what is left, to the end of the file, in parts.

        Raises:
            InvalidArchiveError: The file is damaged, or something follows the gzip member.
        """
        # Even if nothing is left: zlib verifies the checksum only when asked for more than the last byte.
        while part := self._ready[self._next :] or self._more():
            self._ready, self._next = b"", 0
            yield part
        if self._inflater.unused_data or self._read(1):
            raise InvalidArchiveError("there is data after the archive's end", hint="use an unchanged copy of it")

    def _more(self) -> bytes:
        """Return some of what follows; nothing at the end of the gzip member."""
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._read(_READ)
            if not self._begun and packed:
                self._begun = True
                if not packed.startswith(_MAGIC):
                    raise InvalidArchiveError(
                        "it is not an archive: it does not begin like a gzip file",
                        hint="restore reads what `kitt storage backup` wrote, `kitt storage import` documents",
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
    return InvalidArchiveError("it is truncated: its end is missing", hint="use another copy of it")


BLOCK: Final = 512
END_BLOCKS: Final = 2
RECORD_BLOCKS: Final = 20
"""A tar file's length is a multiple of this many blocks, by convention."""

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
    """A member as its header describes it."""

    path: str
    size: int


def padding(size: int) -> int:
    """Return how many zero bytes follow content of ``size`` bytes."""
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
    """Return what a header says; None for a block of zeros, which marks the end.

    Args:
        block: The header.
        expected: What should be here, for the message.

    Raises:
        InvalidArchiveError: It is not a header, or describes something that an archive never contains.
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
            hint="restore the archive as `kitt storage backup` wrote it, not repacked by tar",
        )
    return Member(info.name, info.size)


def _with_large_size(block: bytes, size: int) -> bytes:
    # Octal digits end at 8 GiB. Every current tar reads GNU's base 256, which needs no second header. Not with
    # tarfile.GNU_FORMAT: that writes a second header for paths of more than 100 characters.
    changed = bytearray(block)
    changed[_SIZE] = b"\x80" + size.to_bytes(11)
    changed[_CHECKSUM] = b" " * 8
    changed[_CHECKSUM] = b"%06o\0 " % sum(changed)
    return bytes(changed)


def shown(name: str) -> str:
    """Return a member's name as messages show it: quoted, and cut to a readable length."""
    return repr(name if len(name) <= 80 else f"{name[:80]}…")
