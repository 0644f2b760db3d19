"""Git's lock files, taken so that the lock of a killed KITT can be distinguished from that of a running git.

``refs/heads/main.lock`` and ``index.lock`` keep git's own commands and KITT apart. If their owner is killed they
stay, and git asks the user to remove them. Here the lock is a hard link to a file in KITT's directory: the next
KITT, which holds KITT's lock and so knows that the owner is dead, finds that file and removes both.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from kitt_core.errors import StoreUnavailableError

_TIMEOUT_SECONDS: Final = 10.0
_LONGEST_PAUSE_SECONDS: Final = 0.05


@contextmanager
def held(target: Path, own: Path, kind: str) -> Iterator[Path]:
    """Hold git's lock of ``target`` inside the block; yields the lock file, which may be renamed to ``target``.

    The caller holds KITT's lock, and at most one lock of a ``kind``; ``own`` is KITT's directory in git's.
    """
    lock = target.with_name(f"{target.name}.lock")
    for left in own.glob(f"{kind}-*.claim"):
        _release(left, lock)
    claim = own / f"{kind}-{secrets.token_hex(6)}.claim"
    claim.touch(exist_ok=False)
    try:
        _acquire(claim, lock, kind)
        yield lock
    finally:
        _release(claim, lock)


def _acquire(claim: Path, lock: Path, kind: str) -> None:
    deadline, pause = time.monotonic() + _TIMEOUT_SECONDS, 0.001
    while True:
        try:
            return os.link(claim, lock)
        except FileExistsError as error:
            if time.monotonic() > deadline:
                text = f"the {kind} is locked by {lock}: git is changing it, or was interrupted while it did"
                raise StoreUnavailableError(text, hint=f"if no git is running, remove it: rm {lock}") from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _release(claim: Path, lock: Path) -> None:
    with suppress(FileNotFoundError):
        if claim.samefile(lock):  # not if it was renamed: by then the name may be somebody else's lock
            lock.unlink(missing_ok=True)
    claim.unlink(missing_ok=True)
