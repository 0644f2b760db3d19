"""When and how SQLite's rollup is written: for many runs at once, inside the save that makes them enough.

A run that was just saved is answered for by its rows in ``metrics``. Rolling it up at once would touch a page or
two of each of its metrics; the runs of a batch share these pages.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Final

from attrs import Factory, define
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from kitt_sql.dialect import SQLiteDialect
from kitt_sql.rollup import forget_run, is_finite, summary_of

__all__ = ["forget", "roll_up"]

_ENOUGH: Final = 8192
"""Rows of ``metrics`` that are not rolled up: so many are read with each question about metrics."""
_PORTION: Final = 65_536
_FORGET: Final = str(forget_run(SQLiteDialect()).compile(dialect=SQLiteDialect_pysqlite(paramstyle="named")))

_BOUNDS: Final = """SELECT coalesce((SELECT last_metric_id FROM rolled_runs ORDER BY id DESC LIMIT 1), 0),
    coalesce((SELECT max(id) FROM metrics), 0)"""
_END_OF_RUNS: Final = """SELECT max(id) FROM metrics WHERE benchmark_id IN
    (SELECT id FROM benchmarks WHERE run_id IN (SELECT run_id FROM benchmarks WHERE id IN
        (SELECT benchmark_id FROM metrics WHERE id > ? AND id <= ?)))"""
_VALUES: Final = """SELECT run_id, metric_name, metric_value, metrics.id
    FROM metrics JOIN benchmarks ON benchmarks.id = benchmark_id WHERE metrics.id > ? AND metrics.id <= ?
    ORDER BY metrics.id"""
_VALUES_OF_RUN: Final = """SELECT metric_name, metric_value
    FROM benchmarks JOIN metrics ON benchmark_id = benchmarks.id WHERE run_id = ? AND metrics.id <= ?"""
_KNOWN: Final = "SELECT run_id FROM rolled_runs WHERE run_id IN (SELECT value FROM json_each(?))"
_NEXT: Final = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'rolled_runs'), 0) + 1"
_NAME_IDS: Final = "SELECT name, id FROM metric_names WHERE name IN (SELECT value FROM json_each(?))"


@define
class _Run:
    """The values of a run by metric, and the id of its last row."""

    values: dict[str, list[float]] = Factory(dict)
    last: int = 0

    def add(self, name: str, value: float | None) -> None:
        if is_finite(value):
            self.values.setdefault(name, []).append(value)


def roll_up(driver: sqlite3.Connection, *, enough: int = _ENOUGH) -> None:
    """Roll up what is not rolled up yet if that is ``enough`` rows, inside the caller's transaction."""
    done, last = driver.execute(_BOUNDS).fetchone()
    if last - done < enough:
        return
    while done < last:
        end = _end_of_runs(driver, done, min(done + _PORTION, last))
        _roll_up(driver, done, end)
        done = end


def _end_of_runs(driver: sqlite3.Connection, start: int, end: int) -> int:
    """Return the last row of the runs that have some of these rows: a run is rolled up as a whole."""
    while True:
        found = driver.execute(_END_OF_RUNS, (start, end)).fetchone()[0] or end
        if found <= end:
            return end
        end = found


def _roll_up(driver: sqlite3.Connection, start: int, end: int) -> None:
    found: dict[str, _Run] = {}
    for run_id, name, value, metric_id in driver.execute(_VALUES, (start, end)):
        run = found.get(run_id)
        if run is None:
            run = found[run_id] = _Run()
        run.add(name, value)
        run.last = metric_id
    # Another program has added to a run that was rolled up before.
    for (run_id,) in driver.execute(_KNOWN, (json.dumps(list(found)),)).fetchall():
        forget(driver, run_id)
        found[run_id].values.clear()
        for name, value in driver.execute(_VALUES_OF_RUN, (run_id, end)):
            found[run_id].add(name, value)
    runs = sorted(found.items(), key=lambda item: item[1].last)
    ids = _name_ids(driver, sorted({name for _, run in runs for name in run.values}))
    first = driver.execute(_NEXT).fetchone()[0]
    driver.executemany(
        "INSERT INTO rolled_runs (id, run_id, name_ids, last_metric_id) VALUES (?, ?, ?, ?)",
        (
            (number, run_id, json.dumps(sorted(ids[name] for name in run.values), separators=(",", ":")), run.last)
            for number, (run_id, run) in enumerate(runs, first)
        ),
    )
    rows = [
        (ids[name], number, *summary_of(name, values)[1:])
        for number, (_, run) in enumerate(runs, first)
        for name, values in run.values.items()
    ]
    rows.sort(key=lambda row: row[:2])
    driver.executemany("INSERT INTO metric_rollup VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _name_ids(driver: sqlite3.Connection, names: list[str]) -> dict[str, int]:
    driver.executemany("INSERT OR IGNORE INTO metric_names (name) VALUES (?)", ((name,) for name in names))
    return dict(driver.execute(_NAME_IDS, (json.dumps(names),)).fetchall())


def forget(driver: sqlite3.Connection, run_id: str) -> None:
    """Remove what is rolled up of a run."""
    driver.execute(_FORGET, {"run_id": run_id})
    driver.execute("DELETE FROM rolled_runs WHERE run_id = ?", (run_id,))
