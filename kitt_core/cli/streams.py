"""The process's standard streams, which its caller may have left closed, full or not in UTF-8."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, TextIO

__all__ = ["forget", "prepare_streams", "works"]

# stdin and stdout are opened in the wrong direction, so that using them fails as it does in other programs.
# Messages on stderr are dropped.
_STANDARD: Final = (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))


def prepare_streams() -> None:
    """Replace streams that are closed, and make sure that no character can end a command."""
    for number, (name, mode, flags) in enumerate(_STANDARD):
        if getattr(sys, name) is None:
            setattr(sys, name, _substitute(number, mode, flags))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks must not end a command; pipes and files are UTF-8.
            encoding = None if stream.isatty() or "PYTHONIOENCODING" in os.environ else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def works(stream: TextIO) -> bool:
    """Return whether what was written so far can be flushed."""
    try:
        stream.flush()
    except (OSError, ValueError):
        return False
    return True


def forget(stream: TextIO) -> None:
    """Discard what is still buffered, so that the interpreter's shutdown neither complains nor fails."""
    with suppress(OSError, ValueError):  # not a real file: nothing will be flushed
        number = stream.fileno()
        _point_at_null(number, os.O_WRONLY)


def _substitute(number: int, mode: str, flags: int) -> IO[Any]:
    try:
        os.fstat(number)
    except OSError:
        # Left free, the descriptor would go to the next file that is opened: output would end up in the store.
        _point_at_null(number, flags)
        return open(number, mode, encoding="utf-8", closefd=False)
    return Path(os.devnull).open(mode, encoding="utf-8")


def _point_at_null(number: int, flags: int) -> None:
    null = os.open(os.devnull, flags)
    if null == number:
        os.set_inheritable(number, True)  # noqa: FBT003 - the parameter is positional-only
    else:
        os.dup2(null, number)
        os.close(null)
