"""The standard that every migration, present or future, must meet on PostgreSQL.

Nothing here names a migration: a new one is tested because it exists. kitt-sql has the same on SQLite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from kitt_core.errors import SchemaTooNewError
from kitt_core.runs import SchemaState
from kitt_postgres.dialect import PostgresDialect
from kitt_sql.schema import migrate as migrations
from kitt_sql.schema.released import MIGRATIONS
from kitt_sql.testing import ColumnFacts, own_rows

if TYPE_CHECKING:
    from kitt_postgres.testing import Database

Driver = psycopg.Connection[tuple[Any, ...]]
Contents = dict[str, list[dict[str, Any]]]
VERSIONS = range(1, len(MIGRATIONS))
REWRITTEN: set[tuple[int, str, str]] = set()
"""(version, table, column) whose values a migration is meant to change, each with the reason next to it."""

_TABLES = """SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relname NOT LIKE '\\_yoyo%'
    AND relnamespace = current_schema()::regnamespace AND relname <> 'schema_version'"""
_COLUMNS = """SELECT attname::text, format_type(atttypid, atttypmod), confrelid::regclass::text FROM pg_attribute
    LEFT JOIN pg_constraint ON conrelid = attrelid AND contype = 'f' AND conkey = ARRAY[attnum]
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"""


@pytest.fixture
def database(new_database: Callable[[], Database]) -> Database:
    return new_database()


@pytest.fixture
def connection(database: Database) -> Iterator[Driver]:
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        if schema := database.options.get("schema"):
            connection.execute("SELECT set_config('search_path', %s, false)", [schema])
        yield connection


def _make_own(connection: Driver, version: int) -> Contents:
    """Make a database of ours as it was at a version, with rows in every table."""
    with connection.transaction():
        migrations.apply_pending(connection, "psycopg", PostgresDialect(), until=version)
        names = [row[0] for row in connection.execute(_TABLES)]
        facts = {
            name: [ColumnFacts(*row) for row in connection.execute(_COLUMNS, [name]).fetchall()] for name in names
        }
        for table, rows in own_rows(facts):
            for row in rows:
                marks = ", ".join(["%s"] * len(row))
                statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})"
                connection.execute(statement.encode(), list(row.values()))
    return _contents(connection)


def _contents(connection: Driver) -> Contents:
    names = [row[0] for row in connection.execute(_TABLES)]
    found: Contents = {}
    for name in names:
        with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            found[name] = sorted(cursor.execute(f"SELECT * FROM {name}".encode()).fetchall(), key=repr)
    return found


@pytest.mark.each_postgres
@pytest.mark.parametrize("version", VERSIONS)
def test_an_upgrade_from_any_version_keeps_every_row(database: Database, connection: Driver, version: int) -> None:
    before = _make_own(connection, version)
    with database.open() as store:
        status = store.schema_status()
        assert (status.state, status.version) == (SchemaState.OLD, version)
        assert store.migrate(dry_run=True) == list(MIGRATIONS[version:])
        assert _contents(connection) == before
        assert store.migrate() == list(MIGRATIONS[version:])
        assert store.migrate() == []
        assert store.schema_status().state is SchemaState.CURRENT
    after = _contents(connection)
    for table, rows in before.items():
        same = [
            name
            for name in rows[0]
            if name in after[table][0] and not any((n, table, name) in REWRITTEN for n in range(version + 1, 99))
        ]
        assert _only(after[table], same) == _only(rows, same), table


def _only(rows: list[dict[str, Any]], names: list[str]) -> list[Any]:
    return sorted(([row[name] for name in names] for row in rows), key=repr)


@pytest.mark.parametrize(
    ("version", "step"),
    [(1, 9), (len(VERSIONS), 1), *(pytest.param(version, 1, marks=pytest.mark.long) for version in VERSIONS)],
)
def test_a_failure_at_any_statement_from_any_version_changes_nothing(
    database: Database, connection: Driver, version: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(migrations._ExpandingCursor):
        executed = 0
        fail_at = 0

        def execute(self, statement: str, parameters: Any = ()) -> None:
            Failing.executed += 1
            if Failing.executed == Failing.fail_at:
                raise psycopg.errors.DiskFull("no space left on device")
            super().execute(statement, parameters)

    monkeypatch.setattr(migrations, "_ExpandingCursor", Failing)
    before = _make_own(connection, version)
    with database.open() as store:
        Failing.executed = 0
        store.migrate(dry_run=True)
        for fail_at in range(1, Failing.executed + 1, step):
            Failing.executed, Failing.fail_at = 0, fail_at
            with pytest.raises(Exception, match="disk is full"):
                store.migrate()
        assert _contents(connection) == before
        Failing.fail_at = 0
        assert store.migrate() == list(MIGRATIONS[version:])


@pytest.mark.parametrize(
    "script",
    [
        "INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('h', 'kitt-0013-tomorrow')",
        "UPDATE _yoyo_migration SET migration_id = 'kitt-0012-other' WHERE migration_id LIKE 'kitt-0012%'",
    ],
)
def test_an_unknown_migration_of_ours_is_of_a_later_kitt(
    database: Database, connection: Driver, script: str
) -> None:
    with database.open() as store:
        store.initialize()
    connection.execute(script.encode())
    before = _contents(connection)
    with database.open() as store:
        assert store.schema_status().state is SchemaState.NEW
        for call in (store.count, store.migrate, store.initialize, lambda: list(store.verify())):
            with pytest.raises(SchemaTooNewError, match="does not know"):
                call()
    assert _contents(connection) == before
