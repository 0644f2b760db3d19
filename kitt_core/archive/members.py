"""Headers of tar members: of all that tar can express an archive has regular files, nothing else."""

from __future__ import annotations

import tarfile
from datetime import datetime
from typing import Final

from attrs import frozen

from kitt_core.errors import InvalidArchiveError

__all__ = ["BLOCK", "END_BLOCKS", "RECORD_BLOCKS", "Member", "padding", "read_header", "shown", "write_header"]

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
