"""The relational part of KITT: databases with its tables, and the store of runs in them.

A library: the backends of `kitt_sqlite` and `kitt_postgres` are thin plugins over it, and `kitt_karr` keeps its
index in a `kitt_sql.sqlite.SQLiteDatabase`.
"""

from kitt_sql.database import SqlDatabase
from kitt_sql.schema.tables import SCHEMA_VERSION, metadata
from kitt_sql.store import SqlResultStore

__all__ = ["SCHEMA_VERSION", "SqlDatabase", "SqlResultStore", "metadata"]
