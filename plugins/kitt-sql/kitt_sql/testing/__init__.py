"""Databases to upgrade, for tests: as KITT 1.x left them, and our own at each version."""

from kitt_sql.testing.legacy_rows import TOKEN, LegacyRun, insert_operations, insert_run, legacy_runs
from kitt_sql.testing.legacy_tables import POSTGRESQL, SQLITE, LegacyTypes, create_statements
from kitt_sql.testing.own_rows import ColumnFacts, own_rows

__all__ = [
    "POSTGRESQL",
    "SQLITE",
    "TOKEN",
    "ColumnFacts",
    "LegacyRun",
    "LegacyTypes",
    "create_statements",
    "insert_operations",
    "insert_run",
    "legacy_runs",
    "own_rows",
]
