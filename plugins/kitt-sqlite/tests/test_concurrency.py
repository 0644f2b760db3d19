"""Threads, processes and kills: the kit's contract."""

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kitt_core import open_store
from kitt_core.errors import StoreUnavailableError
from kitt_core.testing import documents
from kitt_core.testing.concurrency import StoreConcurrencyContract, assert_intact, together
from kitt_core.testing.worker import StoreTarget
from kitt_sqlite.options import SQLiteOptions
from kitt_sqlite.store import SQLiteResultStore


class TestSQLiteTogether(StoreConcurrencyContract):
    @pytest.fixture
    def target(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoreTarget:
        monkeypatch.syspath_prepend(Path(__file__).parent)
        # Eight writers on a busy machine may keep one of them waiting for longer than a user would.
        return StoreTarget("rolls_up_often:opened", {"path": str(tmp_path / "runs.db"), "busy_timeout": 120})


@pytest.fixture
def while_waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return a function that has something done whenever a writer waits, for which there is no time at all."""
    monkeypatch.setattr("kitt_sqlite.store._WITHOUT_PROGRESS", 0.0)
    return lambda do: monkeypatch.setattr("kitt_sql.sqlite.turns.pause", do)


def test_a_save_waits_as_long_as_others_make_progress(
    tmp_path: Path, while_waiting: Callable[[Callable[[], object]], None]
) -> None:
    path = tmp_path / "runs.db"
    with (
        SQLiteResultStore(SQLiteOptions(path)) as store,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        store.save_result(documents.MINIMAL)
        other.execute("BEGIN IMMEDIATE")
        commits = 20

        def commit() -> None:
            nonlocal commits
            other.execute("UPDATE runs SET suite_name = suite_name || 'x'")
            other.execute("COMMIT")
            commits -= 1
            if commits:
                other.execute("BEGIN IMMEDIATE")

        while_waiting(commit)
        store.save_result(documents.MINIMAL)
        assert commits == 0
        assert store.count() == 2


@pytest.mark.parametrize("bounded", [False, True])
def test_a_save_does_not_wait_for_one_that_makes_no_progress_or_longer_than_asked(
    tmp_path: Path, while_waiting: Callable[[Callable[[], object]], None], bounded: bool
) -> None:
    path = tmp_path / "runs.db"
    options = SQLiteOptions(path, busy_timeout=0.0 if bounded else None)
    with (
        SQLiteResultStore(options) as store,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        store.save_result(documents.MINIMAL)
        other.execute("BEGIN IMMEDIATE")

        def go_on() -> None:
            if bounded:
                other.execute("UPDATE runs SET suite_name = suite_name || 'x'")
                other.execute("COMMIT")
                other.execute("BEGIN IMMEDIATE")

        while_waiting(go_on)
        with pytest.raises(StoreUnavailableError, match="is locked by another process"):
            store.save_result(documents.MINIMAL)
        other.execute("ROLLBACK")
        store.save_result(documents.MINIMAL)
        assert store.count() == 2


@pytest.mark.parametrize("asked", [None, 3600.0])
def test_ctrl_c_is_heard_while_a_save_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: float | None
) -> None:
    path = tmp_path / "runs.db"
    with (
        SQLiteResultStore(SQLiteOptions(path, busy_timeout=asked)) as store,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        store.save_result(documents.MINIMAL)
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("kitt_sql.sqlite.turns.pause", lambda: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            store.save_result(documents.STANDARD)
        other.execute("ROLLBACK")
        assert store.count() == 1
        store.save_result(documents.STANDARD)


@pytest.mark.parametrize(
    ("writers", "saves"), [(6, 5), pytest.param(64, 20, marks=pytest.mark.long)], ids=["6 writers", "64 writers"]
)
def test_many_writers_on_a_new_file_all_get_their_turn(tmp_path: Path, writers: int, saves: int) -> None:
    target = StoreTarget(f"sqlite:///{tmp_path}/runs.db")
    together(target, [("save_many", f"w{number}", str(saves)) for number in range(writers)])
    with open_store(target.where) as store:
        assert store.count() == writers * saves
        assert_intact(store)
