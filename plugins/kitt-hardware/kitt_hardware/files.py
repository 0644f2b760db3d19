"""Reading small text files of ``/proc`` and ``/sys``, and the answers of small commands."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["answer", "exists", "listing", "read_text", "real"]

_ENOUGH: Final = 1 << 22
_PATIENCE_SECONDS: Final = 5.0
_AFTER_KILL_SECONDS: Final = 1.0
_PIECE: Final = 1 << 16
_MOST_PIECES: Final = 64


def read_text(path: Path) -> str:
    """Return the file's text without white space around it, empty if it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(_ENOUGH).decode("utf-8", errors="replace").replace("\0", "").strip()
    except OSError:
        return ""


def exists(path: Path) -> bool:
    """Return whether something is there; what may not be looked at is not there."""
    try:
        return path.exists()
    except OSError:
        return False


def listing(directory: Path, pattern: str = "*") -> list[Path]:
    """Return the entries of a directory by name, none if it can't be read."""
    try:
        return sorted(directory.glob(pattern))
    except OSError:
        return []


def real(path: Path) -> Path:
    """Return the path without symbolic links, as it is if they can't be followed."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path


def answer(*command: str, patience: float = _PATIENCE_SECONDS, must_end: bool = False) -> str:
    """Return what a system command prints, empty if it is not there, fails, takes too long or does not stop.

    A command that not even SIGKILL ends, because its driver hangs in the kernel, is left behind.

    Args:
        command: The program and its arguments.
        patience: Seconds that it may take.
        must_end: Whether taking too long is an error, for who would ask the same program again.

    Raises:
        TimeoutError: It took longer, and ``must_end`` was given.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - fixed commands, no shell, nothing from users
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what it starts itself must not outlive it
        )
    except (OSError, ValueError):
        return ""
    said: list[bytes] = []
    listener = threading.Thread(target=_listen, args=(process, said), daemon=True)
    listener.start()
    listener.join(patience)
    too_slow = listener.is_alive()
    if too_slow or len(said) > _MOST_PIECES:
        _end(process)
        if too_slow and must_end:
            raise TimeoutError(f"no answer within {patience:g} s")
        return ""
    try:
        process.wait(_AFTER_KILL_SECONDS)
    except subprocess.TimeoutExpired:  # it has said all, and does not end
        _end(process)
        return ""
    return b"".join(said).decode("utf-8", errors="replace").strip() if process.returncode == 0 else ""


def _listen(process: subprocess.Popen[bytes], said: list[bytes]) -> None:
    """Collect what a command prints, up to some megabytes: a broken one may print for ever."""
    assert process.stdout is not None
    with process.stdout as stream, suppress(OSError, ValueError):
        while len(said) <= _MOST_PIECES and (piece := stream.read(_PIECE)):
            said.append(piece)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_AFTER_KILL_SECONDS)
