"""The standard that every migration, present or future, must meet on SQLite.

Nothing here names a migration: a new one is tested because it exists.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kitt_core.runs import SchemaState
from kitt_sql.dialect import SQLiteDialect
from kitt_sql.schema import migrate as migrations
from kitt_sql.schema.released import MIGRATIONS
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile
from kitt_sql.testing import ColumnFacts, own_rows

VERSIONS = range(1, len(MIGRATIONS))
REWRITTEN: set[tuple[int, str, str]] = set()
"""(version, table, column) whose values a migration is meant to change, each with the reason next to it."""

Contents = dict[str, list[dict[str, Any]]]


def _contents(path: Path) -> Contents:
    """Return the rows of all tables except those for bookkeeping."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        tables = [
            row[0]
            for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not row[0].startswith(("_yoyo", "sqlite_", "schema_version"))
        ]
        return {
            table: sorted(map(dict, connection.execute(f"SELECT * FROM {table}")), key=repr) for table in tables
        }


@pytest.fixture
def make_own(path: Path) -> Callable[[int], Contents]:
    """Make a database of ours as it was at a version, with rows in every table."""

    def make(version: int) -> Contents:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN")
            migrations.apply_pending(connection, "sqlite3", SQLiteDialect(), until=version)
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table, rows in own_rows({name: _columns(connection, name) for name in names}):
                for row in rows:
                    marks = ", ".join("?" * len(row))
                    statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})"
                    connection.execute(statement, list(row.values()))
            connection.execute("COMMIT")
        return _contents(path)

    return make


def _columns(connection: sqlite3.Connection, table: str) -> list[ColumnFacts]:
    parents = {row[3]: row[2] for row in connection.execute(f"PRAGMA foreign_key_list({table})")}
    return [
        ColumnFacts(row[1], row[2], parents.get(row[1]))
        for row in connection.execute(f"PRAGMA table_info({table})")
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_upgrade_from_any_version_keeps_every_row(
    path: Path, make_own: Callable[[int], Contents], version: int, new_schema: Any, schema_of: Any
) -> None:
    before = make_own(version)
    with SQLiteDatabase(SQLiteFile(path)) as database:
        status = database.schema_status()
        assert (status.state, status.version) == (SchemaState.OLD, version)
        assert database.migrate(dry_run=True) == list(MIGRATIONS[version:])
        assert _contents(path) == before
        assert database.migrate() == list(MIGRATIONS[version:])
        assert database.migrate() == []
        assert database.schema_status().state is SchemaState.CURRENT
    after = _contents(path)
    for table, rows in before.items():
        same = [
            name
            for name in rows[0]
            if name in after[table][0] and not any((n, table, name) in REWRITTEN for n in range(version + 1, 99))
        ]
        assert _only(after[table], same) == _only(rows, same), table
    # The order of columns changes the text: ALTER TABLE appends.
    assert {row[:3] for row in schema_of(path)} == {row[:3] for row in new_schema}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _only(rows: list[dict[str, Any]], names: list[str]) -> list[Any]:
    return sorted(([row[name] for name in names] for row in rows), key=repr)


@pytest.mark.parametrize(
    "version", [n if n in {1, len(VERSIONS)} else pytest.param(n, marks=pytest.mark.long) for n in VERSIONS]
)
def test_a_failure_at_any_statement_from_any_version_changes_nothing(
    path: Path, make_own: Callable[[int], Contents], version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(migrations._ExpandingCursor):
        executed = 0
        fail_at = 0

        def execute(self, statement: str, parameters: Any = ()) -> None:
            Failing.executed += 1
            if Failing.executed == Failing.fail_at:
                raise sqlite3.OperationalError("disk I/O error")
            super().execute(statement, parameters)

    monkeypatch.setattr(migrations, "_ExpandingCursor", Failing)
    before = make_own(version)
    with SQLiteDatabase(SQLiteFile(path, synchronous="OFF")) as database:
        Failing.executed = 0
        database.migrate(dry_run=True)
        for fail_at in range(1, Failing.executed + 1):
            Failing.executed, Failing.fail_at = 0, fail_at
            with pytest.raises(Exception, match=r"cannot be (used|read)"):
                database.migrate(backup=False)
            assert _contents(path) == before
        Failing.fail_at = 0
        assert database.migrate() == list(MIGRATIONS[version:])


def test_a_parent_that_is_rebuilt_keeps_its_children(
    path: Path, make_own: Callable[[int], Contents], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration may rebuild `runs`, to which half of the tables refer, as docs/migrations.md shows it."""
    before = make_own(len(MIGRATIONS) - 1)
    rebuild = (
        "CREATE TABLE new_runs AS SELECT * FROM runs",
        "DROP TABLE runs",
        "ALTER TABLE new_runs RENAME TO runs",
        "CREATE UNIQUE INDEX the_key ON runs (id)",  # references need it in their parent
    )

    def apply(connection: Any, *given: Any, **options: Any) -> list[str]:
        for statement in rebuild:
            connection.execute(statement)
        return ["rebuilt"]

    monkeypatch.setattr(migrations, "apply_pending", apply)
    monkeypatch.setattr(SQLiteDatabase, "complete_rollup", lambda *_: None)  # its tables are not made here
    with SQLiteDatabase(SQLiteFile(path)) as database:
        assert database.migrate() == ["rebuilt"]
    assert _contents(path) == before
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.execute("UPDATE quick_tests SET result_id = NULL")
        connection.execute("DELETE FROM runs WHERE id = 'id1'")
        assert connection.execute("SELECT count(*) FROM benchmarks").fetchone() == (1,)  # cascades still work
