"""A repository with a work tree: a commit updates the files and index entries of its runs, and nothing else.

What the user has staged or changed stays so. The index is replaced before the branch moves if runs are added, and
after it if they are removed: if KITT is killed in between, git shows a run that is staged or still there, never
one that the user's next commit deletes.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from kitt_core.errors import StoreUnavailableError
from kitt_core.files import sync_directory, write_file
from kitt_karr.git.lfs import LargeFiles, Pointer
from kitt_karr.git.locks import held
from kitt_karr.git.objects import BLOB, object_id
from kitt_karr.git.repository import Repository
from kitt_karr.git.trees import Entry, Place

_FILE_MODE: Final = 0o100644
_CHECKSUM_BYTES: Final = 20

Files = Mapping[bytes, Entry]


class WorkTree:
    """The files of a repository that is not bare, and git's list of them."""

    def __init__(self, repository: Repository) -> None:
        assert repository.work_tree is not None
        self._repository = repository
        self._root = repository.work_tree
        self._index = repository.control_directory / "index"
        self._large_files = LargeFiles(repository)
        # Without git-lfs's filter, git expects the pointers there, and reports anything else as modified.
        self._filtered = any(repository.setting("filter.lfs", name) for name in ("clean", "process"))

    def follow(
        self, old: str | None, new: str, changes: Mapping[Place, Entry | None], advance: Callable[[], bool]
    ) -> bool:
        """Move the branch with ``advance`` and update files and index; return whether it moved.

        Nothing is changed if git has locked the index, or if it can't be read.
        """
        gone = [place for place, entry in changes.items() if entry is None]
        with held(self._index, self._repository.own, "index"):
            entries, version = self._read()
            if not gone:
                return self._add(entries, version, self._files_of(new, changes), advance)
            moved = advance()
            if moved:
                self._remove(entries, version, self._files_of(old, gone))
            return moved

    def _add(self, entries: dict[bytes, Any], version: int, files: Files, advance: Callable[[], bool]) -> bool:
        before = self._index.read_bytes() if self._index.exists() else None
        written: list[Path] = []
        moved = False
        try:
            for name, entry in files.items():
                entries[name] = _index_entry(entry, self._put(name, entry, written))
            self._write(entries, version)
            moved = advance()
        finally:
            if not moved:
                if before is None:
                    self._index.unlink(missing_ok=True)
                else:
                    self._replace_index(before)
                for path in written:
                    self._remove_file(path)
        return moved

    def _remove(self, entries: dict[bytes, Any], version: int, files: Files) -> None:
        self._write({name: entry for name, entry in entries.items() if name not in files}, version)
        for name, entry in files.items():
            path = self._root / os.fsdecode(name)
            if self._is_unchanged(path, entry):  # what the user changed is kept
                self._remove_file(path)

    def _files_of(self, root: str | None, places: Iterable[Place]) -> dict[bytes, Entry]:
        """Return the files at and below some places of a tree."""
        files = {}
        pending = [(place, self._repository.find(root, place)) for place in places]
        while pending:
            place, entry = pending.pop()
            if entry is not None and entry.is_directory:
                pending += [((*place, child.name), child) for child in self._repository.listing(entry.id)]
            elif entry is not None and entry.is_file:
                files[b"/".join(place)] = entry
        return files

    def _put(self, name: bytes, entry: Entry, written: list[Path]) -> os.stat_result | None:
        """Write a file, and return its state; None if the user has another file there, which is kept."""
        path = self._root / os.fsdecode(name)
        self._make_directories(name.split(b"/")[:-1])
        content = self._repository.blob(entry.id)
        pointer = Pointer.parse(content)
        if path.exists() or path.is_symlink():
            return path.lstat() if self._is_unchanged(path, entry) else None
        written.append(path)
        if pointer is not None and self._filtered and self._large_files.holds(pointer):
            shutil.copyfile(self._large_files.path(pointer), path)
        else:
            write_file(path, [content])
        return path.lstat()

    def _is_unchanged(self, path: Path, entry: Entry) -> bool:
        """Whether a file has the content that git or LFS has for it."""
        if path.is_symlink() or not path.is_file():
            return False
        pointer = Pointer.parse(self._repository.blob(entry.id))
        if pointer is not None and path.stat().st_size == pointer.size:
            return pointer.is_content_of(path)
        return object_id(BLOB, path.read_bytes()) == entry.id

    def _make_directories(self, names: Iterable[bytes]) -> None:
        """Make the levels above a file; none of them may be a link that leads out of the work tree."""
        directory = self._root
        for name in names:
            parent, directory = directory, directory / os.fsdecode(name)
            try:
                directory.mkdir()
            except FileExistsError as error:
                if directory.is_symlink() or not directory.is_dir():
                    text = f"{directory} is a link or a file, a directory is needed to write runs into"
                    raise StoreUnavailableError(text, hint="move it away") from error
            else:
                sync_directory(parent)

    def _remove_file(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # other files are in it
            while (path := path.parent) != self._root:
                path.rmdir()

    def _read(self) -> tuple[dict[bytes, Any], int]:
        from dulwich.index import read_index_dict_with_version

        if not self._index.exists():
            return {}, 2
        content = self._index.read_bytes()
        end = len(content) - _CHECKSUM_BYTES
        checksum = hashlib.sha1(content[:end], usedforsecurity=False).digest()
        if content[end:] not in {checksum, bytes(_CHECKSUM_BYTES)}:
            hint = f"recreate it: rm {self._index}; git -C {self._root} reset"
            raise StoreUnavailableError(f"{self._index} is damaged", hint=hint)
        file = io.BytesIO(content)
        entries, version, _ = read_index_dict_with_version(file)
        if file.tell() < end:  # dulwich stops here, and what follows changes the meaning of the entries
            hint = "turn that off (`git update-index --no-split-index`), or use a bare repository"
            raise StoreUnavailableError(f"{self._index} is split or sparse, which KITT does not write", hint=hint)
        return entries, version

    def _write(self, entries: Mapping[bytes, Any], version: int) -> None:
        from dulwich.index import write_index_dict
        from dulwich.pack import SHA1Writer

        content = io.BytesIO()
        # Without extensions: they describe the old entries, and git recreates them.
        writer = SHA1Writer(content)
        write_index_dict(writer, dict(entries), version=version)
        writer.write_sha()
        self._replace_index(content.getvalue())

    def _replace_index(self, content: bytes) -> None:
        # Not through git's lock, which stays held: the index may have to be restored before anybody else's turn.
        new = self._repository.own / "index.new"
        new.unlink(missing_ok=True)
        write_file(new, [content])
        new.replace(self._index)


def _index_entry(entry: Entry, state: os.stat_result | None) -> Any:
    from dulwich.index import IndexEntry, index_entry_from_stat
    from dulwich.objects import ObjectID

    identity = ObjectID(entry.id.encode("ascii"))
    if state is None:
        return IndexEntry(0, 0, 0, 0, _FILE_MODE, 0, 0, 0, identity)
    return index_entry_from_stat(state, identity, mode=_FILE_MODE)
