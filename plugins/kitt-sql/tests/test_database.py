"""A database by itself, for users other than a store of runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from kitt_core.errors import SchemaTooOldError, StoreUnavailableError
from kitt_core.runs import SchemaState
from kitt_sql.schema.tables import metadata
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore

SETTINGS = metadata.tables["web_settings"]
ROW = {"key": "theme", "value": "dark"}


@pytest.fixture
def database(path: Path) -> Iterator[SQLiteDatabase]:
    with SQLiteDatabase(SQLiteFile(path, synchronous="OFF")) as database:
        yield database


def _settings(database: SQLiteDatabase) -> list[str]:
    with database.reading() as connection:
        return list(connection.execute(select(SETTINGS.c.key)).scalars())


def test_a_store_of_runs_shares_it_with_other_rows(database: SQLiteDatabase) -> None:
    store = SQLiteStore(database)
    store.save_result({"model": "m", "engine": "e"}, run_id="one")
    with database.writing() as connection:
        connection.execute(insert(SETTINGS).values(ROW))
    with database.raw_connection() as driver:
        assert driver.execute("SELECT value FROM web_settings").fetchall() == [("dark",)]
        assert not driver.in_transaction
    assert store.count() == 1
    assert _settings(database) == ["theme"]


@pytest.mark.parametrize("raw", [False, True])
def test_an_error_takes_back_what_was_written(database: SQLiteDatabase, raw: bool) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  # the context is what is tested
        if raw:
            with database.raw_writing() as driver:
                driver.execute("INSERT INTO web_settings (key, value) VALUES ('theme', 'dark')")
                raise ZeroDivisionError
        else:
            with database.writing() as connection:
                connection.execute(insert(SETTINGS).values(ROW))
                raise ZeroDivisionError
    assert _settings(database) == []


def test_a_first_write_makes_the_tables_and_an_old_schema_is_refused(database: SQLiteDatabase, path: Path) -> None:
    assert database.prepares_itself(database.schema_status())
    with database.raw_writing():
        pass
    assert database.schema_status().state is SchemaState.CURRENT
    with database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM schema_version WHERE version > 11")
    with SQLiteDatabase(SQLiteFile(path)) as other:
        for lend in (other.reading, other.writing, other.raw_connection, other.raw_writing):
            with pytest.raises(SchemaTooOldError), lend():
                pass


def test_a_closed_database_is_refused(database: SQLiteDatabase) -> None:
    database.migrate()
    database.close()
    database.close()
    for lend in (database.reading, database.writing, database.raw_connection, database.raw_writing):
        with pytest.raises(StoreUnavailableError, match="is closed"), lend():
            pass
    for call in (database.schema_status, database.migrate):
        with pytest.raises(StoreUnavailableError, match="is closed"):
            call()
