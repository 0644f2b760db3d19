"""Databases of every version of KITT 1.x, built from the description, with runs of every kind."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kitt_core.runs import SchemaState, Severity
from kitt_sql.adoption.kitt1_schema import DEFAULT_SETTINGS, LAST_VERSION, TABLES
from kitt_sql.schema.released import MIGRATIONS
from kitt_sql.schema.tables import SCHEMA_VERSION
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore
from kitt_sql.testing import TOKEN, legacy_runs

VERSIONS = range(1, LAST_VERSION + 1)
_EVERY = pytest.mark.parametrize("version", VERSIONS, indirect=True)
# The first, one in the middle and the last; the others in the long run.
_SOME = pytest.mark.parametrize(
    "version",
    [n if n in {1, 6, LAST_VERSION} else pytest.param(n, marks=pytest.mark.long) for n in VERSIONS],
    indirect=True,
)


@pytest.fixture
def version(request: pytest.FixtureRequest, make_old: Callable[[int], None]) -> int:
    """The version of the old database, which is made; `_EVERY` or `_SOME` gives it."""
    make_old(request.param)
    number: int = request.param
    return number


def _rows(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


@_SOME
def test_an_old_database_is_recognised_and_refused_until_it_is_migrated(path: Path, version: int) -> None:
    before = path.read_bytes()
    with SQLiteDatabase(SQLiteFile(path)) as database:
        status = database.schema_status()
        assert (status.state, status.version) == (SchemaState.OLD, version)
        assert status.pending == MIGRATIONS[version:]
        assert status.notes[0].startswith("written by KITT 1.x: `kitt storage migrate` adopts it")
        tokens = ["agents with their token in plain text, of which the upgrade keeps only the hash: 2"]
        assert list(status.notes[1:]) == (tokens if version in {2, 3} else [])
        assert database.migrate(dry_run=True) == list(MIGRATIONS[version:])
        assert database.schema_status().version == version
    assert path.read_bytes() == before


@_EVERY
def test_it_becomes_like_a_new_database(path: Path, version: int, new_schema: Any, schema_of: Any) -> None:
    with SQLiteDatabase(SQLiteFile(path)) as database:
        assert database.migrate() == list(MIGRATIONS[version:])
        assert database.migrate() == []
        assert database.schema_status().state is SchemaState.CURRENT
    assert schema_of(path) == new_schema
    assert _rows(path, "SELECT version FROM schema_version") == [(n,) for n in range(1, SCHEMA_VERSION + 1)]
    applied = dict(_rows(path, "SELECT version, applied_at FROM schema_version"))
    assert {n: applied[n] for n in range(1, version + 1)} == {
        n: f"2025-01-01 00:00:{n:02}" for n in range(1, version + 1)
    }
    assert _rows(path, "SELECT migration_id FROM _yoyo_migration ORDER BY 1") == [(name,) for name in MIGRATIONS]
    assert _rows(path, "PRAGMA foreign_key_check") == []


@_SOME
def test_every_run_is_kept_with_its_bytes_and_new_rows(path: Path, version: int) -> None:
    with SQLiteStore(SQLiteDatabase(SQLiteFile(path))) as store:
        store.migrate()
        runs = legacy_runs()
        assert [(run.id, run.document.decode()) for run in store.scan()] == [(run.id, run.text) for run in runs]
        assert [f for f in store.verify() if f.severity is Severity.DAMAGE] == []
        assert store.count({"metrics": "ttft_ms.p99>0"}) == 6
        assert store.count({"metrics": "is_ok>0"}) == 0
        assert store.count({"fingerprint": "NVIDIA*"}) == 1
        times = {line.id: line.timestamp and line.timestamp.isoformat() for line in store.list_results()}
        assert times["offset0000000000"] == "2025-01-15T08:30:00+00:00"
        assert times["zulu000000000000"] == "2025-01-15T09:00:00+00:00"
        assert times["empty00000000000"] is None
    assert dict(_rows(path, "SELECT id, created_at FROM runs")) == {run.id: run.created_at for run in runs}
    entries = dict(_rows(path, "SELECT run_id, count(*) FROM benchmarks GROUP BY 1"))
    assert entries["stump00000000000"] == entries["double0000000000"] == 2
    # Numbers are never used twice: 11 old rows had the first ones.
    assert _rows(path, "SELECT min(id) FROM benchmarks") == [(12,)]


@_SOME
def test_pages_by_the_time_of_saving_hold_every_run_once(path: Path, version: int) -> None:
    with SQLiteStore(SQLiteDatabase(SQLiteFile(path))) as store:
        store.migrate()
        store.save_result({"model": "m", "engine": "e"}, run_id="new")
        for order in ("created_at", "-created_at"):
            pages, after = [], None
            while True:
                page = store.list_results(order_by=order, limit=2, after=after)
                pages += [(line.created_at, line.id) for line in page]
                after = page.next_cursor
                if after is None:
                    break
            assert pages == sorted(pages, reverse=order.startswith("-"))
            assert len({run_id for _, run_id in pages}) == store.count() == 8


@_EVERY
def test_operations_keep_their_rows(path: Path, version: int) -> None:
    tables = [table.name for table in TABLES.values() if 2 <= table.since <= version]
    before = {table: _rows(path, f"SELECT count(*) FROM {table}") for table in tables}
    with SQLiteDatabase(SQLiteFile(path)) as database:
        database.migrate()
    agents = 2 if version >= 2 else 0
    before["agent_settings"] = [(agents * len(DEFAULT_SETTINGS),)]
    assert {table: _rows(path, f"SELECT count(*) FROM {table}") for table in before} == before
    if version < 2:
        return
    assert _rows(path, "SELECT name, token, token_prefix, notes, registered_at, last_heartbeat FROM agents") == [
        ("box-0", "", TOKEN[:8], "Übung", "2025-07-01 09:00:00", "2025-07-02T10:00:00.500000+00:00"),
        ("box-1", "", "f" * 8, "Übung", "2025-07-01 09:00:00", None),
    ]
    assert _rows(path, "SELECT id, result_id, completed_at FROM quick_tests ORDER BY id") == [
        ("test0", "regular000000000", None),
        ("test1", None, None),
    ]
    assert _rows(path, "SELECT config_json, started_at FROM web_campaigns ORDER BY id") == [
        ('{"models": [1.50]}', None),
        ('{"models": [1.50]}', "2025-07-03T01:00:00.000000+00:00"),
    ]
    cleanup = _rows(path, "SELECT value FROM agent_settings WHERE key = 'auto_cleanup' ORDER BY agent_id")
    assert cleanup == [("false" if version >= 8 else "true",), ("true",)]


@_SOME
def test_no_byte_of_a_token_is_left(path: Path, version: int) -> None:
    if version < 2:
        return  # there were no agents yet
    with closing(sqlite3.connect(path)) as connection, connection:
        # As KITT 1.x removed them: the row is shorter, the bytes stay where they were.
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE scrap (secret TEXT)")
        connection.executemany("INSERT INTO scrap VALUES (?)", [(f"{TOKEN}" * 40,)] * 40)
        connection.execute("DROP TABLE scrap")
    with SQLiteDatabase(SQLiteFile(path)) as database:
        database.migrate(backup=False)
        found = [file.name for file in path.parent.glob("old.db*") if TOKEN.encode() in file.read_bytes()]
        assert found == []
