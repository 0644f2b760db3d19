"""An archive that a user names, as a stream that can be read twice."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, cast

from kitt_core.archive.spool import no_room
from kitt_core.errors import InputNotFoundError, InvalidArchiveError

__all__ = ["open_archive"]

STANDARD_INPUT: Final = "-"
_CHUNK: Final = 1 << 20
_MOST_SHOWN: Final = 120


@contextmanager
def open_archive(path: str | Path) -> Iterator[BinaryIO]:
    """Open an archive so that it can be read twice; ``-`` is standard input.

    What the block finds wrong with the archive is told with its name.

    Raises:
        InputNotFoundError: There is no such file.
        InvalidArchiveError: It can't be read.
        StoreUnavailableError: There is no room for what a pipe gives.
    """
    with ExitStack() as stack:
        try:
            standard = str(path) == STANDARD_INPUT
            stream = sys.stdin.buffer if standard else stack.enter_context(Path(path).open("rb"))
            if standard or not Path(path).is_file():  # a pipe: it can be read once
                stream = _kept(stream, stack)
        except FileNotFoundError as error:
            raise InputNotFoundError(
                f"{path}: no such file", hint="check the path; - is standard input"
            ) from error
        except OSError as error:
            raise InvalidArchiveError(f"{path} cannot be read: {error.strerror or error}") from error
        try:
            yield stream
        except InvalidArchiveError as error:
            name = "standard input" if standard else str(path)[-_MOST_SHOWN:]
            raise InvalidArchiveError(f"{name}: {error.message}", hint=error.hint) from error


def _kept(stream: BinaryIO, stack: ExitStack) -> BinaryIO:
    """Return what a stream gives, in a temporary file that lasts as long as the stack.

    Raises:
        OSError: The stream can't be read.
        StoreUnavailableError: There is no room.
    """
    with _room():
        kept = cast("BinaryIO", stack.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115 - the stack's
    for chunk in iter(partial(stream.read, _CHUNK), b""):
        with _room():
            kept.write(chunk)
    with _room():
        kept.seek(0)  # what is buffered is written first
    return kept


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise no_room(error) from error
