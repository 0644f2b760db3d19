"""Old databases, and what a new one looks like."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile
from kitt_sql.testing import SQLITE, create_statements, insert_operations, insert_run, legacy_runs

Schema = set[tuple[str, str, str, str | None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "old.db"


@pytest.fixture
def make_old(path: Path) -> Callable[[int], None]:
    """Make a database of a version at ``path``, with rows in every table."""

    def make(version: int) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            with connection:
                for statement in create_statements(version, SQLITE):
                    connection.execute(statement)
                for number in range(1, version + 1):
                    connection.execute(
                        "INSERT INTO schema_version VALUES (?, ?)", (number, f"2025-01-01 00:00:{number:02}")
                    )
                for run in legacy_runs():
                    insert_run(connection.execute, run)
                insert_operations(connection.execute, version, result_id="regular000000000")

    return make


@pytest.fixture
def schema_of() -> Callable[[Path], Schema]:
    def read(path: Path) -> Schema:
        with closing(sqlite3.connect(path)) as connection:
            return set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))

    return read


@pytest.fixture
def new_schema(tmp_path: Path, schema_of: Callable[[Path], Schema]) -> Schema:
    """Every object of a new database, by its definition."""
    with SQLiteDatabase(SQLiteFile(tmp_path / "new.db", synchronous="OFF")) as database:
        database.migrate()
    return schema_of(tmp_path / "new.db")
