"""Finding runs in a tree, including those of older KITTs.

A directory is a run if it contains ``metrics.json``, at any depth; the model and engine are taken from the
document, not from the path. One with ``run.json`` alone was a run, and has lost its document. Links are never
followed, so that a tree cannot expose anything outside it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, NoReturn

from attrs import field, frozen

from kitt_core.errors import StoreUnavailableError
from kitt_core.rundir.content import (
    DOCUMENT,
    IDENTITY,
    OUTPUTS,
    Identity,
    SavedFile,
    derived_identity,
    noted_identity,
    path_digest,
    saved_files,
)
from kitt_core.rundir.names import INTERNAL_PREFIX, LEVELS, id_suffixes, is_regular, numbers_counted
from kitt_core.runs.model import Attachment, StoredRun

__all__ = [
    "LINK",
    "LOST",
    "FoundRun",
    "OnSkip",
    "find_runs",
    "holds_runs_below",
    "ids_by_digest",
    "locate",
    "read_attachments",
    "read_regular",
]

OnSkip = Callable[[PurePosixPath, str], None]
"""Called with what was skipped: the path relative to the root, and why."""

Prune = Callable[[str, int], bool]
"""Whether to skip a directory, by its name and its level below the root (from 1)."""

LINK: Final = "is a link, which is not followed"
LOST: Final = f"has {IDENTITY}, but has lost its {DOCUMENT}"
"""Reasons to skip a place that need more than to be named."""

_LAST_SECOND: Final = 253402300799.0  # of the year 9999; file systems allow later times


@frozen
class FoundRun:
    """A directory that holds ``metrics.json``.

    Attributes:
        root: The tree.
        path: The directory, relative to ``root``.
    """

    root: Path = field(repr=False)
    path: PurePosixPath

    @property
    def directory(self) -> Path:
        """Where the directory is."""
        return self.root / self.path

    def place(self, name: str) -> str:
        """Return where a file of the run is, as text."""
        return os.path.join(self.root, *self.path.parts, name)  # noqa: PTH118  # paths take half of a search

    def has_identity(self) -> bool:
        """Return whether there is a ``run.json``, and not a link to one."""
        try:
            return stat.S_ISREG(os.lstat(self.place(IDENTITY)).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def document(self) -> bytes:
        """Return the document's bytes.

        Raises:
            OSError: They can't be read.
        """
        return read_regular(self.place(DOCUMENT))

    def identity(self) -> Identity:
        """Return the run's identity; reads the document only if there is no ``run.json``.

        Raises:
            OSError: ``run.json`` can't be read or used, or the document is needed and can't be read.
        """
        return self._noted() or self._derived(self.document())

    def read(self) -> StoredRun:
        """Return the run with its document.

        Raises:
            OSError: It can't be read, or no longer exists.
        """
        document = self.document()
        identity = self._noted() or self._derived(document)
        return StoredRun(identity.id, document, identity.created_at, identity.sha256)

    def is_any_of(self, run_ids: Collection[str]) -> str | None:
        """Return which of the ids the run has, None if none of them. Reads as little as possible.

        Raises:
            OSError: What would tell can't be read.
        """
        noted = self._noted()
        if noted is not None:
            return noted.id if noted.id in run_ids else None
        half = path_digest(self.path)
        if not any(run_id.startswith(half) for run_id in run_ids):
            return None
        found = self._derived(self.document()).id
        return found if found in run_ids else None

    def saved_files(self) -> dict[str, SavedFile] | None:
        """Return the files of ``outputs/`` as ``run.json`` lists them; None if it does not, as in older KITTs.

        Raises:
            OSError: It can't be read.
            ValueError: The list can't be used.
        """
        try:
            return saved_files(read_regular(self.place(IDENTITY)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _noted(self) -> Identity | None:
        """Return what ``run.json`` says, None if there is none."""
        try:
            return noted_identity(read_regular(self.place(IDENTITY)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:
            raise OSError(errno.EBADMSG, str(error), str(self.directory / IDENTITY)) from error

    def _derived(self, document: bytes) -> Identity:
        changed = (self.directory / DOCUMENT).stat().st_mtime
        created_at = datetime.fromtimestamp(min(max(0.0, changed), _LAST_SECOND), UTC)
        return derived_identity(self.path, document, created_at)


def find_runs(root: Path, *, on_skip: OnSkip | None = None) -> Iterator[FoundRun]:
    """Yield the runs below ``root`` in the order of their paths; none if the directory does not exist.

    Args:
        root: The tree.
        on_skip: Called for links, lost runs, and directories that can't be read.

    Raises:
        StoreUnavailableError: ``root`` exists but is not a readable directory.
    """
    return _walk(root, on_skip or _ignore, _never)


def locate(
    root: Path, run_ids: Collection[str], *, trust_names: bool = False, on_skip: OnSkip | None = None
) -> tuple[str, FoundRun] | None:
    """Return the first run found that has one of the ids, with that id.

    Directories whose names end like one of the ids are searched first.

    Args:
        root: The tree.
        run_ids: The ids to look for.
        trust_names: Skip directories whose names say that they are other runs. This is faster, and misses a run
            only if somebody renamed its directory to look like another's.
        on_skip: Called for what can't be read before a run is found, perhaps twice: one of these may be the run.

    Raises:
        StoreUnavailableError: ``root`` exists but is not a readable directory.
    """
    endings = tuple(suffix for run_id in run_ids for suffix in id_suffixes(run_id))

    def others(name: str, depth: int) -> bool:
        return depth == LEVELS and not name.endswith(endings) and is_regular(name)

    skip = on_skip or _ignore
    found = _first(_walk(root, skip, others), run_ids, skip)
    if found is None and not trust_names:
        found = _first(_walk(root, skip, _never), run_ids, skip)
    return found


def ids_by_digest(root: Path, digests: Collection[str], seen: set[PurePosixPath]) -> dict[str, str]:
    """Return the ids of the runs that have the digests; reads documents only if ``run.json`` can't be used.

    Args:
        root: The tree.
        digests: The digests to look for.
        seen: Paths of runs to skip; the paths of runs that were examined are added.

    Raises:
        StoreUnavailableError: ``root`` exists but is not a readable directory.
    """
    found: dict[str, str] = {}
    for run in find_runs(root):
        if run.path in seen:
            continue
        try:
            identity = run.identity()
        except OSError:
            continue
        seen.add(run.path)
        if identity.sha256 in digests:
            found.setdefault(identity.sha256, identity.id)
    return found


def read_attachments(run: FoundRun) -> Iterator[Attachment]:
    """Yield the files of ``outputs/`` by name, with numbers in names compared numerically.

    One that ``run.json`` names and that is missing is among them; it can't be opened.

    Raises:
        OSError: The directory can't be read.
    """
    directory = run.place(OUTPUTS)
    try:
        saved = run.saved_files() or {}
    except ValueError:  # `check_outputs` reports it
        saved = {}
    there = _sizes(directory)
    for name in sorted({*saved, *there}, key=numbers_counted):
        if name in there:
            digest = saved[name].sha256 if name in saved else None
            yield Attachment(name, there[name], _opener(Path(directory, name)), digest)
        else:
            yield Attachment(name, saved[name].size, _missing, saved[name].sha256)


def _sizes(directory: str) -> dict[str, int]:
    try:
        if stat.S_ISLNK(os.lstat(directory).st_mode):
            return {}
        with os.scandir(directory) as entries:
            return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries if _is_file(entry)}
    except (FileNotFoundError, NotADirectoryError):
        return {}


def holds_runs_below(run: FoundRun) -> bool:
    """Return whether the run's directory contains other runs."""
    below = _walk(run.directory, _ignore, lambda name, depth: depth == 1 and name == OUTPUTS)
    return any(found.path.parts for found in below)


def _walk(root: Path, on_skip: OnSkip, prune: Prune) -> Iterator[FoundRun]:
    # Paths are tuples of strings here: creating a path object per directory would take most of the time.
    pending: list[tuple[str, ...]] = [()]
    while pending:
        parts = pending.pop()
        try:
            directories, is_run = _listed(root, parts, on_skip)
        except FileNotFoundError:
            continue  # nothing was stored yet, or the directory was removed meanwhile
        except OSError as error:
            if not parts:
                raise StoreUnavailableError(f"{root} cannot be read: {error.strerror}") from error
            on_skip(PurePosixPath(*parts), f"cannot be read: {error.strerror}")
            continue
        if is_run:
            yield FoundRun(root, PurePosixPath(*parts))
        depth = len(parts) + 1
        kept = [name for name in directories if not prune(name, depth)]
        pending.extend((*parts, name) for name in sorted(kept, reverse=True))


def _listed(root: Path, parts: tuple[str, ...], on_skip: OnSkip) -> tuple[list[str], bool]:
    """Return the directories below one that may hold runs, and whether it is a run itself."""
    directories: list[str] = []
    is_run = has_document = has_identity = False
    with os.scandir(os.path.join(root, *parts)) as entries:  # noqa: PTH118  # as in `FoundRun.place`
        for entry in entries:
            if entry.is_symlink():
                on_skip(PurePosixPath(*parts, entry.name), LINK)
            elif entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith((INTERNAL_PREFIX, ".git")):
                    directories.append(entry.name)
            elif entry.name == DOCUMENT:
                has_document = True
                is_run = entry.is_file(follow_symlinks=False)
                if not is_run:
                    on_skip(PurePosixPath(*parts, entry.name), "is not a regular file")
            elif entry.name == IDENTITY:
                has_identity = True
    if has_identity and not has_document:
        on_skip(PurePosixPath(*parts), LOST)
    if parts and (has_document or has_identity) and OUTPUTS in directories:
        directories.remove(OUTPUTS)  # an attachment may be called metrics.json, but it is not a run
    return directories, is_run


def _first(runs: Iterator[FoundRun], run_ids: Collection[str], on_skip: OnSkip) -> tuple[str, FoundRun] | None:
    for run in runs:
        try:
            found = run.is_any_of(run_ids)
        except FileNotFoundError:  # removed in the meantime
            continue
        except OSError as error:
            on_skip(run.path, f"cannot be read: {error.strerror}")
            continue
        if found is not None:
            return found, run
    return None


def read_regular(path: str) -> bytes:
    """Return the bytes of a file in a tree.

    Raises:
        OSError: It can't be read, or is a link, which might lead out of the tree.
    """
    # Opening a pipe would block forever.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:  # noqa: PTH123 - Path.open takes no flags
        return file.read()


def _opener(path: Path) -> Callable[[], BinaryIO]:
    return lambda: path.open("rb")


def _missing() -> NoReturn:
    # What has the name, if anything, is not a file: a pipe would block, and a link lead elsewhere.
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _is_file(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def _never(_name: str, _depth: int) -> bool:
    return False


def _ignore(_path: PurePosixPath, _reason: str) -> None:
    """Ignore what is skipped."""
