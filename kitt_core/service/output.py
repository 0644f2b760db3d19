"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from kitt_core.errors import ConfigurationError

__all__ = ["replaced_file"]


@contextmanager
def replaced_file(path: Path) -> Iterator[BinaryIO]:
    """Open ``path`` for writing; what was there stays until the block has ended without an error.

    A device or a named pipe is written to directly, and a link keeps pointing where it does.

    Raises:
        ConfigurationError: The file can't be written.
    """
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:
                yield stream
        else:
            with _replaced(path.resolve()) as file:
                yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror or error}", hint="name another file after -o"
        ) from error


@contextmanager
def _replaced(target: Path) -> Iterator[BinaryIO]:
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(_mode(target))
        Path(name).replace(target)
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
