"""The store that the backend ``sqlite`` opens."""

from __future__ import annotations

from typing import ClassVar, Final

from kitt_core.config import kitt_home
from kitt_core.storage import Capability
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore
from kitt_sqlite.options import CAPABILITIES, SQLiteOptions

__all__ = ["SQLiteResultStore"]

_WITHOUT_PROGRESS: Final = 5.0


class SQLiteResultStore(SQLiteStore):
    """Runs in a SQLite file.

    The default is ``kitt.db`` in `kitt_home`, readable only by its owner, and upgraded before the first write
    unless ``auto_migrate`` is false.

    Args:
        options: The file, and how it is opened.
    """

    capabilities: ClassVar[frozenset[Capability]] = CAPABILITIES

    def __init__(self, options: SQLiteOptions) -> None:
        is_default = options.path is None
        file = SQLiteFile(
            kitt_home() / "kitt.db" if options.path is None else options.path,
            synchronous=options.synchronous,
            busy_timeout=_WITHOUT_PROGRESS if options.busy_timeout is None else options.busy_timeout,
            patient=options.busy_timeout is None,
            private=is_default,
        )
        migrates = is_default if options.auto_migrate is None else options.auto_migrate
        super().__init__(SQLiteDatabase(file, auto_migrate=migrates))
