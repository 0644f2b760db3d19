"""SQLite: the engine with its pragmas, the driver's errors as ours, and the store."""

from kitt_sql.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
