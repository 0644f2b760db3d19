"""A copy of a database beside itself, made while others may read, before something is changed in it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from kitt_core.errors import MigrationError

__all__ = ["write_backup"]

_UNFINISHED: Final = ".part"


def write_backup(path: Path, version: int) -> Path:
    """Copy the database with SQLite's backup interface and return the copy's path.

    The copy is readable by its owner alone, complete (the write-ahead log included), checked and on the disk. Its
    name holds the schema version and the time; until it is all that, it has another name. The caller holds the
    lock for writing: an unfinished copy that is found was left by a process that was killed, and goes.

    Raises:
        MigrationError: The copy is not sound; it is removed.
    """
    for left in path.parent.glob(f"{_escaped(path.name)}.v*.bak{_UNFINISHED}*"):
        left.unlink(missing_ok=True)
    now = datetime.now(UTC)
    copy = path.with_name(f"{path.name}.v{version}-{now:%Y%m%dT%H%M%S%f}Z.bak")
    unfinished = copy.with_name(copy.name + _UNFINISHED)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
            sound = target.execute("PRAGMA quick_check").fetchone()[0] == "ok"
        if not sound:
            raise MigrationError(f"{path}: the copy made before the upgrade is not sound; nothing was changed")
        _write_through(unfinished)
        unfinished.rename(copy)
        _write_through(path.parent)
    except BaseException:
        for suffix in ("", "-wal", "-shm", "-journal"):
            unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
        raise
    return copy


def _write_through(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
