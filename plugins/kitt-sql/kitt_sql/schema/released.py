"""The migrations by name, in order, and the macros that their texts use.

The names are listed apart from the files, so that a store can recognise an unknown migration without importing
yoyo. `kitt_sql.schema.migrate` refuses to work if folder and list differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["MIGRATIONS", "POSTGRESQL_MACROS", "SQLITE_MACROS", "expand"]

MIGRATIONS: Final = (
    "kitt-0001-results",
    "kitt-0002-operations",
    "kitt-0003-web-settings",
    "kitt-0004-agent-token-hash",
    "kitt-0005-agent-hardware",
    "kitt-0006-quick-test-command",
    "kitt-0007-quick-test-logs",
    "kitt-0008-agent-settings",
    "kitt-0009-agent-architecture",
    "kitt-0010-campaign-logs",
    "kitt-0011-engine-profiles",
    "kitt-0012-documents-and-labels",
    "kitt-0013-metric-rollup",
)
"""The n-th makes version n."""

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
    "position": "",  # rowid is one
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
    "position": ",\n    position BIGSERIAL UNIQUE",  # the order of a scan
    "keyed": "",
    "sqlite": _NOT_HERE,
    "postgresql": "",
}


def expand(statement: str, macros: Mapping[str, str]) -> str | None:
    """Return ``statement`` with ``{macro}`` replaced, None if it is for the other database.

    A statement that begins with ``{sqlite}`` or ``{postgresql}`` is for that database alone. A literal
    brace is written twice.
    """
    expanded = statement.format_map(macros) if "{" in statement else statement
    return None if _NOT_HERE in expanded else expanded
