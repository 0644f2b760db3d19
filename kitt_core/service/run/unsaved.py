"""Runs that were measured but cannot be stored: where they are kept instead, and the messages that say so."""

from __future__ import annotations

import errno
import os
import shlex
import tempfile
from pathlib import Path

from kitt_core.errors import KittError, StoreUnavailableError

__all__ = ["import_hint", "reason_and_hint", "reason_of", "unsaved_error", "write_rescue_file"]


def write_rescue_file(run_id: str, document: bytes) -> Path:
    """Write the document to a file outside the tree that failed.

    Raises:
        OSError: There is no room anywhere.
    """
    for directory in (None, Path.home()):
        try:
            handle, name = tempfile.mkstemp(prefix=f"kitt-{run_id}-", suffix=".json", dir=directory)
        except OSError:
            continue
        path = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(document)
        except OSError:
            path.unlink(missing_ok=True)
            continue
        return path
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def unsaved_error(reason: str, full: OSError) -> StoreUnavailableError:
    """Return the error for a run that was refused for ``reason`` and could not be written to a file either."""
    return StoreUnavailableError(
        f"the run was measured but could not be stored: {reason}; nor written to a file: {reason_of(full)}",
        hint="free some space and measure again",
    )


def import_hint(path: Path) -> str:
    """Return the hint for a run that is in ``path`` but not in a store."""
    return f"`kitt storage import {shlex.quote(str(path))}` stores it later"


def reason_and_hint(error: Exception) -> tuple[str, str | None]:
    """Return what went wrong, and how to fix it if that is known."""
    return (error.message, error.hint) if isinstance(error, KittError) else (reason_of(error), None)


def reason_of(error: BaseException) -> str:
    """Return an exception of any type as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
