"""What only SQLite can be tested for: a failure at each statement, a fork; the kit tests kills."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from kitt_core.errors import StoreUnavailableError
from kitt_core.runs import Severity
from kitt_core.testing import documents
from kitt_sqlite.options import SQLiteOptions
from kitt_sqlite.store import SQLiteResultStore


def _assert_whole(path: Path) -> None:
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        assert [f for f in store.verify() if f.severity is Severity.DAMAGE] == []


class _FailingCursor(sqlite3.Cursor):
    def execute(self, sql: str, *parameters: Any) -> _FailingCursor:
        _Failing.count(sql)
        return super().execute(sql, *parameters)

    def executemany(self, sql: str, parameters: Any, /) -> _FailingCursor:
        _Failing.count(sql)
        return super().executemany(sql, parameters)


class _Failing(sqlite3.Connection):
    """Raises the driver's error instead of running the n-th statement."""

    executed = 0
    fail_at = 0

    @classmethod
    def count(cls, sql: str) -> None:
        cls.executed += 1
        if cls.executed == cls.fail_at:
            raise sqlite3.OperationalError(f"made up for {sql[:20]}")

    def cursor(self, factory: Any = _FailingCursor) -> Any:
        return super().cursor(factory)

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return cast("sqlite3.Cursor", self.cursor().execute(sql, *parameters))

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        return cast("sqlite3.Cursor", self.cursor().executemany(sql, parameters))


@contextmanager
def _failing_at(statement: int) -> Iterator[None]:
    _Failing.executed, _Failing.fail_at = 0, statement
    try:
        yield
    finally:
        _Failing.fail_at = 0


@pytest.mark.parametrize("rolls_up", [False, True])
def test_a_save_that_fails_at_any_statement_leaves_no_row_and_a_usable_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rolls_up: bool
) -> None:
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=_Failing))
    if rolls_up:
        monkeypatch.setattr("kitt_sql.sqlite.rolling._ENOUGH", 0)
    path = tmp_path / "runs.db"
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        store.save_result(documents.STANDARD + b" " * 0)
        with _failing_at(0):
            store.save_result(documents.STANDARD + b" " * 1)
        statements = _Failing.executed
        assert statements >= 7
        before = _row_counts(path)
        for n in range(1, statements + 1):
            with _failing_at(n), pytest.raises(StoreUnavailableError):
                store.save_result(documents.STANDARD + b" " * 2)
            assert _row_counts(path) == before
            store.delete_result(store.save_result(documents.MINIMAL))
    _assert_whole(path)


def _row_counts(path: Path) -> dict[str, int]:
    tables = ("runs", "benchmarks", "metrics", "hardware", "run_documents", "run_labels", "metric_rollup")
    with closing(sqlite3.connect(path, timeout=0.05)) as connection:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


def test_a_store_used_on_both_sides_of_a_fork_keeps_all_runs(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        store.save_result(documents.MINIMAL, run_id="before")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                store.save_result(documents.MINIMAL, run_id="child")
                code = 0
            finally:
                os._exit(code)
        store.save_result(documents.MINIMAL, run_id="parent")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store.count({"id": ["before", "child", "parent"]}) == 3
    _assert_whole(path)


def test_deleting_a_run_that_a_quick_test_names_sets_the_reference_to_null(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        run_id = store.save_result(documents.MINIMAL)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("INSERT INTO agents (id, name, hostname) VALUES ('a', 'box', 'localhost')")
            connection.execute(
                "INSERT INTO quick_tests (id, agent_id, model_path, engine_name, benchmark_name, result_id)"
                " VALUES ('q', 'a', 'm', 'e', 'b', ?)",
                (run_id,),
            )
        assert store.delete_result(run_id) is True
        with closing(sqlite3.connect(path, timeout=0.05)) as connection, connection:
            assert connection.execute("SELECT result_id FROM quick_tests").fetchone() == (None,)
