"""The relational part of KITT: tables, rows, queries, migrations, and the store made of them.

A library: the SQL backends (`kitt_sqlite`, later `kitt_postgres`) are thin plugins over it.
"""

from kitt_sql.store import SqlResultStore
from kitt_sql.tables import SCHEMA_VERSION, metadata

__all__ = ["SCHEMA_VERSION", "SqlResultStore", "metadata"]
