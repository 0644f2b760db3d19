"""Writing runs into a tree atomically, and deleting them; one writer at a time."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from kitt_core.errors import RunExistsError, StoreUnavailableError
from kitt_core.files import sync_directory, write_file
from kitt_core.rundir.content import DOCUMENT, OUTPUTS, OWN_FILES, SavedFile, path_of, render_files
from kitt_core.rundir.names import INTERNAL_PREFIX, alternative_name, id_suffixes
from kitt_core.rundir.reading import LOST, FoundRun, holds_runs_below, ids_by_digest, locate
from kitt_core.runs.model import Attachment, CheckedRun

__all__ = [
    "LOCK_NAME",
    "delete_run",
    "exclusive",
    "prepare_root",
    "unfinished_runs",
    "write_new_runs",
    "write_run",
    "write_runs",
]

LOCK_NAME: Final = f"{INTERNAL_PREFIX}lock"
_PATIENCE_SECONDS: Final = 60.0
_LONGEST_PAUSE_SECONDS: Final = 0.02

if sys.platform == "win32":
    import msvcrt

    _HELD: Final = (PermissionError,)

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    _HELD: Final = (BlockingIOError,)

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def exclusive(root: Path, *, patience: float = _PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the tree's lock inside the block, against other threads as well as other processes.

    The lock belongs to the open file, so it is released when the process ends, however that happens.

    Args:
        root: The tree; it must exist.
        patience: Seconds to wait for other writers.

    Raises:
        StoreUnavailableError: Another writer still holds it after that time.
        OSError: The lock file can't be created, or the file system does not support locks.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(root / LOCK_NAME, flags, 0o666)
    try:
        _acquire(descriptor, root, patience)
        yield
    finally:
        os.close(descriptor)  # releases the lock


def _acquire(descriptor: int, root: Path, patience: float) -> None:
    deadline = time.monotonic() + patience
    pause = 0.0005
    while True:
        try:
            _lock(descriptor)
        except _HELD as error:
            if time.monotonic() >= deadline:
                raise StoreUnavailableError(
                    f"{root} has been locked by another writer for {patience:g} seconds",
                    hint=f"find the process that holds {root / LOCK_NAME}",
                ) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        else:
            return


_UNFINISHED: Final = f"{INTERNAL_PREFIX}tmp-"
_REMOVED: Final = f"{INTERNAL_PREFIX}trash-"
_OLD_SECONDS: Final = 24 * 3600.0
_CHUNK: Final = 1 << 20


def write_run(root: Path, run: CheckedRun) -> Path:
    """Write one run and return its directory.

    Raises:
        RunExistsError: The tree has a run with this id, whatever its bytes.
        StoreUnavailableError: The disk is full, writing is denied, an attachment can't be read.
    """
    return write_runs(root, [run])[0]


def write_runs(root: Path, runs: Sequence[CheckedRun]) -> list[Path]:
    """Write several runs and return their directories; an error leaves none of them.

    Other processes may see the first runs before the last one is written, and a crash in between leaves the first.

    Args:
        root: The tree.
        runs: The runs, with distinct ids.

    Raises:
        RunExistsError: The tree has a run with one of the ids.
        StoreUnavailableError: The disk is full, writing is denied, an attachment can't be read.
    """
    with _errors_translated(root, "written to"), _staged(root, runs) as staged, exclusive(root):
        return _commit(root, staged)


def write_new_runs(root: Path, runs: Sequence[CheckedRun]) -> dict[str, str]:
    """Write the runs whose bytes no run of the tree has; an error leaves none of them.

    Args:
        root: The tree.
        runs: The runs, with distinct ids and digests.

    Returns:
        By SHA-256, the ids of the runs that had the bytes already.

    Raises:
        RunExistsError: The tree has a run with the id of one that would be written.
        StoreUnavailableError: The disk is full, writing is denied, an attachment can't be read.
    """
    seen: set[PurePosixPath] = set()
    present = ids_by_digest(root, {run.sha256 for run in runs}, seen)
    new = [run for run in runs if run.sha256 not in present]
    if new:
        with _errors_translated(root, "written to"), _staged(root, new) as staged, exclusive(root):
            # Again, for what others wrote meanwhile: the runs were built without holding the lock.
            present |= ids_by_digest(root, {run.sha256 for run in new}, seen)
            _commit(root, [(run, directory) for run, directory in staged if run.sha256 not in present])
    return present


def delete_run(run: FoundRun) -> bool:
    """Remove a run with everything in its directory, and the directories that are left empty.

    If the directory also contains other runs (the root itself, layouts of older KITTs), only the files of the run
    are removed.

    Returns:
        Whether the run still existed.

    Raises:
        StoreUnavailableError: Writing is denied.
    """
    trash = run.root / f"{_REMOVED}{secrets.token_hex(8)}"
    with _errors_translated(run.root, "changed"):
        with exclusive(run.root):
            if not (run.directory / DOCUMENT).is_file():
                return False
            if not run.path.parts or holds_runs_below(run):
                _move_own_files(run.directory, trash)
            else:
                run.directory.rename(trash)
                sync_directory(run.directory.parent)
                _remove_empty(run.root, run.path.parent)
        shutil.rmtree(trash, ignore_errors=True)
    return True


def unfinished_runs(root: Path) -> int:
    """Return how many runs are being written into a tree now, or were when their writer was killed."""
    try:
        with os.scandir(root) as entries:
            return sum(entry.name.startswith(_UNFINISHED) for entry in entries)
    except OSError:  # nothing is there yet; who reads the runs says whatever else is wrong
        return 0


def prepare_root(root: Path) -> None:
    """Create the tree's root and any missing parents.

    Raises:
        StoreUnavailableError: It is not a directory, or can't be created.
    """
    with _errors_translated(root, "created"):
        missing = [path for path in (root, *root.parents) if not path.exists()]
        root.mkdir(parents=True, exist_ok=True)
        for path in missing:
            sync_directory(path.parent)


@contextmanager
def _staged(root: Path, runs: Sequence[CheckedRun]) -> Iterator[list[tuple[CheckedRun, Path]]]:
    """Build runs where readers don't see them; remove those that the block does not move away."""
    prepare_root(root)
    staged: list[tuple[CheckedRun, Path]] = []
    try:
        for run in runs:
            staged.append((run, root / f"{_UNFINISHED}{secrets.token_hex(8)}"))
            _build(staged[-1][1], run)
        yield staged
    finally:
        for _, directory in staged:
            shutil.rmtree(directory, ignore_errors=True)


def _build(directory: Path, run: CheckedRun) -> None:
    directory.mkdir()
    saved: list[SavedFile] = []
    if run.attachments:
        outputs = directory / OUTPUTS
        outputs.mkdir()
        saved = [_save_attachment(outputs, attachment) for attachment in run.attachments]
        sync_directory(outputs)
    for name, content in render_files(run, saved).items():
        write_file(directory / name, [content])
    sync_directory(directory)


def _save_attachment(outputs: Path, attachment: Attachment) -> SavedFile:
    digest, size = hashlib.sha256(), 0

    def chunks() -> Iterator[bytes]:
        nonlocal size
        for chunk in _chunks(attachment):
            digest.update(chunk)
            size += len(chunk)
            yield chunk

    write_file(outputs / attachment.name, chunks())
    return SavedFile(attachment.name, size, digest.hexdigest())


def _chunks(attachment: Attachment) -> Iterator[bytes]:
    try:
        source = attachment.open()
        with source:
            while chunk := source.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise StoreUnavailableError(
            f"attachment {attachment.name} cannot be read: {error.strerror or error}"
        ) from error


def _refuse_taken(root: Path, run_ids: Collection[str]) -> None:
    unread: dict[PurePosixPath, str] = {}
    found = locate(root, run_ids, trust_names=True, on_skip=unread.__setitem__)
    if found is not None:
        raise RunExistsError(f"run {found[0]} is in {root} already, as {found[1].path}")
    endings = tuple(suffix for run_id in run_ids for suffix in id_suffixes(run_id))
    for path, reason in unread.items():
        # The run would be there twice once this can be read again; what has lost its document never can be.
        if reason != LOST and path.name.endswith(endings):
            raise StoreUnavailableError(f"{root / path} {reason}, and may be the run", hint="make it readable")


def _commit(root: Path, staged: Sequence[tuple[CheckedRun, Path]]) -> list[Path]:
    """Move the built runs into place; the caller holds the lock."""
    _remove_leftovers(root)
    _refuse_taken(root, {run.id for run, _ in staged})
    committed: list[Path] = []
    paths = [path_of(run) for run, _ in staged]
    try:
        for (run, directory), path in zip(staged, paths, strict=True):
            parent = _parent(root, path.parent)
            target = parent / path.name
            if os.path.lexists(target):
                target = parent / alternative_name(path.name, run.id)
            directory.rename(target)
            committed.append(target)
            sync_directory(parent)
    except BaseException:
        for target, (_, directory) in zip(committed, staged, strict=False):
            target.rename(directory)
        for path in paths:
            _remove_empty(root, path.parent)
        raise
    return committed


def _parent(root: Path, path: PurePosixPath) -> Path:
    """Create the directories above a run; none of them may be a link, which might lead out of the tree."""
    parent = root
    for name in path.parts:
        child = parent / name
        try:
            child.mkdir()
        except FileExistsError as error:
            if child.is_symlink() or not child.is_dir():
                raise StoreUnavailableError(
                    f"{child} is a link or a file, expected a directory to write runs into",
                    hint="move it away",
                ) from error
        else:
            sync_directory(parent)
        parent = child
    return parent


def _move_own_files(directory: Path, trash: Path) -> None:
    trash.mkdir()
    for name in OWN_FILES:  # the document first: without it the rest is not a run
        try:
            (directory / name).rename(trash / name)
        except FileNotFoundError:
            continue
    sync_directory(directory)


def _remove_empty(root: Path, path: PurePosixPath) -> None:
    while path.parts:
        try:
            (root / path).rmdir()
        except OSError:  # it contains other runs
            return
        path = path.parent


def _remove_leftovers(root: Path) -> None:
    """Remove what killed writers left, once it is too old for a running writer to be working on it."""
    oldest = time.time() - _OLD_SECONDS
    with os.scandir(root) as entries:
        left = [entry.path for entry in entries if entry.name.startswith((_UNFINISHED, _REMOVED))]
    for path in left:
        try:
            # While a large attachment is written, only the file's own time changes, not the directory's.
            changed = [os.lstat(path).st_mtime, *(file.lstat().st_mtime for file in Path(path).rglob("*"))]
        except OSError:
            continue
        if max(changed) < oldest:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _errors_translated(root: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(
            f"{root} cannot be {verb}: {error.strerror or error}",
            hint="check free space, permissions and that the path is a directory",
        ) from error
