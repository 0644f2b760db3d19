"""Files that appear whole or not at all, outlast a power cut, and never lie in the place of the store."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from kitt_core.errors import ConfigurationError

__all__ = ["check_output", "check_writable", "is_part_of", "obstacle", "replaced_file", "sync_directory"]

_HINT: Final = "name another file after -o"
_LONGEST_SHOWN: Final = 200


def sync_directory(directory: Path) -> None:
    """Force to the disk which names a directory has; on Windows, where that can't be asked for, do nothing.

    Raises:
        OSError: It can't be opened or written.
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_output(target: Path, store: Sequence[Path], *, hint: str = _HINT) -> None:
    """Refuse a file or directory for output that is the store, is in it, or is one of its files.

    Args:
        target: What is to be written.
        store: The `paths` of the store that is open.
        hint: What the user can do instead.

    Raises:
        ConfigurationError: It would overwrite what is stored.
    """
    try:
        taken = is_part_of(target, store)
    except OSError as error:
        raise _unwritable(target, error, hint) from error
    if taken:
        raise ConfigurationError(
            f"{target} cannot be written: it belongs to the store {store[0]}",
            hint=hint,
        )


def check_writable(path: Path, *, hint: str = _HINT) -> None:
    """Refuse a file that can't be written, before time is spent on what is to stand in it.

    Raises:
        ConfigurationError: There is no such directory, it is one, or it is closed to us.
    """
    try:
        place = _resolved(path)
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if place.is_file() or not place.exists():
            with tempfile.TemporaryFile(dir=place.parent):
                pass
    except OSError as error:
        raise _unwritable(path, error, hint) from error


def is_part_of(place: Path, store: Sequence[Path]) -> bool:
    """Return whether ``place`` is one of the `paths` of a store, by whatever spelling, or lies in one.

    Raises:
        OSError: It can't be looked at.
    """
    whole = _resolved(place)
    return any(_is_in(whole, path) for path in store)


@contextmanager
def replaced_file(path: Path, *, private: bool = False, hint: str = _HINT) -> Iterator[BinaryIO]:
    """Open ``path`` for writing; what was there stays until the block has ended without an error.

    A device or a named pipe is written to directly, and a link keeps pointing where it does.

    Args:
        path: The file.
        private: Only its owner may read it, whoever could read what was there.
        hint: What the user can do if it can't be written.

    Raises:
        ConfigurationError: The file can't be written.
    """
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:
                yield stream
        else:
            with _replaced(_resolved(path), private=private) as file:
                yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(path, error, hint) from error


def _is_in(place: Path, path: Path) -> bool:
    whole = _resolved(path)
    return (
        place == whole or whole in place.parents or (place.exists() and whole.exists() and place.samefile(whole))
    )


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError as error:  # Python before 3.13 says so of a link that leads to itself
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error


def _unwritable(path: Path, error: OSError, hint: str) -> ConfigurationError:
    name = str(path)
    name = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…"  # else it would hide the reason
    return ConfigurationError(f"{name} cannot be written: {error.strerror or error}", hint=hint)


@contextmanager
def _replaced(target: Path, *, private: bool) -> Iterator[BinaryIO]:
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o600 if private else _mode(target))
        Path(name).replace(target)
        if private:  # what is worth hiding is worth keeping
            with suppress(OSError):  # where directories can't be opened, the system does it in its own time
                sync_directory(target.parent)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _mode(target: Path) -> int:
    """Return the mode of the file that is replaced, or what a new file would get."""
    if target.exists():
        return target.stat().st_mode & 0o7777
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


def obstacle(path: Path, *, directory: bool = False) -> tuple[str, str] | None:
    """Return why ``path`` cannot be written to or made, and the cure; None if nothing is known against it.

    Args:
        path: It is judged by the nearest thing that is there.
        directory: It is to be a directory.
    """
    place = whole = path.absolute()
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir() and (directory or place != whole):
            return f"{place} is no directory", "move it away or name another one"
        if not os.access(place, os.W_OK | (os.X_OK if place.is_dir() else 0)):
            return f"{place} is not writable", "change its permissions"
    except OSError as error:  # a name that is too long, a directory that is closed to us
        return error.strerror or str(error), "change the permissions, or name another place"
    return None
