"""A failure at every statement of an upgrade, the connection dropped uncommitted: the database is as it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kitt_core.errors import KittError
from kitt_core.runs import SchemaState, Severity
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore
from kitt_sql.testing import legacy_runs


class _Cursor(sqlite3.Cursor):
    """Counts statements; from the one chosen to fail on, nothing works on that connection."""

    counting: ClassVar[bool] = False
    executed: ClassVar[int] = 0
    fail_at: ClassVar[int] = 0

    def execute(self, statement: str, parameters: Any = ()) -> _Cursor:
        self._count()
        return super().execute(statement, parameters)

    def executemany(self, statement: str, rows: Iterable[Any]) -> _Cursor:
        self._count()
        return super().executemany(statement, rows)

    def _count(self) -> None:
        if not _Cursor.counting:
            return
        _Cursor.executed += 1
        assert isinstance(self.connection, _Connection)
        self.connection.is_dropped |= _Cursor.executed == _Cursor.fail_at
        if self.connection.is_dropped:
            raise sqlite3.OperationalError("disk I/O error")


class _Connection(sqlite3.Connection):
    is_dropped = False

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch, path: Path) -> Callable[[int], bool]:
    """Migrate with the n-th statement failing; return whether it succeeded all the same."""
    real = sqlite3.connect
    monkeypatch.setattr(
        "sqlite3.connect", lambda *given, **options: real(*given, **{"factory": _Connection} | options)
    )

    def attempt(fail_at: int) -> bool:
        _Cursor.executed, _Cursor.fail_at, _Cursor.counting = 0, fail_at, True
        try:
            with SQLiteDatabase(SQLiteFile(path, synchronous="OFF")) as database:
                database.migrate()
        except KittError:
            return False
        finally:
            _Cursor.counting = False
        return True

    return attempt


def _contents(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return list(connection.iterdump())


STEPS = pytest.mark.parametrize(
    "step", [4, pytest.param(1, marks=pytest.mark.long)], ids=["every fourth", "every"]
)


def _fail_everywhere(path: Path, attempt: Callable[[int], bool], step: int) -> int:
    """Let each statement fail in turn, until an attempt succeeds; return how many there were."""
    before = _contents(path)
    fail_at = 1
    while not attempt(fail_at):
        assert _contents(path) == before, fail_at
        assert list(path.parent.glob("*.bak*")) == []
        fail_at += step
    return fail_at


@STEPS
def test_from_an_empty_database(path: Path, attempt: Callable[[int], bool], step: int) -> None:
    path.touch()
    assert _fail_everywhere(path, attempt, step) > 60
    with SQLiteStore(SQLiteDatabase(SQLiteFile(path))) as store:
        assert store.schema_status().state is SchemaState.CURRENT
        store.save_result({"model": "m", "engine": "e"})


@STEPS
def test_from_version_3_with_data(
    path: Path, make_old: Callable[[int], None], attempt: Callable[[int], bool], step: int
) -> None:
    make_old(3)
    assert _fail_everywhere(path, attempt, step) > 90
    with SQLiteStore(SQLiteDatabase(SQLiteFile(path))) as store:
        assert [run.id for run in store.scan()] == [run.id for run in legacy_runs()]
        assert [f for f in store.verify() if f.severity is Severity.DAMAGE] == []
    assert len(list(path.parent.glob("*.bak"))) == 1
