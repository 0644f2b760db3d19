"""Databases that KITT 1.x made in PostgreSQL: complete ones, incomplete ones, and the dump of ``../shared``."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest

from kitt_core.errors import StoreUnavailableError
from kitt_core.runs import SchemaState, Severity
from kitt_core.testing.worker import StoreTarget
from kitt_postgres.testing import installed_servers
from kitt_sql.adoption.kitt1_schema import DEFAULT_SETTINGS
from kitt_sql.schema.released import MIGRATIONS
from kitt_sql.schema.tables import SCHEMA_VERSION
from kitt_sql.testing import POSTGRESQL, TOKEN, create_statements, insert_operations, insert_run, legacy_runs

if TYPE_CHECKING:
    from kitt_postgres.testing import Database, PrivateServer

pytestmark = pytest.mark.each_postgres

DUMP: Final = Path(__file__).parents[4] / "shared/legacy/kitt_v10_postgres.sql"
Driver = psycopg.Connection[tuple[Any, ...]]

OBJECTS: Final = """
    SELECT 'column', c.relname, a.attname, format_type(atttypid, atttypmod), attnotnull::text, attnum::text,
        pg_get_expr(adbin, adrelid)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
    UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', ''
    FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
    UNION ALL SELECT 'index', tablename, indexname, replace(indexdef, current_schema() || '.', ''), '', '', ''
    FROM pg_indexes WHERE schemaname = current_schema()
    UNION ALL SELECT 'object', relkind::text, relname, '', '', '', ''
    FROM pg_class WHERE relnamespace = current_schema()::regnamespace"""


@pytest.fixture
def database(new_database: Callable[[], Database]) -> Database:
    return new_database()


@pytest.fixture
def connect() -> Iterator[Callable[[Database], Driver]]:
    made: list[Driver] = []

    def connect(database: Database) -> Driver:
        made.append(psycopg.connect(database.dsn, autocommit=True, options="-c TimeZone=UTC"))
        if schema := database.options.get("schema"):
            made[-1].execute("SELECT set_config('search_path', %s, false)", [schema])
        return made[-1]

    yield connect
    for connection in made:
        connection.close()


@pytest.fixture
def connection(database: Database, connect: Callable[[Database], Driver]) -> Driver:
    return connect(database)


@pytest.fixture
def new_schema(new_database: Callable[[], Database], connect: Callable[[Database], Driver]) -> set[Any]:
    """Every object of a new database."""
    database = new_database()
    with database.open() as store:
        store.initialize()
    return set(connect(database).execute(OBJECTS))


def make_old(connection: Driver, version: int, *, tables_until: int | None = None) -> None:
    """Make an installation as KITT 1.x does: all tables at once, one version row."""

    def execute(statement: str, parameters: Any = ()) -> None:
        # Naive times are read in the session's zone: KITT 1.x left it to chance, and most servers use UTC.
        connection.execute(statement.replace("?", "%s").encode(), parameters)

    with connection.transaction():
        for statement in create_statements(version, POSTGRESQL, tables_until=tables_until):
            execute(statement)
        execute("INSERT INTO schema_version (version, applied_at) VALUES (?, '2025-01-01T00:00:00Z')", (version,))
        for run in RUNS:
            insert_run(execute, run)
        insert_operations(execute, tables_until or version, result_id="regular000000000")


RUNS: Final = [run for run in legacy_runs() if run.strict and run.text != "{}"]
"""What KITT 1.x can put into PostgreSQL: no NaN, and a timestamp."""


@pytest.fixture(params=[(9, None), (10, None), (11, None), (3, 1), (6, 1)], ids=lambda p: f"v{p[0]}")
def old(request: pytest.FixtureRequest, connection: Driver) -> tuple[int, int | None]:
    version, tables_until = request.param
    make_old(connection, version, tables_until=tables_until)
    return version, tables_until


def test_an_old_database_is_recognised_and_tried_out(
    database: Database, connection: Driver, old: tuple[int, int | None]
) -> None:
    version, tables_until = old
    before = sorted(map(str, connection.execute(OBJECTS)))
    with database.open() as store:
        status = store.schema_status()
        assert (status.state, status.version) == (SchemaState.OLD, version)
        assert "`kitt storage migrate` adopts it" in status.notes[0]
        assert "JSONB" in status.notes[1]
        if tables_until:
            assert "are missing: agents" in status.notes[2]
        assert store.migrate(dry_run=True) == list(MIGRATIONS[version:])
        assert store.schema_status() == status
    assert sorted(map(str, connection.execute(OBJECTS))) == before


def test_it_becomes_like_a_new_database(
    database: Database, connection: Driver, old: tuple[int, int | None], new_schema: set[Any]
) -> None:
    with database.open() as store:
        assert store.migrate() == list(MIGRATIONS[old[0] :])
        assert store.migrate() == []
    assert set(connection.execute(OBJECTS)) == new_schema
    versions = connection.execute("SELECT version, applied_at::text FROM schema_version ORDER BY 1").fetchall()
    assert [version for version, _ in versions] == list(range(1, SCHEMA_VERSION + 1))
    assert versions[old[0] - 1][1] == "2025-01-01 00:00:00+00"


def test_every_run_is_kept_with_its_document_and_new_rows(
    database: Database, connection: Driver, old: tuple[int, int | None]
) -> None:
    texts: dict[str, str] = dict(connection.execute("SELECT id, raw_json::text FROM runs"))
    created: dict[str, datetime] = dict(connection.execute("SELECT id, created_at FROM runs"))
    ((benchmark, metric),) = connection.execute(
        "SELECT (SELECT last_value FROM benchmarks_id_seq), (SELECT last_value FROM metrics_id_seq)"
    )
    with database.open() as store:
        store.migrate()
        assert {run.id: run.document.decode() for run in store.scan()} == texts
        assert {run.id: run.created_at for run in store.scan()} == created
        assert {run.id: store.get_result(run.id) for run in RUNS} == {run.id: json.loads(run.text) for run in RUNS}
        assert [f for f in store.verify() if f.severity is Severity.DAMAGE] == []
        assert store.count({"metrics": "ttft_ms.p99>0"}) == len(RUNS)
        assert store.count({"metrics": "is_ok>0"}) == 0
        lines = {line.id: line for line in store.list_results()}
        assert lines["regular000000000"].total_time_seconds == 123456.789
        times = {run_id: line.timestamp and line.timestamp.isoformat() for run_id, line in lines.items()}
        assert times["offset0000000000"] == "2025-01-15T08:30:00+00:00"
        assert times["regular000000000"] == "2025-07-30T10:06:27.799140+00:00"
        store.save_result({"model": "m", "engine": "e", "results": [{"metrics": {"x": 1}}]})
    assert connection.execute("SELECT min(id) > %s FROM benchmarks", [benchmark]).fetchone() == (True,)
    assert connection.execute("SELECT min(id) > %s FROM metrics", [metric]).fetchone() == (True,)
    same = (
        "SELECT count(*) FROM runs JOIN run_documents ON run_id = id"
        " WHERE raw_json = convert_from(document, 'UTF8')::jsonb"
    )
    assert connection.execute(same.encode()).fetchone() == (len(RUNS) + 1,)


def test_operations_keep_their_rows(database: Database, connection: Driver, old: tuple[int, int | None]) -> None:
    with database.open() as store:
        store.migrate()
    if old[1]:
        assert connection.execute("SELECT count(*) FROM agents").fetchone() == (0,)
        return
    agents = "SELECT name, token, token_prefix, last_heartbeat::text, registered_at::text FROM agents ORDER BY 1"
    assert connection.execute(agents).fetchall() == [
        ("box-0", "", TOKEN[:8], "2025-07-02 10:00:00.5+00", "2025-07-01 09:00:00+00"),
        ("box-1", "", "f" * 8, None, "2025-07-01 09:00:00+00"),
    ]
    tests = "SELECT id, result_id, completed_at FROM quick_tests ORDER BY 1"
    assert connection.execute(tests).fetchall() == [("test0", "regular000000000", None), ("test1", None, None)]
    campaign = "SELECT config_json->'models'->0, started_at::text FROM web_campaigns WHERE id = 'camp1'"
    assert connection.execute(campaign).fetchone() == (1.5, "2025-07-03 01:00:00+00")
    assert connection.execute("SELECT DISTINCT data->>'status' FROM events").fetchall() == [("online",)]
    settings = connection.execute("SELECT count(*) FROM agent_settings").fetchone()
    assert settings == (2 * len(DEFAULT_SETTINGS),)
    kept = connection.execute("SELECT value FROM agent_settings WHERE key = 'auto_cleanup' ORDER BY agent_id")
    assert kept.fetchall() == [("false",), ("true",)]
    connection.execute("INSERT INTO events (event_type, source_id, data) VALUES ('a', 'b', '{}')")  # a new number


def test_plain_tokens_are_hashed(database: Database, connection: Driver) -> None:
    make_old(connection, 10)
    connection.execute("UPDATE agents SET token = %s, token_hash = '', token_prefix = ''", [TOKEN])
    with database.open() as store:
        assert "agents with their token in plain text" in store.schema_status().notes[-1]
        store.migrate()
    rows = connection.execute("SELECT DISTINCT token, length(token_hash), token_prefix FROM agents").fetchall()
    assert rows == [("", 64, TOKEN[:8])]


def test_texts_that_are_not_json_and_unreadable_times_do_not_stop_it(
    database: Database, connection: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    make_old(connection, 10)
    connection.execute("UPDATE events SET data = 'no json'")
    connection.execute("""UPDATE web_campaigns SET started_at = 'yesterday', config_json = '{"a": NaN}'""")
    with database.open() as store:
        store.migrate()
    assert connection.execute("SELECT DISTINCT data FROM events").fetchall() == [("no json",)]
    assert (
        connection.execute("SELECT started_at, config_json FROM web_campaigns").fetchall()
        == [(None, {"a": None})] * 2
    )
    assert "rows with a time that cannot be read: 2 (web_campaigns camp0, web_campaigns camp1)" in caplog.text


def test_roles_that_may_read_the_old_tables_may_read_the_new_ones(database: Database, connection: Driver) -> None:
    make_old(connection, 10)
    connection.execute("GRANT SELECT ON runs TO PUBLIC")
    with database.open() as store:
        store.migrate()
    assert connection.execute(
        "SELECT relacl::text LIKE '%=r/%' FROM pg_class WHERE oid = 'runs'::regclass"
    ).fetchone() == (True,)


def test_somebody_elses_view_is_named_as_the_reason_and_nothing_is_changed(
    database: Database, connection: Driver
) -> None:
    make_old(connection, 10)
    connection.execute("CREATE VIEW mine AS SELECT model FROM runs")
    before = sorted(map(str, connection.execute(OBJECTS)))
    with database.open() as store:
        with pytest.raises(StoreUnavailableError, match="views or tables that depend on"):
            store.migrate()
        assert sorted(map(str, connection.execute(OBJECTS))) == before
        connection.execute("DROP VIEW mine")
        assert store.migrate() == list(MIGRATIONS[10:])


def test_a_reader_that_stays_in_its_transaction_delays_it_only_so_long(
    database: Database, connection: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitt_postgres.old_tables._LOCK_TIMEOUT", "200ms")
    make_old(connection, 10)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM runs")  # as KITT 1.x leaves its connections
    with database.open() as store:
        with pytest.raises(StoreUnavailableError, match="locked by another session"):
            store.migrate()
        connection.execute("COMMIT")
        assert store.migrate() == list(MIGRATIONS[10:])


@pytest.fixture
def dump(postgres_server: PrivateServer) -> Iterator[str]:
    """A database as KITT 1.x left it, loaded by the server's own psql: the dump's COPY blocks need it."""
    if not DUMP.exists():
        pytest.skip("../shared is not next to this checkout")
    dsn = postgres_server.create_database("legacy")
    (psql,) = (
        server.directory / "psql" for server in installed_servers() if server.major == postgres_server.major
    )
    command: list[str | Path] = [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", DUMP]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    yield dsn
    postgres_server.drop_database("legacy")


def test_the_shared_dump_keeps_what_its_readme_says(dump: str, new_schema: set[Any]) -> None:
    with psycopg.connect(dump, autocommit=True) as connection, StoreTarget(dump).open() as store:
        plain = "SELECT run_id, run_number, test_name, metric_name, metric_value FROM metrics m JOIN benchmarks b"
        plain += " ON b.id = benchmark_id WHERE strpos(metric_name, '.') = 0 ORDER BY 1, 2, 3, 4"
        before = connection.execute(plain.encode()).fetchall()
        instants: dict[str, datetime] = dict(connection.execute("SELECT id, timestamp FROM runs"))
        assert store.migrate() == list(MIGRATIONS[10:])
        assert set(connection.execute(OBJECTS)) == new_schema
        assert list(store.verify()) == []
        assert connection.execute(plain.encode()).fetchall() == before
        assert len(before) == 864
        assert dict(connection.execute("SELECT id, timestamp FROM runs")) == instants
        totals: dict[str, float] = dict(connection.execute("SELECT id, total_time_seconds FROM runs"))
        assert totals == {
            "83a7101fc5a049ea": 1851.529,
            "3993f8dafe1d41df": 1456.909,
            "b23c6ef4003e4fc7": 3152.5,
        }
        assert store.get_result("83a7101fc5a049ea")["timestamp"] == "2025-04-10T09:16:26.665383"  # type: ignore[index]  # it is there
        (row,) = store.aggregate("kitt_version", "avg_tps", statistics=("count", "avg"))
        assert (row["avg_tps_count"], round(row["avg_tps_avg"], 6)) == (72, 93.411944)
        assert connection.execute("SELECT min(id) FROM benchmarks").fetchone() == (73,)
        assert connection.execute("SELECT min(id) FROM metrics").fetchone() == (865,)
        store.save_result({"model": "m", "engine": "e"})
