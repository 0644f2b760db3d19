"""Where the index is: in the git directory, or beside it for a repository that may only be read."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from kitt_karr.index import INDEX_NAME, RunIndex
from kitt_karr.repository import Repository

__all__ = ["discard_index", "open_index"]

_PRIVATE: Final = "kitt-karr-"


def open_index(repository: Repository) -> RunIndex:
    """Open the index of a repository; it is empty until it first follows the branch.

    Raises:
        OSError: It can't be made.
    """
    directory = repository.own
    try:
        directory.mkdir(exist_ok=True)
        writable = os.access(directory, os.W_OK)
    except PermissionError:
        writable = False
    except OSError as error:
        writable = False
        if error.errno != errno.EROFS:
            raise
    if not writable:
        # It is made anew each time the store is opened: slow for many runs, but everything can be read.
        directory = Path(tempfile.mkdtemp(prefix=_PRIVATE))
    return RunIndex(directory / INDEX_NAME, repository)


def discard_index(index: RunIndex, *, damaged: bool) -> None:
    """Close an index; remove its files if they are damaged, or nobody else's."""
    index.close()
    database = index.paths[0]
    if database.parent.name.startswith(_PRIVATE):
        shutil.rmtree(database.parent, ignore_errors=True)
    elif damaged:
        for path in index.paths:
            path.unlink(missing_ok=True)
