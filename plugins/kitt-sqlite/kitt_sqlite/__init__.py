"""KITT's default backend: runs in a SQLite file."""

from kitt_sqlite.store import SQLiteResultStore

__all__ = ["SQLiteResultStore"]
