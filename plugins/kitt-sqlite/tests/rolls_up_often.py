"""Stores that roll up runs with almost every save, so that tests of a few runs reach it in every process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kitt_sql.sqlite import rolling
from kitt_sqlite.options import SQLiteOptions
from kitt_sqlite.store import SQLiteResultStore


def opened(path: str | Path, **options: Any) -> SQLiteResultStore:
    """Open a store."""
    rolling._ENOUGH = 3  # type: ignore[misc]  # for all of this process
    return SQLiteResultStore(SQLiteOptions(Path(path), **options))
