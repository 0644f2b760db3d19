"""The macros of the migrations: one text for both databases, the type table of the schema reference as data.

A statement that begins with ``{sqlite}`` or ``{postgresql}`` is for that database alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["POSTGRESQL_MACROS", "SQLITE_MACROS", "expand"]

_NOT_HERE: Final = "\0"

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
    "sqlite": "",
    "postgresql": _NOT_HERE,
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
    "sqlite": _NOT_HERE,
    "postgresql": "",
}


def expand(statement: str, macros: Mapping[str, str]) -> str | None:
    """Return ``statement`` with ``{macro}`` replaced, None if it is for the other database.

    A brace of the statement's own is written twice.
    """
    expanded = statement.format_map(macros) if "{" in statement else statement
    return None if _NOT_HERE in expanded else expanded
