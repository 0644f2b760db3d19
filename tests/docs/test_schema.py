"""docs/schema.md: tables, versions, queries."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Dialect, Table
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from kitt_core import open_store
from kitt_core.testing import documents
from kitt_sql.schema.tables import SCHEMA_VERSION, metadata

from .pages import Row, blocks, rows, sections, spans, text_of, without_fences

DIALECTS: tuple[Dialect, ...] = (SQLiteDialect_pysqlite(), PGDialect_psycopg())  # type: ignore[no-untyped-call]  # SQLAlchemy has no types there


def documented_schema(table: str) -> tuple[list[Row], list[Row]]:
    found = list(rows(sections("schema.md")[table]))
    return [row[:5] for row in found if len(row) == 6], [row[:2] for row in found if len(row) == 3]


def described(column: Column[Any]) -> Row:
    types = [column.type.compile(dialect=dialect) for dialect in DIALECTS]
    if column.primary_key and column.autoincrement is True:
        types[1] = "SERIAL"
    types[1] = types[1].replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")
    return [f"`{column.name}`", *types, "yes" if column.nullable else "no", _default(column)]


def _default(column: Column[Any]) -> str:
    argument = getattr(column.server_default, "arg", None)
    if argument is None:
        return ""
    if isinstance(argument, str):
        return f"`'{argument}'`"
    return "now" if "now" in str(argument) else f"`{argument}`"


@pytest.mark.parametrize("table", metadata.tables.values(), ids=lambda table: table.name)
def test_a_table_is_documented_column_by_column_with_its_indexes(table: Table) -> None:
    columns, indexes = documented_schema(table.name)
    assert columns == [described(column) for column in table.columns]
    expected = {f"`{index.name}`": [column.name for column in index.columns] for index in table.indexes}
    assert {name: spans(names)[0].split(", ") for name, names in indexes} == expected


def test_the_pages_version_and_list_of_versions_are_current() -> None:
    assert f"current version is **{SCHEMA_VERSION}**" in text_of("schema.md")
    versions = [row[0] for row in rows(sections("schema.md")["Versions and migrations"])]
    assert versions == [str(version) for version in range(1, SCHEMA_VERSION + 1)]


def test_every_object_of_a_database_is_documented_and_the_queries_run(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with open_store(path) as store:
        store.save_result(documents.STANDARD)
    documented = set(spans(without_fences(text_of("schema.md"))))
    with closing(sqlite3.connect(path)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        assert {name for name in names if not name.startswith("sqlite_autoindex")} - set(
            metadata.tables
        ) <= documented
        queries = blocks(sections("schema.md")["Querying by hand"], "sql")
        assert [len(connection.execute(query).fetchall()) for query in queries] == [1, 1, 0]
