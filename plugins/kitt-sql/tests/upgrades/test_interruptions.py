"""What can happen to an upgrade from outside: kills, a full disk, readers, other migrators."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from kitt_core.errors import StoreUnavailableError
from kitt_core.runs import SchemaState, Severity
from kitt_sql.schema.tables import SCHEMA_VERSION
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore
from kitt_sql.sqlite import database as sqlite_database
from kitt_sql.testing import LegacyRun, insert_run, legacy_runs

RUNS: Final = 120

_MIGRATE: Final = """
import resource, sys
from pathlib import Path
from kitt_core.errors import KittError
import kitt_sql.schema.migrate, kitt_sql.adoption.adopting, kitt_sql.sqlite.old_tables
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore
print("ready", flush=True)
if sys.argv[2:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    with SQLiteStore(SQLiteDatabase(SQLiteFile(Path(sys.argv[1])))) as store:
        store.migrate()
except KittError as error:
    print(error)
    sys.exit(3)
"""

_SAVE: Final = """
import sys
from kitt_sqlite.options import SQLiteOptions
from kitt_sqlite.store import SQLiteResultStore
with SQLiteResultStore(SQLiteOptions()) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    store.save_result({"model": "m", "engine": sys.argv[1]}, run_id=f"new{sys.argv[1]}")
"""


@pytest.fixture
def large(path: Path, make_old: Callable[[int], None]) -> Path:
    """A version-3 database whose upgrade takes long enough to be interrupted halfway."""
    make_old(3)
    text = legacy_runs()[0].text
    with closing(sqlite3.connect(path)) as connection, connection:
        for number in range(RUNS):
            insert_run(connection.execute, LegacyRun(f"run{number:013}", text))
    return path


Spawn = Callable[..., subprocess.Popen[str]]


def _started(spawn: Spawn, path: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _MIGRATE, str(path), *arguments]
    process = spawn(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _assert_whole(path: Path) -> SchemaState:
    """Check that it is the old database or the new one, with every run."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (RUNS + 7,)
    with SQLiteDatabase(SQLiteFile(path)) as database:
        status = database.schema_status()
        assert (status.state, status.version) in {(SchemaState.OLD, 3), (SchemaState.CURRENT, SCHEMA_VERSION)}
        return status.state


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.long)])
def test_kills_at_any_moment_leave_the_old_or_the_new_database(
    large: Path, tmp_path: Path, spawn: Spawn, kills: int
) -> None:
    pristine = tmp_path / "pristine"
    shutil.copyfile(large, pristine)
    undisturbed = _started(spawn, large)
    began = time.monotonic()  # Python's start is not part of the upgrade
    undisturbed.communicate(timeout=180)
    assert undisturbed.returncode == 0
    takes = time.monotonic() - began
    states = []
    for kill in range(kills):
        for file in tmp_path.glob("old.db*"):
            file.unlink()
        shutil.copyfile(pristine, large)
        process = _started(spawn, large)
        time.sleep(takes * kill / kills)
        process.kill()
        process.communicate()
        states.append(_assert_whole(large))
        with SQLiteStore(SQLiteDatabase(SQLiteFile(large))) as store:
            store.migrate()
            assert store.count() == RUNS + 7
        assert list(tmp_path.glob("*.part*")) == []
    assert SchemaState.OLD in states, "the kills came too late"
    with SQLiteStore(SQLiteDatabase(SQLiteFile(large))) as store:
        assert [f for f in store.verify() if f.severity is Severity.DAMAGE] == []


@pytest.mark.parametrize(
    "room", [(1.1, 8.0), pytest.param((0.5, 0.9, 1.0, 1.1, 1.5, 8.0), marks=pytest.mark.long)], ids=["two", "six"]
)
def test_a_full_disk_leaves_the_old_database(
    large: Path, tmp_path: Path, spawn: Spawn, room: tuple[float, ...]
) -> None:
    size = large.stat().st_size
    outcomes = []
    for limit in (int(size * times) for times in room):
        process = _started(spawn, large, str(limit))
        said, _ = process.communicate(timeout=180)
        outcomes.append(process.returncode)
        if process.returncode:
            assert "cannot grow" in said or "cannot be read or written" in said or "cannot be used" in said
            assert _assert_whole(large) is SchemaState.OLD
            assert list(tmp_path.glob("*.bak*")) == []  # it would fill the disk once more
    assert outcomes[0] == 3
    assert outcomes[-1] == 0
    assert _assert_whole(large) is SchemaState.CURRENT


def test_readers_may_go_on_reading_what_they_saw(large: Path) -> None:
    with closing(sqlite3.connect(large)) as reader:
        reader.execute("BEGIN")
        seen = reader.execute("SELECT count(*) FROM metrics").fetchone()
        with SQLiteStore(SQLiteDatabase(SQLiteFile(large))) as store:
            store.migrate()
            assert store.count() == RUNS + 7
        assert reader.execute("SELECT count(*) FROM metrics").fetchone() == seen
    assert _assert_whole(large) is SchemaState.CURRENT


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_another_writer_is_waited_for_only_so_long(
    large: Path, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_database, "PATIENCE", 0.2)
    with closing(sqlite3.connect(large, isolation_level=None)) as other:
        other.execute(f"PRAGMA journal_mode = {journal}")
        other.execute("BEGIN IMMEDIATE")
        with SQLiteDatabase(SQLiteFile(large, busy_timeout=0.1)) as database:
            with pytest.raises(StoreUnavailableError, match="locked by another process"):
                database.migrate()
            other.execute("COMMIT")
            assert database.schema_status().state is SchemaState.OLD
            database.migrate()
    assert _assert_whole(large) is SchemaState.CURRENT


def test_processes_that_save_into_an_old_default_database_upgrade_it_once(
    tmp_path: Path,
    path: Path,
    make_old: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    spawn: Spawn,
) -> None:
    make_old(1)
    path.rename(tmp_path / "kitt.db")
    monkeypatch.setenv("KITT_HOME", str(tmp_path))
    command = [sys.executable, "-c", _SAVE]
    processes = [
        spawn([*command, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for n in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=180)
    assert [process.returncode for process in processes] == [0] * 4
    assert len(list(tmp_path.glob("kitt.db.v1-*.bak"))) == 1
    with SQLiteStore(SQLiteDatabase(SQLiteFile(tmp_path / "kitt.db"))) as store:
        ids = {line.id for line in store.list_results()}
        assert ids == {run.id for run in legacy_runs()} | {f"new{n}" for n in range(4)}
        assert [f for f in store.verify() if f.severity is Severity.DAMAGE] == []
    with closing(sqlite3.connect(tmp_path / "kitt.db")) as connection:
        versions = connection.execute("SELECT version FROM schema_version ORDER BY rowid").fetchall()
    assert versions == [(n,) for n in range(1, SCHEMA_VERSION + 1)]
