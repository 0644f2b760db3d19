"""Migrations in PostgreSQL: all or nothing, one migrator at a time, and never into a database that is not ours."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest

from kitt_core.errors import KittError, SchemaMissingError, SchemaTooNewError, SchemaTooOldError
from kitt_core.runs import SchemaState
from kitt_core.storage import ResultStore
from kitt_core.testing.worker import StoreTarget
from kitt_sql.schema.migrate import migration_names
from kitt_sql.schema.tables import SCHEMA_VERSION, metadata

if TYPE_CHECKING:
    from kitt_postgres.testing import Database

pytestmark = pytest.mark.each_postgres

DOCUMENT: Final = {"model": "m", "engine": "e"}

_MIGRATE: Final = """
import sys
from kitt_core.testing.worker import StoreTarget
with StoreTarget.decode(sys.argv[1]).open() as store:
    sys.stdin.readline()
    print(len(store.migrate()))
"""
_STOP_IN_THE_MIDDLE: Final = """
import sys, time
from kitt_core.testing.worker import StoreTarget
def stop(done, total):
    if done == int(sys.argv[2]):
        print("here", flush=True)
        time.sleep(60)
with StoreTarget.decode(sys.argv[1]).open() as store:
    store.migrate(progress=stop)
"""


@pytest.fixture
def database(new_database: Callable[[], Database]) -> Database:
    return new_database()


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Somebody else's connection to the same database."""
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        if schema := database.options.get("schema"):
            connection.execute("SELECT set_config('search_path', %s, false)", [schema])
        yield connection


def _contents(connection: psycopg.Connection[tuple[Any, ...]]) -> list[Any]:
    """Return every object of the schema with the last change of its definition and its rows."""
    tables = connection.execute(
        "SELECT oid, xmin::text, relname, relkind FROM pg_class"
        " WHERE relnamespace = current_schema()::regnamespace ORDER BY oid"
    ).fetchall()
    rows = [
        connection.execute(f'SELECT xmin::text, t.* FROM "{name}" t ORDER BY ctid'.encode()).fetchall()
        for _, _, name, kind in tables
        if kind == "r"
    ]
    return [*tables, *rows]


def _everything_that_needs_the_tables(store: ResultStore) -> list[Callable[[], object]]:
    return [store.count, lambda: store.save_result(DOCUMENT), lambda: list(store.scan()), store.list_results]


@pytest.fixture
def start(database: Database, spawn: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.Popen[str]]:
    def begin(program: str, *arguments: str) -> subprocess.Popen[str]:
        target = StoreTarget(database.dsn, dict(database.options)).encode()
        command = [sys.executable, "-c", program, target, *arguments]
        return spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    return begin


def test_names_are_returned_in_order_and_once_and_nothing_is_printed(
    database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    steps: list[tuple[int, int | None]] = []
    with database.open() as store:
        assert store.migrate(progress=lambda done, total: steps.append((done, total))) == migration_names()
        assert store.migrate() == []
        store.initialize()
    assert steps == [(number, SCHEMA_VERSION) for number in range(1, SCHEMA_VERSION + 1)]
    assert capfd.readouterr() == ("", "")


def test_a_dry_run_says_what_it_would_do_and_leaves_nothing(
    database: Database, connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    before = _contents(connection)
    with database.open() as store:
        assert store.migrate(dry_run=True) == migration_names()
        assert store.schema_status().state is SchemaState.MISSING
        assert _contents(connection) == before
        with pytest.raises(SchemaMissingError, match="kitt storage init"):
            store.count()


def test_an_older_database_is_refused_until_it_is_migrated(
    database: Database, connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    with database.open() as store:
        store.initialize()
    to_version_11(connection)
    with database.open() as store:
        for call in _everything_that_needs_the_tables(store):
            with pytest.raises(SchemaTooOldError, match="kitt storage migrate"):
                call()
        assert store.schema_status().pending == tuple(migration_names()[11:])
        assert store.migrate(dry_run=True) == migration_names()[11:]
        assert store.migrate() == migration_names()[11:]
        store.save_result(DOCUMENT)
        assert store.count() == 1


def to_version_11(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Turn a current database into one of version 11."""
    connection.execute("DROP TABLE run_documents, run_labels, metric_names, rolled_runs, metric_rollup")
    connection.execute("DROP INDEX idx_runs_model_timestamp, idx_runs_engine_timestamp")
    connection.execute("DROP INDEX idx_runs_model_engine_passed_timestamp")
    connection.execute("DELETE FROM schema_version WHERE version > 11")
    connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = ANY(%s)", [migration_names()[11:]])


def test_one_of_several_migrating_processes_applies_and_the_others_find_nothing_to_do(
    connection: psycopg.Connection[tuple[Any, ...]], start: Callable[..., subprocess.Popen[str]]
) -> None:
    processes = [start(_MIGRATE) for _ in range(4)]
    outputs = [process.communicate("go\n", timeout=180)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sorted(map(int, outputs)) == [0, 0, 0, SCHEMA_VERSION]
    versions = connection.execute("SELECT version FROM schema_version ORDER BY ctid").fetchall()
    assert [version for (version,) in versions] == list(range(1, SCHEMA_VERSION + 1))


@pytest.mark.parametrize("step", [1, 7, SCHEMA_VERSION])
def test_a_migrator_killed_in_the_middle_leaves_nothing_and_the_next_one_succeeds(
    database: Database,
    connection: psycopg.Connection[tuple[Any, ...]],
    start: Callable[..., subprocess.Popen[str]],
    step: int,
) -> None:
    before = _contents(connection)
    process = start(_STOP_IN_THE_MIDDLE, str(step))
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.kill()
    process.communicate()
    with database.open() as store:
        assert store.schema_status().state is SchemaState.MISSING
        assert _contents(connection) == before
        assert store.migrate() == migration_names()  # waits until the server has noticed the death


def test_a_failing_step_leaves_nothing(
    database: Database, connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    connection.execute("CREATE TABLE _idx (n int)")
    connection.execute("CREATE INDEX idx_runs_model_timestamp ON _idx (n)")  # in the way of version 12
    before = _contents(connection)
    with database.open() as store:
        with pytest.raises(KittError) as caught:
            store.migrate()
        assert "\n" not in str(caught.value)
        assert _contents(connection) == before
        connection.execute("DROP TABLE _idx")
        assert store.migrate() == migration_names()


def test_a_newer_database_is_refused_and_left_untouched(
    database: Database, connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    with database.open() as store:
        store.initialize()
        store.save_result(DOCUMENT)
    connection.execute("INSERT INTO schema_version (version) VALUES (99)")
    before = _contents(connection)
    with database.open() as store:
        for call in (*_everything_that_needs_the_tables(store), store.migrate, store.initialize):
            with pytest.raises(SchemaTooNewError, match="99"):
                call()
        assert store.schema_status().state is SchemaState.NEW
    assert _contents(connection) == before


def test_somebody_elses_tables_are_left_alone(
    database: Database, connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    connection.execute("CREATE TABLE songs (title text)")
    connection.execute("INSERT INTO songs VALUES ('one')")
    before = _contents(connection)
    with database.open() as store:
        for call in _everything_that_needs_the_tables(store):
            with pytest.raises(SchemaMissingError, match="kitt storage init"):
                call()
        assert _contents(connection) == before
        store.initialize()  # on request: ours are created next to theirs
        store.save_result(DOCUMENT)
    assert connection.execute("SELECT xmin::text, * FROM songs").fetchall() == before[-1]


@pytest.mark.parametrize("table", ["runs", "metrics", "schema_version"])
def test_a_table_with_one_of_our_names_is_refused_and_left_untouched(
    database: Database, connection: psycopg.Connection[tuple[Any, ...]], table: str
) -> None:
    connection.execute(f"CREATE TABLE {table} (athlete text)".encode())
    connection.execute(f"INSERT INTO {table} VALUES ('Zátopek')".encode())
    before = _contents(connection)
    with database.open() as store:
        for call in (*_everything_that_needs_the_tables(store), store.migrate, store.initialize):
            with pytest.raises(SchemaTooOldError):
                call()
        assert store.schema_status().state is SchemaState.FOREIGN
    assert _contents(connection) == before


def test_the_size_is_that_of_our_tables(database: Database) -> None:
    with database.open() as store:
        assert store.schema_status().size_bytes == 0
        store.initialize()
        assert (store.schema_status().size_bytes or 0) > 8192 * len(metadata.tables)


def test_the_death_of_a_migrator_frees_the_lock_at_once(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start(_STOP_IN_THE_MIDDLE, "1")
    assert process.stdout is not None
    process.stdout.readline()
    waiting = start(_MIGRATE)
    assert waiting.stdin is not None
    waiting.stdin.write("go\n")
    waiting.stdin.flush()
    time.sleep(0.5)
    assert waiting.poll() is None  # the lock is held: one migrator at a time
    process.kill()
    process.communicate()
    assert waiting.communicate(timeout=180)[0] == f"{SCHEMA_VERSION}\n"
