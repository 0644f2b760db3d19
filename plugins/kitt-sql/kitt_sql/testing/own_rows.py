"""Rows for each of our tables at any version, made from the columns that exist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

__all__ = ["ColumnFacts", "own_rows"]

_ROWS: Final = 2
_BOOKKEEPING: Final = ("_yoyo", "sqlite_", "yoyo_", "schema_version")
_JSON: Final = '{"model": "m", "engine": "e"}'


@frozen
class ColumnFacts:
    """A column as a database's catalogue describes it.

    Attributes:
        kind: The type, in the database's words.
        parent: The table that it refers to.
    """

    name: str
    kind: str
    parent: str | None = None


def own_rows(tables: Mapping[str, Sequence[ColumnFacts]]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    """Yield rows for every table except those for bookkeeping, parents first.

    A reference has the value of its parent's key, any other column one of its type. So a migration is tried on
    rows in every table, which nobody has to write.
    """
    done: set[str] = set()
    pending = [name for name in sorted(tables) if not name.startswith(_BOOKKEEPING)]
    while pending:
        ready = [
            name
            for name in pending
            if {column.parent for column in tables[name] if column.parent not in {None, name}} <= done
        ]
        if not ready:
            raise ValueError(f"{', '.join(pending)} refer to each other in a circle")
        for name in ready:
            yield name, [_row(name, tables, number) for number in range(1, _ROWS + 1)]
            pending.remove(name)
            done.add(name)


def _row(table: str, tables: Mapping[str, Sequence[ColumnFacts]], number: int) -> dict[str, Any]:
    return {
        column.name: _key(column.parent, tables, number) if column.parent else _value(column, number)
        for column in tables[table]
    }


def _key(parent: str, tables: Mapping[str, Sequence[ColumnFacts]], number: int) -> Any:
    return _value(next(column for column in tables[parent] if column.name in {"id", "key"}), number)


def _value(column: ColumnFacts, number: int) -> Any:
    kind = column.kind.upper()
    if column.name in {"raw_json", "config_json", "data"}:
        return _JSON
    if "TIME" in kind or column.name == "timestamp" or column.name.endswith("_at"):
        return f"2025-01-0{number}T00:00:00.000000+00:00"
    if "INT" in kind:
        return number
    if "BOOL" in kind:
        return True
    if kind in {"REAL", "DOUBLE PRECISION"}:
        return number + 0.5
    if kind in {"BLOB", "BYTEA"}:
        return _JSON.encode()
    return f"{column.name}{number}"
