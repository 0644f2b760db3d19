"""SQLite: a file as a database, and the store of runs in it."""

from kitt_sql.sqlite.database import SQLiteDatabase
from kitt_sql.sqlite.engine import SQLiteFile, Synchronous
from kitt_sql.sqlite.store import SQLiteStore

__all__ = ["SQLiteDatabase", "SQLiteFile", "SQLiteStore", "Synchronous"]
