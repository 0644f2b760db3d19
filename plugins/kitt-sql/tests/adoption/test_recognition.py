"""What is adopted and what is not: other people's databases, damaged ones of ours, and newer ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from kitt_core.errors import SchemaTooNewError, SchemaTooOldError
from kitt_core.runs import SchemaState
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore

DOCUMENT: Final = {"model": "m", "engine": "e"}

FOREIGN: Final = {
    "athletes": "CREATE TABLE runs (athlete TEXT)",
    "another tool's versions": "CREATE TABLE schema_version (version INTEGER, applied_at TEXT);"
    "INSERT INTO schema_version VALUES (20250101, 'x'); CREATE TABLE songs (title TEXT)",
    "versions that are texts": "CREATE TABLE schema_version (version TEXT);"
    "INSERT INTO schema_version VALUES ('1.2')",
    "a view of that name": "CREATE TABLE t (a INT); CREATE VIEW runs AS SELECT a AS id FROM t",
    "one table that is not KITT's": "CREATE TABLE schema_version (version INTEGER); CREATE TABLE runs (id TEXT,"
    " model TEXT, engine TEXT, timestamp TEXT, raw_json TEXT); CREATE TABLE agents (spy TEXT)",
    "runs alone": "CREATE TABLE runs (id TEXT, model TEXT, engine TEXT, timestamp TEXT, raw_json TEXT)",
}


@pytest.mark.parametrize("script", FOREIGN.values(), ids=FOREIGN)
def test_somebody_elses_database_is_refused_and_left_untouched(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    before = path.read_bytes()
    with SQLiteStore(SQLiteDatabase(SQLiteFile(path), auto_migrate=True)) as store:
        assert store.schema_status().state is SchemaState.FOREIGN
        for call in (store.count, store.migrate, store.initialize, lambda: store.save_result(DOCUMENT)):
            with pytest.raises(SchemaTooOldError):
                call()
    assert path.read_bytes() == before


FUTURE: Final = {
    "ours at version 99": "INSERT INTO schema_version (version) VALUES (99)",
    "a migration of ours that is unknown": "INSERT INTO _yoyo_migration (migration_hash, migration_id)"
    " VALUES ('h', 'kitt-0014-tomorrow')",
    "another twelfth migration": "UPDATE _yoyo_migration SET migration_id = 'kitt-0012-other'"
    " WHERE migration_id LIKE 'kitt-0012%'",
}


@pytest.mark.parametrize("script", FUTURE.values(), ids=FUTURE)
def test_a_database_of_a_later_kitt_is_refused_and_left_untouched(path: Path, script: str) -> None:
    with SQLiteStore(SQLiteDatabase(SQLiteFile(path))) as store:
        store.initialize()
        store.save_result(DOCUMENT)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _assert_refused_as_new(path)


@pytest.mark.parametrize("version", [14, 99])
def test_a_kitt_1_database_with_a_version_above_ours_is_of_a_later_kitt(
    path: Path, make_old: Callable[[int], None], version: int
) -> None:
    make_old(11)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO schema_version (version) VALUES (?)", [version])
    _assert_refused_as_new(path)


def _assert_refused_as_new(path: Path) -> None:
    before = path.read_bytes()
    with SQLiteStore(SQLiteDatabase(SQLiteFile(path), auto_migrate=True)) as store:
        assert store.schema_status().state is SchemaState.NEW
        for call in (
            store.count,
            store.migrate,
            lambda: store.migrate(dry_run=True),
            store.initialize,
            lambda: store.save_result(DOCUMENT),
            lambda: list(store.verify()),
            lambda: list(store.scan()),
            lambda: store.delete_result("x"),
        ):
            with pytest.raises(SchemaTooNewError, match="upgrade KITT"):
                call()
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.glob(f"{path.name}*")] == [path.name]


def test_another_tool_may_keep_its_migrations_with_ours(path: Path) -> None:
    with SQLiteDatabase(SQLiteFile(path)) as database:
        database.migrate()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('h', 'theirs-0001')"
        )
    with SQLiteStore(SQLiteDatabase(SQLiteFile(path))) as store:
        assert store.schema_status().state is SchemaState.CURRENT
        store.save_result(DOCUMENT)


def test_a_database_that_lost_its_history_is_damaged_not_adopted(path: Path) -> None:
    with SQLiteDatabase(SQLiteFile(path)) as database:
        database.migrate()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM _yoyo_migration")
    with SQLiteDatabase(SQLiteFile(path)) as database:
        status = database.schema_status()
        assert status.state is SchemaState.FOREIGN
        assert "has no record of migrations" in status.notes[0]
