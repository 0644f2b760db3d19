"""One writer at a time in a tree: a lock that goes with its process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kitt_core.errors import StoreUnavailableError
from kitt_core.rundir.names import INTERNAL_PREFIX

__all__ = ["LOCK_NAME", "exclusive"]

LOCK_NAME: Final = f"{INTERNAL_PREFIX}lock"
_PATIENCE_SECONDS: Final = 60.0
_LONGEST_PAUSE_SECONDS: Final = 0.02

if sys.platform == "win32":
    import msvcrt

    _HELD: Final = (PermissionError,)

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    _HELD: Final = (BlockingIOError,)

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def exclusive(root: Path, *, patience: float = _PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the tree's lock inside the block; against other threads as well as other processes.

    The lock belongs to the open file, so that it ends with the process, however that ends.

    Args:
        root: The tree; it must exist.
        patience: Seconds to wait for other writers.

    Raises:
        StoreUnavailableError: Another writer held it all the time.
        OSError: The lock file can't be made, or the file system has no locks.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(root / LOCK_NAME, flags, 0o666)
    try:
        _acquire(descriptor, root, patience)
        yield
    finally:
        os.close(descriptor)  # lets go of the lock


def _acquire(descriptor: int, root: Path, patience: float) -> None:
    deadline = time.monotonic() + patience
    pause = 0.0005
    while True:
        try:
            _lock(descriptor)
        except _HELD as error:
            if time.monotonic() >= deadline:
                raise StoreUnavailableError(
                    f"{root} is locked by another writer for {patience:g} seconds",
                    hint=f"see which process holds {root / LOCK_NAME}",
                ) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        else:
            return
