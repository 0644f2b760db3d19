"""Git LFS: pointers in the tree, contents where git-lfs looks for them.

Contents are streamed, so that a gigabyte takes no more memory than a megabyte. Nothing is compressed here.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import BinaryIO, Final

from attrs import frozen

from kitt_core.files import sync_directory
from kitt_karr.git.repository import Repository

LONGEST_POINTER: Final = 1024  # bytes: git-lfs accepts no larger pointer
_VERSION: Final = "version https://git-lfs.github.com/spec/v1\n"
_POINTER: Final = re.compile(
    re.escape(_VERSION).encode() + rb"(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n*"
)
_BLOCK: Final = 1 << 20


@frozen
class Pointer:
    """What git's tree has in place of a large file: the SHA-256 of its content, and its size in bytes."""

    oid: str
    size: int

    @classmethod
    def parse(cls, content: bytes) -> Pointer | None:
        """Read the content of a pointer file; None if it is something else."""
        if len(content) > LONGEST_POINTER:
            return None
        found = _POINTER.fullmatch(content.replace(b"\r\n", b"\n"))
        return None if found is None else cls(found[1].decode("ascii"), int(found[2]))

    def encode(self) -> bytes:
        """Return the file's content."""
        return f"{_VERSION}oid sha256:{self.oid}\nsize {self.size}\n".encode("ascii")

    def is_content_of(self, path: Path) -> bool:
        """Whether a file has the content that the pointer names."""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.oid


class LargeFiles:
    """The contents of a repository's large files, as far as they are on this machine."""

    def __init__(self, repository: Repository) -> None:
        self._directory = repository.directory / (repository.setting("lfs", "storage") or "lfs")

    def path(self, pointer: Pointer) -> Path:
        """Return where the content is, or would be."""
        return self._directory / "objects" / pointer.oid[:2] / pointer.oid[2:4] / pointer.oid

    def holds(self, pointer: Pointer) -> bool:
        """Whether the content is there, and has the right size."""
        try:
            return self.path(pointer).stat().st_size == pointer.size
        except OSError:
            return False

    def add(self, first: bytes, source: BinaryIO, most: int) -> Pointer:
        """Store ``first`` and what ``source`` has, at most ``most`` bytes in total, durably."""
        temporary = self._directory / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        unfinished = temporary / f"kitt-{secrets.token_hex(8)}"
        digest, size = hashlib.sha256(), 0
        try:
            with unfinished.open("xb") as file:  # not write_file: the digest and the size are taken on the way
                block = first
                while block:
                    file.write(block)
                    digest.update(block)
                    size += len(block)
                    block = source.read(min(_BLOCK, most - size)) if size < most else b""
                file.flush()
                os.fsync(file.fileno())
            pointer = Pointer(digest.hexdigest(), size)
            if not self.holds(pointer):
                target = self.path(pointer)
                target.parent.mkdir(parents=True, exist_ok=True)
                unfinished.rename(target)
                sync_directory(target.parent)
        finally:
            unfinished.unlink(missing_ok=True)
        return pointer
