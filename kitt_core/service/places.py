"""Whether something can be written where it is meant to go, found out before it is needed."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["obstacle"]


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
