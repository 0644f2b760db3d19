"""Reading small text files of ``/proc`` and ``/sys``, and the answers of small commands."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

__all__ = ["answer", "exists", "listing", "read_text"]

_ENOUGH: Final = 1 << 22
_PATIENCE_SECONDS: Final = 10.0


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


def answer(*command: str) -> str:
    """Return what a system command prints, empty if it is not there, fails or hangs."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed commands with absolute paths, no shell, nothing from users
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_PATIENCE_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", errors="replace").strip()
