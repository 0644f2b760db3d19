"""What was measured and cannot be stored: where it is kept instead, and how the user hears of it."""

from __future__ import annotations

import errno
import os
import shlex
import tempfile
from pathlib import Path

from kitt_core.errors import KittError, StoreUnavailableError

__all__ = ["explained", "import_later", "kept_nowhere", "reason_of", "rescued"]


def rescued(run_id: str, document: bytes) -> Path:
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


def kept_nowhere(reason: str, full: OSError) -> StoreUnavailableError:
    """Return the error of a run that was refused for ``reason`` and found no room in a file either."""
    return StoreUnavailableError(
        f"the run was measured but can be kept nowhere: {reason}; nor in a file: {reason_of(full)}",
        hint="free some space and measure again",
    )


def import_later(path: Path) -> str:
    """Return the hint for a run that is in ``path`` and in no store."""
    return f"`kitt storage import {shlex.quote(str(path))}` stores it later"


def explained(error: Exception) -> tuple[str, str | None]:
    """Return what went wrong, and what helps against it if that is known."""
    return (error.message, error.hint) if isinstance(error, KittError) else (reason_of(error), None)


def reason_of(error: BaseException) -> str:
    """Return a stranger's exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
