"""Writing files: whole or not at all, durably, and never over the store.

A file is written under another name beside its place. The writer holds a lock on it, which ends with the process,
however that happens: so what a killed one left behind is recognised and removed.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from kitt_core.errors import ConfigurationError, InputNotFoundError

__all__ = [
    "check_output",
    "check_readable",
    "check_writable",
    "is_part_of",
    "obstacle",
    "readable_stdin",
    "remove_unfinished",
    "replaced_file",
    "size_below",
    "sync_directory",
    "write_file",
]

_HINT: Final = "name another file after -o"
_LONGEST_SHOWN: Final = 200
_UNFINISHED: Final = ".kitt-unfinished-"

if sys.platform == "win32":

    def _hold(_descriptor: int, *, wait: bool) -> bool:
        return wait  # an open file can't be renamed there: nobody holds one, and none is removed
else:
    import fcntl

    def _hold(descriptor: int, *, wait: bool) -> bool:
        """Lock an open file; return whether it is locked now. File systems without locks lock nothing."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            return False
        return True


def size_below(directory: Path) -> int:
    """Return the bytes of all files in a directory, at any depth, without following links."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):  # removed in the meantime
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - many thousands
    return total


def sync_directory(directory: Path) -> None:
    """Flush a directory's entries to the disk; does nothing on Windows, which can't do that.

    Raises:
        OSError: The directory can't be opened or flushed.
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: Iterable[bytes], *, mode: int = 0o666) -> None:
    """Write a new file and flush it to the disk; its name is on the disk after `sync_directory` of its directory.

    Args:
        path: The file.
        content: Its content, in parts. If one can't be had, the parts before it stay in the file.
        mode: Its permissions, from which the process's mask is removed.

    Raises:
        FileExistsError: There is such a file; it is not changed.
        OSError: The file can't be written.
    """
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        for part in content:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def check_output(target: Path, store: Sequence[Path], *, hint: str = _HINT) -> None:
    """Refuse an output path that is the store, lies in it, or is one of its files.

    Args:
        target: The file or directory to write.
        store: The `paths` of the open store.
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


def check_readable(path: Path, name: str = "it") -> None:
    """Refuse a device, such as ``/dev/zero``, whose content never ends; files, directories and pipes are inputs.

    Args:
        path: The input.
        name: What the message calls it.

    Raises:
        InputNotFoundError: It is a device.
    """
    with suppress(OSError):  # whoever opens it reports that
        mode = path.stat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise InputNotFoundError(
                f"{name} is a device, expected a file, a directory or a pipe", hint="- reads standard input"
            )


def readable_stdin() -> BinaryIO:
    """Return standard input.

    Raises:
        InputNotFoundError: It is closed, or nothing can be read from it.
    """
    try:
        os.read(sys.stdin.fileno(), 0)
    except io.UnsupportedOperation:  # a program has replaced it by something that is not a file
        pass
    except OSError as error:
        raise InputNotFoundError(
            "standard input is closed or can't be read, expected a file or a pipe",
            hint="name the file in place of -, or write < FILE after the command",
        ) from error
    return sys.stdin.buffer


def check_writable(path: Path, *, hint: str = _HINT) -> None:
    """Refuse a file that can't be written, before time is spent on its content.

    Raises:
        ConfigurationError: Its directory does not exist, it is a directory itself, or permissions forbid it.
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
    """Return whether ``place`` is one of the `paths` of a store, however it is spelled, or lies in one.

    Raises:
        OSError: A path can't be examined.
    """
    whole = _resolved(place)
    return any(_is_in(whole, path) for path in store)


@contextmanager
def replaced_file(path: Path, *, private: bool = False, hint: str = _HINT) -> Iterator[BinaryIO]:
    """Open ``path`` for writing; the previous file stays until the block ends without an error.

    Devices and named pipes are written to directly. Of a symbolic link, the file it points to is replaced.

    Args:
        path: The file.
        private: Only its owner may read the new file, whoever could read the previous one.
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
    except RuntimeError as error:  # what Python before 3.13 raises for a loop of symbolic links
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error


def _unwritable(path: Path, error: OSError, hint: str) -> ConfigurationError:
    name = str(path)
    # A longer name would push the reason out of the message.
    name = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…"
    return ConfigurationError(f"{name} cannot be written: {error.strerror or error}", hint=hint)


def remove_unfinished(directory: Path) -> int:
    """Remove the files that killed processes left in a directory, and return how many.

    Those that a living process holds stay. What can't be examined or removed stays as well.
    """
    removed = 0
    with suppress(OSError), os.scandir(directory) as entries:
        for name in [entry.name for entry in entries if entry.name.startswith(_UNFINISHED)]:
            with suppress(OSError):
                removed += _remove_unheld(directory / name)
    return removed


def _remove_unheld(path: Path) -> bool:
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags), "rb") as file:  # noqa: PTH123 - Path.open takes no flags
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode) or not _hold(file.fileno(), wait=False):
            return False
        path.unlink()
        return True


def _unfinished(target: Path) -> tuple[BinaryIO, Path]:
    """Create the file that is going to be ``target``, and hold it."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f"{_UNFINISHED}{target.name[:100]}.", dir=target.parent)
        file = os.fdopen(handle, "wb")
        _hold(handle, wait=True)
        if os.path.lexists(name):  # nobody took it for a left one before it was held
            return file, Path(name)
        file.close()


@contextmanager
def _replaced(target: Path, *, private: bool) -> Iterator[BinaryIO]:
    remove_unfinished(target.parent)
    file, unfinished = _unfinished(target)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if sys.platform != "win32":  # held until it has its name
                _finish(unfinished, target, private=private)
        if sys.platform == "win32":
            _finish(unfinished, target, private=private)
        if private:  # a backup must survive a power cut
            with suppress(OSError):  # where directories can't be opened, the system flushes them later
                sync_directory(target.parent)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise


def _finish(unfinished: Path, target: Path, *, private: bool) -> None:
    unfinished.chmod(0o600 if private else _mode(target))
    unfinished.replace(target)


def _mode(target: Path) -> int:
    """Return the mode of the file to replace, or the one that a new file would get."""
    if target.exists():
        return target.stat().st_mode & 0o7777
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


def obstacle(path: Path, *, directory: bool = False) -> tuple[str, str] | None:
    """Return why ``path`` can't be written to or created, and how to fix that; None if nothing seems wrong.

    Args:
        path: The path; if it does not exist, its nearest existing parent is examined.
        directory: Whether it should be a directory.
    """
    place = whole = path.absolute()
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir() and (directory or place != whole):
            return f"{place} is not a directory", "move it away or choose another path"
        if not os.access(place, os.W_OK | (os.X_OK if place.is_dir() else 0)):
            return f"{place} is not writable", "change its permissions"
        if place.is_dir():
            # Some systems, such as /proc, permit it and refuse it all the same.
            try:
                with tempfile.TemporaryFile(dir=place):
                    pass
            except OSError as error:
                return f"nothing can be written to {place}: {error.strerror or error}", "choose another path"
    except OSError as error:  # the name is too long, or a parent may not be searched
        return error.strerror or str(error), "change the permissions, or choose another path"
    return None
