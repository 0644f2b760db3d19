"""The store that the backend ``sqlite`` opens."""

from __future__ import annotations

from pathlib import Path

from kitt_core.config import kitt_home
from kitt_sql.sqlite import SQLiteStore
from kitt_sql.sqlite.engine import SQLiteFile, Synchronous

__all__ = ["SQLiteResultStore"]


class SQLiteResultStore(SQLiteStore):
    """Runs in a SQLite file.

    Args:
        path: The file; without it ``kitt.db`` in `kitt_home`, readable by its owner alone.
        synchronous: SQLite's setting; FULL survives a power cut.
        busy_timeout: Seconds to wait for another process's write.
        auto_migrate: Upgrade an older database before the first write, after a backup; without it only the
            user's own default database is.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        synchronous: Synchronous = "FULL",
        busy_timeout: float = 5.0,
        auto_migrate: bool | None = None,
    ) -> None:
        file = SQLiteFile(
            kitt_home() / "kitt.db" if path is None else path,
            synchronous=synchronous,
            busy_timeout=busy_timeout,
            private=path is None,
        )
        super().__init__(file, auto_migrate=path is None if auto_migrate is None else auto_migrate)
