"""Databases as KITT 1.x left them, for the tests of what adopts them."""

from kitt_sql.testing.legacy_rows import TOKEN, LegacyRun, insert_operations, insert_run, legacy_runs
from kitt_sql.testing.legacy_tables import POSTGRESQL, SQLITE, LegacyTypes, create_statements

__all__ = [
    "POSTGRESQL",
    "SQLITE",
    "TOKEN",
    "LegacyRun",
    "LegacyTypes",
    "create_statements",
    "insert_operations",
    "insert_run",
    "legacy_runs",
]
