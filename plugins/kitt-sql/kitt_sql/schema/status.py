"""The state of a database's schema, found without changing anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from attrs import frozen

from kitt_core.runs import SchemaState, SchemaStatus
from kitt_sql.adoption.kitt1_schema import LAST_VERSION
from kitt_sql.adoption.recognition import Legacy, Read, oddities, recognise
from kitt_sql.dialect import QueryDialect
from kitt_sql.schema.released import MIGRATIONS
from kitt_sql.schema.tables import SCHEMA_VERSION, metadata, schema_version

__all__ = ["Found", "examine", "missing"]

_HISTORY: Final = "_yoyo_migration"
_OURS: Final = "kitt-"

Columns = Mapping[str, Collection[str]]


@frozen
class Found:
    """What a database turned out to be.

    Attributes:
        status: What a store says about it.
        legacy: The database as KITT 1.x left it, if it is one that can be adopted.
    """

    status: SchemaStatus
    legacy: Legacy | None = None


def examine(read: Read, dialect: QueryDialect) -> Found:
    """Return the state of the database that ``read`` reads; inside a transaction it holds until the end."""
    columns: dict[str, set[str]] = {}
    for table, column in read(dialect.list_columns((*metadata.tables, _HISTORY))):
        columns.setdefault(table, set()).add(column)
    known = "migration_id" in columns.pop(_HISTORY, ())
    history = {row[0] for row in read(f"SELECT migration_id FROM {_HISTORY}")} if known else set()  # noqa: S608  # ours
    history = {name for name in history if name.startswith(_OURS)}
    numbers = _numbers(read, columns)
    unknown = sorted(history - set(MIGRATIONS))
    if unknown:
        note = f"migrations that this KITT does not know were applied: {', '.join(unknown)}"
        return _plain(SchemaState.NEW, max(numbers or (), default=None), note)
    if history:
        return _ours(columns, numbers)
    if not columns:
        return Found(missing())
    if numbers is None:
        return _foreign("has a table schema_version that is not KITT's")
    return _without_history(columns, numbers, read, dialect)


def missing(*notes: str) -> SchemaStatus:
    """Return the status of a database that has no tables yet."""
    return SchemaStatus(None, SCHEMA_VERSION, _pending(0), SchemaState.MISSING, notes)


def _numbers(read: Read, columns: Columns) -> tuple[int, ...] | None:
    """Return the rows of ``schema_version``; None if it is somebody else's."""
    if schema_version.name not in columns:
        return ()
    if "version" not in columns[schema_version.name]:
        return None
    found = [row[0] for row in read(f"SELECT version FROM {schema_version.name}")]  # noqa: S608  # ours
    numbers = tuple(version for version in found if isinstance(version, int))
    return numbers if len(numbers) == sum(version is not None for version in found) else None


def _ours(columns: Columns, numbers: tuple[int, ...] | None) -> Found:
    version = max(numbers or (), default=None)
    if version is None:
        return _foreign("is damaged: its migrations are recorded, but its schema_version is missing or empty")
    if version > SCHEMA_VERSION:
        return _plain(SchemaState.NEW, version)
    if version == SCHEMA_VERSION and (lost := _lost(columns)):
        return _foreign(f"is damaged: of version {version}, these are missing: {', '.join(lost)}", version)
    state = SchemaState.CURRENT if version == SCHEMA_VERSION else SchemaState.OLD
    return Found(SchemaStatus(version, SCHEMA_VERSION, _pending(version), state))


def _lost(columns: Columns) -> list[str]:
    """Return the tables of the current version that are missing, and the columns of those that are there."""
    lost = {
        f"{name}.{column.name}" if name in columns else name
        for name, table in metadata.tables.items()
        for column in table.columns
        if column.name not in columns.get(name, ())
    }
    return sorted(lost)


def _without_history(columns: Columns, numbers: tuple[int, ...], read: Read, dialect: QueryDialect) -> Found:
    version = max(numbers, default=None)
    if version is not None and version > LAST_VERSION:
        if "raw_json" not in columns.get("runs", ()):
            return _foreign("has a table schema_version that is not KITT's", version)
        if version > SCHEMA_VERSION:
            return _plain(SchemaState.NEW, version)
        return _foreign(f"is damaged: it says version {version}, but has no record of migrations", version)

    def alone() -> bool:
        return {row[0] for row in read(dialect.list_tables)} <= set(columns) | dialect.own_tables

    legacy = recognise(columns, numbers, alone=alone)
    if legacy is None:
        return _foreign("has tables with KITT's names that are not KITT's")
    notes = (
        f"written by KITT 1.x: `kitt storage migrate` adopts it and brings it to version {SCHEMA_VERSION}",
        *([dialect.adoption_note] if dialect.adoption_note else []),
        *oddities(legacy, read),
    )
    status = SchemaStatus(legacy.version, SCHEMA_VERSION, _pending(legacy.version or 0), SchemaState.OLD, notes)
    return Found(status, legacy)


def _foreign(note: str, version: int | None = None) -> Found:
    return _plain(SchemaState.FOREIGN, version, note)


def _plain(state: SchemaState, version: int | None, *notes: str) -> Found:
    return Found(SchemaStatus(version, SCHEMA_VERSION, (), state, notes))


def _pending(version: int) -> tuple[str, ...]:
    return MIGRATIONS[version:]
