"""What SQLite's rollup holds, when it is written, and what is said of one that is wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from kitt_core.runs import Severity
from kitt_core.testing.documents import STANDARD, run, small
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore, rolling
from kitt_sql.testing.recounting import answers_about_metrics

METRICS: Final = ("avg_tps", "ttft_ms.p99")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def store(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SQLiteStore]:
    """A store that rolls up with every save."""
    monkeypatch.setattr(rolling, "_ENOUGH", 0)
    with _opened(path) as store:
        yield store


def _opened(path: Path) -> SQLiteStore:
    return SQLiteStore(SQLiteDatabase(SQLiteFile(path, synchronous="OFF")))


def _rows(path: Path, query: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(query, values).fetchall()


def test_runs_wait_until_they_are_enough_and_answers_are_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "_ENOUGH", 10)
    with _opened(path) as store:
        seen = set()
        for n in range(30):
            store.save_result(small(n))
            before = answers_about_metrics(store, METRICS)
            (waiting,) = _rows(path, "SELECT (SELECT count(*) FROM runs) - (SELECT count(*) FROM rolled_runs)")[0]
            seen.add(waiting)
            with _opened(path) as other, closing(sqlite3.connect(path)) as connection:
                with connection:
                    rolling.complete(connection)
                assert answers_about_metrics(other, METRICS) == before
                with connection:  # as it was: all are fresh again
                    connection.executescript("DELETE FROM metric_rollup; DELETE FROM rolled_runs")
            assert answers_about_metrics(store, METRICS) == before
        assert max(seen) > 0


def test_what_this_process_saved_is_not_read_again(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    store.save_result(small(0))
    monkeypatch.setattr(rolling, "_ENOUGH", 10)
    monkeypatch.setattr(rolling, "complete", None)
    store.save_results([small(n) for n in range(1, 4)])
    for n in range(4, 20):
        store.save_result(small(n))
    assert _rows(path, "SELECT count(*) FROM rolled_runs")[0][0] > 10
    assert [f for f in store.verify() if f.severity is Severity.DAMAGE] == []


def test_runs_that_others_saved_or_deleted_meanwhile_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling, "_ENOUGH", 12)
    with _opened(path) as one, _opened(path) as other:
        ids = []
        for n in range(30):
            ids.append((one, other)[n % 2].save_result(small(n)))
            if n % 5 == 4:
                assert (other, one)[n % 2].delete_result(ids.pop(n % len(ids)))
        assert [f for f in one.verify() if f.severity is Severity.DAMAGE] == []
        assert answers_about_metrics(one, METRICS) == answers_about_metrics(other, METRICS)
        assert one.aggregate("engine", "avg_tps", statistics=["count"]) != []


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE metric_rollup SET greatest = greatest + 1",
        "UPDATE metric_rollup SET total = 0",
        "UPDATE metric_rollup SET mean = mean * 2",
        "UPDATE metric_rollup SET numbers = zeroblob(8 * entries) WHERE entries > 2",
        "DELETE FROM metric_rollup",
        "DELETE FROM rolled_runs WHERE id = 1",
        "UPDATE metric_names SET name = name || 'x'",
    ],
)
def test_a_rollup_that_is_not_that_of_the_documents_is_damage_and_is_made_anew(
    store: SQLiteStore, path: Path, damage: str
) -> None:
    store.save_results([STANDARD, *(small(n) for n in range(3))])
    before = answers_about_metrics(store, METRICS)
    _rows(path, damage)
    found = [f for f in store.verify() if f.severity is Severity.DAMAGE]
    assert found
    assert all("metric_rollup" in finding.what for finding in found)
    assert {f.severity for f in store.verify(rebuild=True)} == {Severity.NOTICE}
    assert [f for f in store.verify() if f.severity is Severity.DAMAGE] == []
    assert answers_about_metrics(store, METRICS) == before


def test_what_a_run_left_that_was_deleted_by_hand_is_never_read_and_can_be_removed(
    store: SQLiteStore, path: Path
) -> None:
    gone, kept = store.save_results([small(1), small(2)])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM runs WHERE id = ?", (gone,))
    assert [summary.id for summary in store.list_results(order_by="metric:avg_tps")] == [kept]
    assert store.aggregate("engine", "avg_tps", statistics=["count"])[0]["count"] == 1
    (finding,) = store.verify()
    assert finding.severity is Severity.NOTICE
    assert "whose runs are gone" in finding.what
    assert [f.what.endswith("removed") for f in store.verify(rebuild=True)] == [True]
    assert list(store.verify()) == []


def test_values_that_another_program_adds_count(store: SQLiteStore, path: Path) -> None:
    run_id = store.save_result(small(1))
    store.save_result(small(2))
    _rows(
        path,
        "INSERT INTO metrics (benchmark_id, metric_name, metric_value)"
        " SELECT min(id), 'avg_tps', 12345.0 FROM benchmarks WHERE run_id = ?",
        run_id,
    )
    for _ in range(2):
        assert [s.id for s in store.list_results({"metrics": "avg_tps>12000"})] == [run_id]
        assert max(row["avg_tps_max"] for row in store.aggregate("engine", "avg_tps", statistics="max")) == 12345.0
        store.save_result(small(3))  # rolls them up


def test_sums_of_runs_that_are_beyond_a_double_are_those_of_a_recount(store: SQLiteStore) -> None:
    for sign in (1, -1):
        store.save_result(run(results=[{"metrics": {"x": sign * 1e308}}] * 2))
    for statistics in (["avg"], ["avg", "p50"]):
        (row,) = store.aggregate("passed", "x", statistics=statistics)
        assert row["x_avg"] == 0.0
    (row,) = store.aggregate("passed", "x", statistics=["sum", "min", "max", "count"])
    assert (row["x_sum"], row["x_min"], row["x_max"], row["x_count"]) == (None, -1e308, 1e308, 4)
