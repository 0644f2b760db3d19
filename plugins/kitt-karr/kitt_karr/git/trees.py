"""Git's trees: directories as sorted lists of entries; a change splices their bytes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from attrs import frozen

DIRECTORY: Final = b"40000"
FILE: Final = b"100644"
_FILES: Final = frozenset({FILE, b"100755", b"100664"})
_ID_BYTES: Final = 20

Place = tuple[bytes, ...]
"""A path below the root, as git stores it."""


@frozen
class Entry:
    """One entry of a directory; links and submodules are neither directories nor files."""

    name: bytes
    mode: bytes
    id: str

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.mode.lstrip(b"0") == DIRECTORY

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.mode in _FILES


class Listing:
    """The entries of one directory. Immutable: `with_entry` and `without` return another."""

    __slots__ = ("_keys", "_pieces")

    def __init__(self, keys: list[bytes] | None = None, pieces: list[bytes] | None = None) -> None:
        # Two parallel lists, and an `Entry` only when one is asked for: a directory of ten thousand runs is read,
        # searched and written with each commit.
        self._keys = keys or []
        self._pieces = pieces or []

    @classmethod
    def parse(cls, content: bytes) -> Listing:
        """Read a tree object's content; raise `ValueError` if it is something else."""
        keys, pieces, start = [], [], 0
        while start < len(content):
            space, end = content.index(b" ", start), content.index(b"\0", start)
            name, stop = content[space + 1 : end], end + 1 + _ID_BYTES
            is_directory = content[start:space].lstrip(b"0") == DIRECTORY
            keys.append(name + b"/" if is_directory else name)
            pieces.append(content[start:stop])
            start = stop
        if start != len(content) or keys != sorted(keys):
            raise ValueError("a tree object is cut off or out of order")
        return cls(keys, pieces)

    def encode(self) -> bytes:
        """Return the content of the tree object."""
        return b"".join(self._pieces)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Entry]:
        return map(_entry, self._pieces)

    def unlike(self, other: Listing) -> Iterator[Entry]:
        """Yield the entries that ``other`` does not have."""
        same = set(other._pieces)
        return (_entry(piece) for piece in self._pieces if piece not in same)

    def find(self, name: bytes) -> Entry | None:
        """Return the entry of this name, None if there is none."""
        for key in (name, name + b"/"):
            position = bisect_left(self._keys, key)
            if self._keys[position : position + 1] == [key]:
                return _entry(self._pieces[position])
        return None

    def with_entry(self, entry: Entry) -> Listing:
        """Return a listing with ``entry``, which replaces one of the same name."""
        keys, pieces = self._without(entry.name)
        key = entry.name + b"/" if entry.is_directory else entry.name
        position = bisect_left(keys, key)
        keys.insert(position, key)
        pieces.insert(position, b"%s %s\0%s" % (entry.mode, entry.name, bytes.fromhex(entry.id)))
        return Listing(keys, pieces)

    def without(self, name: bytes) -> Listing:
        """Return a listing without the entry of this name."""
        return Listing(*self._without(name))

    def _without(self, name: bytes) -> tuple[list[bytes], list[bytes]]:
        keys, pieces = self._keys.copy(), self._pieces.copy()
        for key in (name, name + b"/"):
            position = bisect_left(keys, key)
            if keys[position : position + 1] == [key]:
                del keys[position], pieces[position]
        return keys, pieces


def _entry(piece: bytes) -> Entry:
    head, _, _ = piece.partition(b"\0")
    mode, _, name = head.partition(b" ")
    return Entry(name, mode, piece[len(head) + 1 :].hex())
