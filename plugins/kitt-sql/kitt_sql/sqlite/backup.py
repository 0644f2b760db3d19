"""A copy of a database beside itself, made while others may write, before something is changed in it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from kitt_core.errors import MigrationError

__all__ = ["write_backup"]


def write_backup(path: Path, version: int) -> Path:
    """Copy the database with SQLite's backup interface and return the copy's path.

    The copy is readable by its owner alone, complete (the write-ahead log included) and checked. Its name
    holds the schema version and the time.

    Raises:
        MigrationError: The copy is not sound; it is removed.
    """
    now = datetime.now(UTC)
    copy = path.with_name(f"{path.name}.v{version}-{now:%Y%m%dT%H%M%S%f}Z.bak")
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            sound = target.execute("PRAGMA quick_check").fetchone()[0] == "ok"
        if not sound:
            raise MigrationError(f"{path}: the copy made before the upgrade is not sound; nothing was changed")
    except BaseException:
        copy.unlink()
        raise
    return copy
