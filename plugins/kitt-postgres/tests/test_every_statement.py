"""A failure at every statement of an upgrade, the connection dropped uncommitted: the database is as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg
import pytest

from kitt_core.errors import KittError
from kitt_core.runs import SchemaState, Severity
from kitt_postgres.server import PostgresServer
from kitt_sql.testing import POSTGRESQL, create_statements, insert_operations, insert_run, legacy_runs

if TYPE_CHECKING:
    from kitt_postgres.testing import Database

_RUNS = [run for run in legacy_runs() if run.strict and run.text != "{}"]
_OBJECTS = """SELECT oid, relname, relkind::text FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace ORDER BY oid"""


class _Failure:
    """Counts statements; the one chosen to fail loses its connection."""

    counting: ClassVar[bool] = False
    executed: ClassVar[int] = 0
    fail_at: ClassVar[int] = 0

    @classmethod
    def count(cls, connection: psycopg.Connection[Any]) -> None:
        if cls.counting:
            cls.executed += 1
            if cls.fail_at and cls.executed == cls.fail_at:
                connection.close()
                raise psycopg.OperationalError("server closed the connection unexpectedly")


class _Cursor(psycopg.Cursor[Any]):
    def execute(self, *given: Any, **options: Any) -> Any:
        _Failure.count(self.connection)
        return super().execute(*given, **options)

    def executemany(self, *given: Any, **options: Any) -> Any:
        _Failure.count(self.connection)
        return super().executemany(*given, **options)

    def copy(self, *given: Any, **options: Any) -> Any:
        _Failure.count(self.connection)
        return super().copy(*given, **options)


class _ServerCursor(psycopg.ServerCursor[Any]):
    def execute(self, *given: Any, **options: Any) -> Any:
        _Failure.count(self.connection)
        return super().execute(*given, **options)


@pytest.fixture
def database(new_database: Callable[[], Database]) -> Database:
    return new_database()


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        if schema := database.options.get("schema"):
            connection.execute("SELECT set_config('search_path', %s, false)", [schema])
        yield connection


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch, database: Database) -> Callable[[int], bool]:
    """Migrate with the n-th statement failing; return whether it succeeded all the same."""
    real = PostgresServer.connect

    def connect(self: PostgresServer) -> Any:
        connection = real(self)
        connection.cursor_factory = _Cursor
        connection.server_cursor_factory = _ServerCursor
        return connection

    monkeypatch.setattr(PostgresServer, "connect", connect)

    def attempt(fail_at: int) -> bool:
        _Failure.executed, _Failure.fail_at, _Failure.counting = 0, fail_at, True
        try:
            with database.open() as store:
                store.migrate()
        except KittError:
            return False
        finally:
            _Failure.counting = False
        return True

    return attempt


def _fail_everywhere(
    connection: psycopg.Connection[tuple[Any, ...]], attempt: Callable[[int], bool], step: int
) -> int:
    before = connection.execute(_OBJECTS).fetchall()
    fail_at = 1
    while not attempt(fail_at):
        assert connection.execute(_OBJECTS).fetchall() == before, fail_at
        fail_at += step
    assert _Failure.executed < fail_at  # there is no such statement: none was skipped
    return fail_at


EVERY = pytest.mark.parametrize("step", [41, pytest.param(1, marks=pytest.mark.long)])


@EVERY
def test_from_an_empty_database(
    database: Database,
    connection: psycopg.Connection[tuple[Any, ...]],
    attempt: Callable[[int], bool],
    step: int,
) -> None:
    assert _fail_everywhere(connection, attempt, step) > 60
    with database.open() as store:
        assert store.schema_status().state is SchemaState.CURRENT
        store.save_result({"model": "m", "engine": "e"})


@EVERY
@pytest.mark.parametrize(("version", "tables_until"), [pytest.param(3, 1, marks=pytest.mark.long), (10, None)])
def test_from_an_old_database_with_data(
    database: Database,
    connection: psycopg.Connection[tuple[Any, ...]],
    attempt: Callable[[int], bool],
    step: int,
    version: int,
    tables_until: int | None,
) -> None:
    def execute(statement: str, parameters: Any = ()) -> None:
        connection.execute(statement.replace("?", "%s").encode(), parameters)

    with connection.transaction():
        for statement in create_statements(version, POSTGRESQL, tables_until=tables_until):
            execute(statement)
        execute("INSERT INTO schema_version (version) VALUES (?)", (version,))
        for run in _RUNS:
            insert_run(execute, run)
        insert_operations(execute, tables_until or version, result_id=_RUNS[0].id)
    rows = {
        name: connection.execute(f"SELECT * FROM {name} ORDER BY 1".encode()).fetchall()
        for name in ("runs", "metrics")
    }
    assert _fail_everywhere(connection, attempt, step) > 90
    assert connection.execute("SELECT id, created_at FROM runs ORDER BY 1").fetchall() == [
        (row[0], row[-1]) for row in rows["runs"]
    ]
    with database.open() as store:
        assert store.count() == len(_RUNS)
        assert [f for f in store.verify() if f.severity is Severity.DAMAGE] == []
