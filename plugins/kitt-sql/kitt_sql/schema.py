"""What state a database's schema is in, told by looking; nothing is changed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, func, select, text

from kitt_core.model import SchemaState, SchemaStatus
from kitt_sql.dialect import QueryDialect
from kitt_sql.tables import SCHEMA_VERSION, metadata, schema_version

__all__ = ["inspect", "missing"]

_HISTORY: Final = "_yoyo_migration"


def inspect(connection: Connection, dialect: QueryDialect) -> SchemaStatus:
    """Return version and state of the database behind ``connection``."""
    names = {row[0] for row in connection.execute(text(dialect.list_tables))}
    if schema_version.name in names:
        columns = connection.execute(text(f"SELECT * FROM {schema_version.name} WHERE 1 = 0")).keys()  # noqa: S608  # ours
        version = "version" in columns and connection.execute(select(func.max(schema_version.c.version))).scalar()
        if isinstance(version, int) and version > 0:
            return _versioned(version, names)
        return _foreign("has a table schema_version that is not KITT's")
    if names & set(metadata.tables):
        return _foreign("has tables of KITT's names but no schema_version: it is no KITT database")
    return missing()


def missing(*notes: str) -> SchemaStatus:
    """Return the status of a database that has no tables yet."""
    return SchemaStatus(None, SCHEMA_VERSION, _pending(0), SchemaState.MISSING, notes)


def _versioned(version: int, names: Collection[str]) -> SchemaStatus:
    if version > SCHEMA_VERSION:
        return SchemaStatus(version, SCHEMA_VERSION, (), SchemaState.NEW)
    if _HISTORY not in names:
        return _foreign(
            f"was written by KITT 1.x (schema version {version}), which this release can't upgrade", version
        )
    lost = sorted(set(metadata.tables) - set(names)) if version == SCHEMA_VERSION else []
    if lost:
        return _foreign(
            f"is damaged: version {version} has the tables {', '.join(lost)}, which are missing", version
        )
    state = SchemaState.CURRENT if version == SCHEMA_VERSION else SchemaState.OLD
    return SchemaStatus(version, SCHEMA_VERSION, _pending(version), state)


def _foreign(note: str, version: int | None = None) -> SchemaStatus:
    return SchemaStatus(version, SCHEMA_VERSION, (), SchemaState.FOREIGN, (note,))


def _pending(version: int) -> tuple[str, ...]:
    if version == SCHEMA_VERSION:
        return ()
    from kitt_sql.migrate import migration_names  # yoyo is not needed for a current database

    return tuple(migration_names()[version:])
