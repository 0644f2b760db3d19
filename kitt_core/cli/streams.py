"""The process's standard streams, as whoever called it left them: perhaps closed, full, or not UTF-8."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, TextIO

__all__ = ["forget", "prepare_streams", "works"]

# Opened the wrong way round: using the stream fails, as it does for other programs. Messages just vanish.
_STANDARD: Final = (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))


def prepare_streams() -> None:
    """Put something in the place of streams that are closed, and let no name end a command by its characters."""
    for number, (name, mode, flags) in enumerate(_STANDARD):
        if getattr(sys, name) is None:
            setattr(sys, name, _substitute(number, mode, flags))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks must not end a command; pipes and files are UTF-8.
            encoding = None if stream.isatty() or "PYTHONIOENCODING" in os.environ else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def works(stream: TextIO) -> bool:
    """Whether what was written so far arrives."""
    try:
        stream.flush()
    except (OSError, ValueError):
        return False
    return True


def forget(stream: TextIO) -> None:
    """Send what is still buffered nowhere, so that the interpreter's end neither complains nor fails."""
    with suppress(OSError, ValueError):  # no real stream: nothing will be flushed
        number = stream.fileno()
        _point_at_null(number, os.O_WRONLY)


def _substitute(number: int, mode: str, flags: int) -> IO[Any]:
    try:
        os.fstat(number)
    except OSError:
        # Free, the number would go to the next file that is opened: the store's, and prints would end up in it.
        _point_at_null(number, flags)
        return open(number, mode, encoding="utf-8", closefd=False)
    return Path(os.devnull).open(mode, encoding="utf-8")


def _point_at_null(number: int, flags: int) -> None:
    null = os.open(os.devnull, flags)
    if null == number:
        os.set_inheritable(number, True)  # noqa: FBT003 - it takes no name
    else:
        os.dup2(null, number)
        os.close(null)
