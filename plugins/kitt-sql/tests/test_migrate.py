"""Migrations: all or nothing, one migrator at a time, nothing printed, never changed once released."""

import hashlib
import inspect
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest
from yoyo.backends.base import DatabaseBackend

from kitt_core.errors import MigrationError, SchemaMissingError, SchemaTooNewError, SchemaTooOldError
from kitt_core.runs import SchemaState
from kitt_sql.schema import migrate as migrations
from kitt_sql.schema.tables import SCHEMA_VERSION
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore

DOCUMENT = {"model": "m", "engine": "e"}

RELEASED = {
    "kitt-0001-results.sql": "5d4155b35ebca214b568d51ff8ccfd5e3836fd4695614b2ae28c6027e13c62d0",
    "kitt-0002-operations.sql": "894105cb63f5c431ab3eba70d4ce6437b61c24066839ecc6a037c92736536293",
    "kitt-0003-web-settings.sql": "0f5ecac24b0d79d332903b87947c88cedea622cd6a626888856d485c8deb2fb9",
    "kitt-0004-agent-token-hash.sql": "272ae986d21b55924c15b476e4550c21c55ecaa87b2556ddbc3605da170c9de7",
    "kitt-0005-agent-hardware.sql": "de4ee4a1a401ddec2e162e3822201395fed1e660bce209a8fd3397c9f9412b1e",
    "kitt-0006-quick-test-command.sql": "ed24a04d718f81c1e49baa3bf47eb30a39d765eb5118c078f2e3409e0f88bec9",
    "kitt-0007-quick-test-logs.sql": "2e1fd6c451eaf51f373780b0f3078185df93235b6f7519a5d77a9d4b5f115e47",
    "kitt-0008-agent-settings.sql": "2fcdb673ad2e3e105112dc36e11da433ece7c4b5c1f930efb38519954c3f4ce0",
    "kitt-0009-agent-architecture.sql": "30624da01682ad19834fa4aa87185516353f4bd31841b8f65dd58149efdd53bf",
    "kitt-0010-campaign-logs.sql": "541c31193d02282f5012d2bba6c2947dcc6363bd1e790a41546832157e96520b",
    "kitt-0011-engine-profiles.sql": "4ae1a07cce95ed73f66c083b8d27894ec4bf6ff878d117f3b0f4a398918622c7",
    "kitt-0012-documents-and-labels.sql": "5918c29c0e55d2db942792ce7c890f3727a036125b0fe3565c63adcc7669cdfe",
    "kitt-0013-metric-rollup.sql": "004da6d87474a6c26a2e8c65c9ceb953741988774b686b6daf094b6557c51eea",
}
"""SHA-256 of each released migration: a released file never changes, a correction is a new migration."""


def _store(path: Path, **options: bool) -> SQLiteStore:
    return SQLiteStore(SQLiteDatabase(SQLiteFile(path), **options))


def _at_version(path: Path, version: int) -> None:
    """Make a current database look as if the later migrations were still pending."""
    with _store(path) as store:
        store.initialize()
    with closing(sqlite3.connect(path)) as connection, connection:
        names = migrations.migration_names()[version:]
        connection.executemany("DELETE FROM _yoyo_migration WHERE migration_id = ?", [(name,) for name in names])
        connection.execute("DELETE FROM schema_version WHERE version > ?", (version,))
        if version < 13:
            connection.executescript(
                "DROP TABLE metric_names; DROP TABLE rolled_runs; DROP TABLE metric_rollup;"
                "DROP INDEX idx_runs_model_engine_passed_timestamp; DROP INDEX idx_runs_columns"
            )
        if version < 12:
            connection.executescript(
                "DROP TABLE run_documents; DROP TABLE run_labels;"
                "DROP INDEX idx_runs_model_timestamp; DROP INDEX idx_runs_engine_timestamp"
            )


def test_released_migrations_never_change() -> None:
    folder = resources.files("kitt_sql.schema").joinpath("migrations")
    found = {
        f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir() if f.name.endswith(".sql")
    }
    assert found == RELEASED


def test_the_wrapper_of_yoyo_overrides_what_its_docstring_names_and_yoyo_still_has_it() -> None:
    wrapper = migrations._BorrowedBackend
    overridden = {name for name, value in vars(wrapper).items() if callable(value) and name != "__init__"}
    assert overridden == set(re.findall(r"`(\w+)`", inspect.getdoc(wrapper) or ""))
    for name in overridden:
        assert callable(getattr(DatabaseBackend, name, None)), name


def test_nothing_is_printed_and_names_are_returned_in_order(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    steps: list[tuple[int, int | None]] = []
    with _store(tmp_path / "runs.db") as store:
        applied = store.migrate(progress=lambda done, total: steps.append((done, total)))
        again = store.migrate()
    assert applied == migrations.migration_names()
    assert again == []
    assert steps == [(n, SCHEMA_VERSION) for n in range(1, SCHEMA_VERSION + 1)]
    assert capfd.readouterr() == ("", "")


def test_no_name_of_user_or_host_is_kept(tmp_path: Path) -> None:
    with _store(tmp_path / "runs.db") as store:
        store.initialize()
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        assert set(connection.execute("SELECT username, hostname FROM _yoyo_log")) == {(None, None)}


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    _at_version(path, 11)
    with _store(path) as store:
        assert store.migrate(dry_run=True) == migrations.migration_names()[11:]
        assert store.schema_status().version == 11
    assert list(tmp_path.glob("*.bak")) == []


def test_a_dry_run_on_a_missing_file_leaves_no_file(tmp_path: Path) -> None:
    with _store(tmp_path / "runs.db") as store:
        assert store.migrate(dry_run=True) == migrations.migration_names()
    assert list(tmp_path.iterdir()) == []


def test_an_older_database_is_refused_until_it_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    _at_version(path, 11)
    with _store(path) as store:
        for call in (store.count, lambda: store.save_result(DOCUMENT), lambda: list(store.scan())):
            with pytest.raises(SchemaTooOldError, match="kitt storage migrate"):
                call()
        assert store.schema_status().pending == ("kitt-0012-documents-and-labels", "kitt-0013-metric-rollup")
        assert store.migrate() == ["kitt-0012-documents-and-labels", "kitt-0013-metric-rollup"]
        store.save_result(DOCUMENT)
        assert store.count() == 1


def test_a_copy_that_only_the_owner_may_read_is_made_before_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    _at_version(path, 11)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO web_settings VALUES ('devon_url', 'http://devon:8000')")
    with _store(path) as store:
        store.migrate()
    (copy,) = tmp_path.glob("runs.db.v11-*.bak")
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT max(version) FROM schema_version").fetchone() == (11,)
        assert connection.execute("SELECT value FROM web_settings").fetchone() == ("http://devon:8000",)


def test_no_copy_is_made_on_request(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    _at_version(path, 11)
    with _store(path) as store:
        store.migrate(backup=False)
    assert list(tmp_path.glob("*.bak")) == []


def test_the_default_database_is_upgraded_before_the_first_write_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "runs.db"
    _at_version(path, 11)
    with _store(path, auto_migrate=True) as store:
        with pytest.raises(SchemaTooOldError):
            store.count()  # reading changes nothing
        store.save_result(DOCUMENT)
        assert store.count() == 1
    assert "is upgraded from schema version 11" in caplog.text
    assert len(list(tmp_path.glob("*.bak"))) == 1


def test_a_newer_database_is_refused_and_left_untouched(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    _at_version(path, SCHEMA_VERSION)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO schema_version (version) VALUES (99)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.read_bytes()
    with _store(path) as store:
        for call in (store.count, store.migrate, store.initialize, lambda: store.save_result(DOCUMENT)):
            with pytest.raises(SchemaTooNewError, match="99"):
                call()
        assert store.schema_status().state is SchemaState.NEW
    assert path.read_bytes() == before


def test_a_database_of_something_else_is_not_filled_with_our_tables(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    with _store(path) as store, pytest.raises(SchemaMissingError, match="kitt storage init"):
        store.count()


def test_a_failure_at_any_statement_leaves_no_trace_and_the_next_attempt_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(migrations._ExpandingCursor):
        executed = 0
        fail_at = 0

        def execute(self, statement: str, parameters: object = ()) -> None:
            Failing.executed += 1
            if Failing.executed == Failing.fail_at:
                raise sqlite3.OperationalError("disk I/O error")
            super().execute(statement, parameters)  # type: ignore[arg-type]  # passed on unchanged

    monkeypatch.setattr(migrations, "_ExpandingCursor", Failing)
    path = tmp_path / "runs.db"
    with _store(path) as store:
        store.migrate(dry_run=True)
        total = Failing.executed
        for fail_at in range(1, total + 1, 7):
            Failing.executed, Failing.fail_at = 0, fail_at
            with pytest.raises(Exception, match=r"cannot be (used|read)"):
                store.migrate()
            assert store.schema_status().state is SchemaState.MISSING
        Failing.fail_at = 0
        assert len(store.migrate()) == SCHEMA_VERSION


def test_a_broken_reference_after_the_steps_rolls_the_upgrade_back(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    _at_version(path, 11)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO hardware (run_id) VALUES ('nobody')")
    with _store(path) as store:
        with pytest.raises(MigrationError, match=r"would break: 1$"):
            store.migrate()
        assert store.schema_status().version == 11


def test_threads_that_open_first_migrate_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    barrier = threading.Barrier(6)
    errors: list[BaseException] = []

    def open_and_save() -> None:
        with _store(path) as store:
            barrier.wait()
            try:
                store.save_result(DOCUMENT)
            except BaseException as error:  # noqa: BLE001  # checked below
                errors.append(error)

    threads = [threading.Thread(target=open_and_save) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    _assert_one_history(path, runs=6)


_SAVE_ONCE = """
import sys
from pathlib import Path
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore
with SQLiteStore(SQLiteDatabase(SQLiteFile(Path(sys.argv[1])))) as store:
    sys.stdin.readline()
    store.save_result({"model": "m", "engine": "e"})
"""


def test_processes_that_open_first_migrate_once(
    tmp_path: Path, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    path = tmp_path / "runs.db"
    command = [sys.executable, "-c", _SAVE_ONCE, str(path)]
    processes = [spawn(command, stdin=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.close()
    assert [process.wait(timeout=180) for process in processes] == [0] * 4
    _assert_one_history(path, runs=4)


def _assert_one_history(path: Path, *, runs: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        versions = [row[0] for row in connection.execute("SELECT version FROM schema_version ORDER BY rowid")]
        assert versions == list(range(1, SCHEMA_VERSION + 1))
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (runs,)
