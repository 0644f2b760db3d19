"""What old migrations, crashes and people have done to databases of KITT 1.x: each comes out like a new one."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from kitt_core.runs import SchemaState, Severity
from kitt_core.testing.documents import multiplying_names
from kitt_core.testing.storage import little_memory_for
from kitt_sql.schema.tables import SCHEMA_VERSION
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore
from kitt_sql.testing import TOKEN, legacy_runs

_SECOND_VERSION_TABLE: Final = "DROP TABLE schema_version; CREATE TABLE schema_version (version INTEGER NOT NULL);"

ODDITIES: Final = {
    "duplicate version rows": (
        10,
        "INSERT INTO schema_version (version) VALUES (2), (3), (2), (3)",
        "surplus rows in schema_version: 4",
    ),
    "missing version rows": (
        10,
        "DELETE FROM schema_version WHERE version IN (4, 7)",
        "schema_version lacks 4, 7",
    ),
    "no version row": (10, "DELETE FROM schema_version", "no version is recorded"),
    "a number that is not a version": (
        10,
        "INSERT INTO schema_version (version) VALUES (-3), (0)",
        "schema_version has numbers that are not versions: -3, 0",
    ),
    "one row alone": (10, "DELETE FROM schema_version WHERE version < 10", None),
    "no time of applying": (
        10,
        f"{_SECOND_VERSION_TABLE} INSERT INTO schema_version VALUES (10)",
        None,
    ),
    "a column before its version": (
        3,
        "ALTER TABLE agents ADD COLUMN token_hash TEXT DEFAULT ''",
        "column agents.token_hash of version 4 already exists",
    ),
    "a version without its column": (
        5,
        "ALTER TABLE agents DROP COLUMN hardware_details",
        "column agents.hardware_details of version 5 is missing",
    ),
    "a table before its version": (
        6,
        (
            "CREATE TABLE quick_test_logs (id INTEGER PRIMARY KEY AUTOINCREMENT, test_id TEXT NOT NULL,"
            " line TEXT NOT NULL, created_at TEXT NOT NULL DEFAULT (datetime('now')))"
        ),
        "tables of a later version already exist: quick_test_logs",
    ),
    "a version without its tables": (
        10,
        "DROP TABLE campaign_logs; DROP TABLE agent_settings",
        "tables of version 10 are missing: agent_settings, campaign_logs",
    ),
    "only the tables of runs": (
        10,
        (
            "DROP TABLE campaign_logs; DROP TABLE quick_test_logs; DROP TABLE agent_settings;"
            "DROP TABLE quick_tests;"
            "DROP TABLE web_campaigns; DROP TABLE agents; DROP TABLE events; DROP TABLE web_settings"
        ),
        (
            "tables of version 10 are missing: agents, web_campaigns, quick_tests, events,"
            " web_settings, quick_test_logs, agent_settings, campaign_logs"
        ),
    ),
    "no table of versions": (10, "DROP TABLE schema_version", "no version is recorded"),
    "the index by its later name": (
        10,
        "DROP INDEX idx_runs_suite; CREATE INDEX idx_runs_suite_name ON runs (suite_name)",
        None,
    ),
    "no index at all": (10, "DROP INDEX idx_runs_suite; DROP INDEX idx_metrics_name", None),
    "an index of the user's": (10, "CREATE INDEX mine ON runs (passed)", None),
    "a trigger of the user's": (
        10,
        "CREATE TRIGGER mine AFTER INSERT ON runs BEGIN DELETE FROM metrics; END",
        None,
    ),
    "a column of the user's": (
        10,
        "ALTER TABLE runs ADD COLUMN comment TEXT",
        "columns that are not KITT's will not be kept: runs.comment",
    ),
    "another order of columns": (
        10,
        (
            "CREATE TABLE other AS SELECT created_at, raw_json, id, engine, model, timestamp, suite_name, passed,"
            " total_benchmarks, passed_count, failed_count, total_time_seconds, kitt_version FROM runs;"
            "DROP TABLE runs; ALTER TABLE other RENAME TO runs"
        ),
        None,
    ),
    "broken references": (
        11,
        (
            "PRAGMA foreign_keys = OFF; INSERT INTO metrics (benchmark_id, metric_name) VALUES (999, 'x');"
            "INSERT INTO hardware (run_id) VALUES ('nobody'); UPDATE web_campaigns SET agent_id = '';"
            "UPDATE quick_tests SET result_id = 'gone' WHERE id = 'test1';"
            "INSERT INTO agent_settings (agent_id, key) VALUES ('gone', 'x')"
        ),
        None,
    ),
    "documents as bytes": (10, "UPDATE runs SET raw_json = CAST(raw_json AS BLOB)", None),
    "version 11 stamped 10": (
        11,
        "DELETE FROM schema_version WHERE version = 11",
        "tables of a later version already exist: engine_profiles, agent_engines",
    ),
}


@pytest.fixture(params=list(ODDITIES))
def odd(request: pytest.FixtureRequest, path: Path, make_old: Callable[[int], None]) -> str | None:
    version, script, note = ODDITIES[request.param]
    make_old(version)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return note


@pytest.mark.parametrize("script", ["DELETE FROM schema_version", "UPDATE schema_version SET version = -version"])
def test_without_a_version_no_table_is_early_or_missing(
    path: Path, make_old: Callable[[int], None], script: str
) -> None:
    make_old(10)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    with SQLiteDatabase(SQLiteFile(path)) as database:
        status = database.schema_status()
    assert (status.version, len(status.pending)) == (None, SCHEMA_VERSION)
    notes = " ".join(status.notes)
    assert "no version is recorded" in notes
    assert "later version" not in notes
    assert "missing" not in notes
    assert "already exists" not in notes


def test_an_odd_database_becomes_like_a_new_one(
    path: Path, odd: str | None, new_schema: Any, schema_of: Any
) -> None:
    with SQLiteStore(SQLiteDatabase(SQLiteFile(path))) as store:
        status = store.schema_status()
        assert status.state is SchemaState.OLD
        assert odd is None or odd in status.notes
        store.migrate()
        assert store.migrate() == []
        assert [(run.id, run.document.decode()) for run in store.scan()] == [
            (run.id, run.text) for run in legacy_runs()
        ]
        assert [f for f in store.verify() if f.severity is Severity.DAMAGE] == []
    assert schema_of(path) == new_schema
    with closing(sqlite3.connect(path)) as connection:
        versions = connection.execute("SELECT version FROM schema_version").fetchall()
        assert versions == [(n,) for n in range(1, SCHEMA_VERSION + 1)]
        assert connection.execute("SELECT count(*) FROM agents WHERE token <> ''").fetchone() == (0,)


def _changed(path: Path, version: int, make_old: Callable[[int], None], *scripts: str) -> sqlite3.Connection:
    """Make an old database, change it, adopt it, and return a connection to it."""
    make_old(version)
    with closing(sqlite3.connect(path)) as connection:
        for script in scripts:
            connection.executescript(script)
    with SQLiteDatabase(SQLiteFile(path)) as database:
        database.migrate()
    return sqlite3.connect(path)


def test_a_token_that_was_left_after_version_4_is_hashed(path: Path, make_old: Callable[[int], None]) -> None:
    script = f"UPDATE agents SET token = '{TOKEN}', token_hash = '', token_prefix = '' WHERE id = 'agent1'"
    with closing(_changed(path, 10, make_old, script)) as connection:
        row = connection.execute(
            "SELECT token, token_hash, token_prefix FROM agents WHERE id = 'agent1'"
        ).fetchone()
    assert row == ("", hashlib.sha256(TOKEN.encode()).hexdigest(), TOKEN[:8])


def test_broken_references_become_null_and_rows_that_need_them_are_left_out(
    path: Path, make_old: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    with closing(_changed(path, 11, make_old, ODDITIES["broken references"][1])) as connection:
        assert connection.execute("SELECT DISTINCT agent_id FROM web_campaigns").fetchall() == [(None,)]
        assert connection.execute("SELECT result_id FROM quick_tests ORDER BY id").fetchall() == [
            ("regular000000000",),
            (None,),
        ]
        assert connection.execute("SELECT count(*) FROM agent_settings").fetchone() == (12,)
    assert "rows that refer to missing agents and were left out: 1 (agent_settings 2)" in caplog.text


def test_unreadable_times_in_other_columns_become_null_and_are_named(
    path: Path, make_old: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    scripts = (
        "UPDATE agents SET last_heartbeat = 'soon' WHERE id = 'agent1'",
        "UPDATE runs SET created_at = 'once' WHERE id = 'zulu000000000000'",
    )
    with closing(_changed(path, 10, make_old, *scripts)) as connection:
        assert connection.execute("SELECT last_heartbeat FROM agents WHERE id = 'agent1'").fetchone() == (None,)
    assert "rows with a time that cannot be read: 1 (agents agent1)" in caplog.text
    assert "runs whose created_at cannot be read and was set to the time of the upgrade: 1 (zulu0" in caplog.text
    with SQLiteStore(SQLiteDatabase(SQLiteFile(path))) as store:
        assert [f for f in store.verify() if f.severity is Severity.DAMAGE] == []


@pytest.mark.parametrize("damage", ['\'{"model": "m", \'', "'[1, 2]'", "'no json'", "CAST(X'7BFF7D' AS TEXT)"])
def test_a_run_whose_document_is_damaged_keeps_its_text_and_its_rows(
    path: Path, make_old: Callable[[int], None], damage: str
) -> None:
    script = f"UPDATE runs SET raw_json = {damage} WHERE id = 'regular000000000'"
    with closing(_changed(path, 10, make_old, script)) as connection:
        text = connection.execute(
            f"SELECT CAST(raw_json AS BLOB) = CAST({damage} AS BLOB), model, timestamp, passed FROM runs"
            " WHERE id = 'regular000000000'"
        ).fetchone()
        assert text == (1, "org/model-0", "2025-07-30T10:06:27.799140+00:00", 1)
        rows = connection.execute(
            "SELECT test_name, passed, metric_name, metric_value FROM benchmarks b"
            " JOIN metrics ON benchmark_id = b.id"
            " WHERE run_id = 'regular000000000' ORDER BY 1, 3"
        ).fetchall()
        assert rows[:2] == [("latency", 1, "avg_tps", 40.25), ("latency", 1, "is_ok", 1.0)]
        machine = "SELECT gpu_model, cpu_cores FROM hardware WHERE run_id = 'regular000000000'"
        assert connection.execute(machine).fetchall() == [("NVIDIA GB10", 20)]
    with SQLiteStore(SQLiteDatabase(SQLiteFile(path))) as store:
        damaged = [f.run_id for f in store.verify() if f.severity is Severity.DAMAGE]
    assert damaged == ["regular000000000"]


def test_runs_without_an_id_get_one(path: Path, make_old: Callable[[int], None]) -> None:
    script = "UPDATE runs SET id = NULL WHERE id IN ('zulu000000000000', 'offset0000000000')"
    with closing(_changed(path, 1, make_old, "PRAGMA foreign_keys = OFF;" + script)) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM runs")]
    assert len(set(ids)) == 7
    assert all(ids)


def test_an_installation_that_was_killed_in_its_first_moments_is_finished(
    path: Path, new_schema: Any, schema_of: Any
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE schema_version (version INTEGER NOT NULL, applied_at TEXT)")
    with SQLiteStore(SQLiteDatabase(SQLiteFile(path))) as store:
        assert store.schema_status().state is SchemaState.OLD
        store.migrate()
        store.save_result({"model": "m", "engine": "e"})
    assert schema_of(path) == new_schema


def test_tables_and_views_of_the_user_stay_as_they_are(path: Path, make_old: Callable[[int], None]) -> None:
    script = (
        "CREATE TABLE notes (run_id TEXT REFERENCES runs (id), note TEXT);"
        "INSERT INTO notes VALUES ('regular000000000', 'good');"
        "CREATE VIEW best AS SELECT id, model FROM runs WHERE passed;"
        "CREATE VIEW broken AS SELECT x FROM nowhere"
    )
    with closing(_changed(path, 10, make_old, script)) as connection:
        assert connection.execute("SELECT note, model FROM notes JOIN runs ON id = run_id").fetchall() == [
            ("good", "org/model-0")
        ]
        assert len(connection.execute("SELECT * FROM best").fetchall()) == 6
        assert connection.execute("PRAGMA foreign_key_list(notes)").fetchone()[2] == "runs"


def test_a_log_that_kitt_1_left_next_to_the_file_is_part_of_it(
    path: Path, make_old: Callable[[int], None]
) -> None:
    make_old(10)
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("UPDATE web_settings SET value = 'http://late:1'")
        writer.commit()
        assert path.with_name("old.db-wal").stat().st_size > 0
        with SQLiteDatabase(SQLiteFile(path)) as database:
            database.migrate()
        (copy,) = path.parent.glob("*.bak")
        for file in (path, copy):
            with closing(sqlite3.connect(file)) as connection:
                assert connection.execute("SELECT value FROM web_settings").fetchone() == ("http://late:1",)


def test_a_hostile_document_takes_little_memory(path: Path, make_old: Callable[[int], None]) -> None:
    make_old(10)
    hostile = multiplying_names(200_000)
    with closing(sqlite3.connect(path)) as connection:
        ((run_id,),) = connection.execute("SELECT id FROM runs LIMIT 1").fetchall()
        connection.execute("UPDATE runs SET raw_json = ? WHERE id = ?", (hostile.decode(), run_id))
        connection.commit()
    with SQLiteStore(SQLiteDatabase(SQLiteFile(path))) as store, little_memory_for(hostile):
        store.migrate()
        assert store.get_document(run_id) == hostile
