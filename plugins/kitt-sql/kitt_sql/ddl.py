"""The macros of the migrations: one text for both databases, the type table of the schema reference as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["POSTGRESQL_MACROS", "SQLITE_MACROS", "expand"]

SQLITE_MACROS: Final[Mapping[str, str]] = {
    "serial": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "timestamp": "TEXT",
    "json": "TEXT",
    "boolean": "INTEGER",
    "real": "REAL",
    "bytes": "BLOB",
    "now": "(datetime('now'))",
    "false": "0",
    "position": "",  # a row of runs has its number
    "keyed": " WITHOUT ROWID",  # the primary key is the table: one b-tree less to write at each save
}

POSTGRESQL_MACROS: Final[Mapping[str, str]] = {
    "serial": "SERIAL PRIMARY KEY",
    "timestamp": "TIMESTAMPTZ",
    "json": "JSONB",
    "boolean": "BOOLEAN",
    "real": "DOUBLE PRECISION",
    "bytes": "BYTEA",
    "now": "now()",
    "false": "FALSE",
    "position": ",\n    position BIGSERIAL UNIQUE",  # what a scan goes by
    "keyed": "",
}


def expand(statement: str, macros: Mapping[str, str]) -> str:
    """Return ``statement`` with ``{macro}`` replaced; a brace of the statement's own is written twice."""
    return statement.format_map(macros) if "{" in statement else statement
