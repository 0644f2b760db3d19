"""When and how SQLite's rollup is written: for many runs at once, inside the save that makes them enough.

A run that was just saved is answered for by its rows in ``metrics``. Rolling it up at once would touch a page or
two of each of its metrics; the runs of a batch share these pages.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

from attrs import frozen
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from kitt_sql.dialect import SQLiteDialect
from kitt_sql.rollup import Summary, forget_run, summaries_of

__all__ = ["FreshRun", "Rolling", "complete", "forget"]

_ENOUGH: Final = 512
"""Entries that are not rolled up: so many values of a metric may be read with each question about it."""
_PORTION: Final = 65_536
"""Rows of ``metrics``: so many are enough as well, and are read at once where they have to be read."""
_MOST_METRICS: Final = 1000
"""Of a run that is remembered: the others would take too much memory."""
_FORGET: Final = str(forget_run(SQLiteDialect()).compile(dialect=SQLiteDialect_pysqlite(paramstyle="named")))

_BOUNDS: Final = """SELECT coalesce((SELECT last_metric_id FROM rolled_runs ORDER BY id DESC LIMIT 1), 0),
    coalesce((SELECT max(id) FROM metrics), 0)"""
_FRESH_ENTRIES: Final = """SELECT coalesce((SELECT max(id) FROM benchmarks), 0)
    - (SELECT benchmark_id FROM metrics WHERE id > ? ORDER BY id LIMIT 1)"""
_END_OF_RUNS: Final = """SELECT max(id) FROM metrics WHERE benchmark_id IN
    (SELECT id FROM benchmarks WHERE run_id IN (SELECT run_id FROM benchmarks WHERE id IN
        (SELECT benchmark_id FROM metrics WHERE id > ? AND id <= ?)))"""
# All values of the runs that have some of these rows: another program may have added to one that is rolled up.
_VALUES: Final = """SELECT run_id, metric_name, metric_value, metrics.id
    FROM benchmarks JOIN metrics ON benchmark_id = benchmarks.id
    WHERE run_id IN (SELECT run_id FROM benchmarks WHERE id IN
        (SELECT benchmark_id FROM metrics WHERE id > ? AND id <= ?)) AND metrics.id <= ?
    ORDER BY run_id"""
_STORED: Final = """SELECT runs.id, rolled_runs.id IS NOT NULL FROM runs LEFT JOIN rolled_runs ON run_id = runs.id
    WHERE runs.id IN (SELECT value FROM json_each(?))"""
_NEXT: Final = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'rolled_runs'), 0) + 1"
_NAME_IDS: Final = "SELECT name, id FROM metric_names WHERE name IN (SELECT value FROM json_each(?))"


@frozen
class FreshRun:
    """A run that is not rolled up, with what will be.

    Attributes:
        id: The run's id.
        first: Its first row in ``metrics``.
        last: Its last row there.
        summaries: Of its metrics.
    """

    id: str
    first: int
    last: int
    summaries: Sequence[Summary]


class Rolling:
    """Rolls up runs. It remembers those that this process saved, so that most need not be read again."""

    def __init__(self) -> None:
        self._noted: list[FreshRun] = []

    def note(self, runs: Iterable[FreshRun]) -> None:
        """Remember runs whose transaction was committed."""
        self._noted += (run for run in runs if len(run.summaries) <= _MOST_METRICS)
        del self._noted[:-_ENOUGH]

    def step(self, driver: sqlite3.Connection, just_saved: Sequence[FreshRun]) -> None:
        """Roll up what is fresh if that is enough, inside the transaction of a save.

        Args:
            driver: The driver's connection.
            just_saved: What the transaction has saved.
        """
        done, last = driver.execute(_BOUNDS).fetchone()
        if done == last:
            return
        if last - done < _PORTION and driver.execute(_FRESH_ENTRIES, (done,)).fetchone()[0] < _ENOUGH:
            return
        known = sorted((run for run in (*self._noted, *just_saved) if run.first > done), key=lambda run: run.first)
        self._noted = known[: len(known) - len(just_saved)]  # these are rolled up, unless the transaction fails
        if _covers(known, done, last):
            _insert(driver, known)
        else:
            complete(driver)


def complete(driver: sqlite3.Connection) -> None:
    """Roll up all that is fresh, in portions, inside the caller's transaction."""
    done, last = driver.execute(_BOUNDS).fetchone()
    while done < last:
        end = _end_of_runs(driver, done, min(done + _PORTION, last))
        rows = driver.execute(_VALUES, (done, end, end))
        _insert(driver, [_run(run_id, list(values)) for run_id, values in groupby(rows, key=itemgetter(0))])
        done = end


def forget(driver: sqlite3.Connection, run_id: str) -> None:
    """Remove what is rolled up of a run."""
    driver.execute(_FORGET, {"run_id": run_id})
    driver.execute("DELETE FROM rolled_runs WHERE run_id = ?", (run_id,))


def _covers(runs: Sequence[FreshRun], start: int, end: int) -> bool:
    """Whether some runs, in order, have all rows beyond ``start`` up to ``end``."""
    for run in runs:
        if run.first != start + 1:
            return False
        start = run.last
    return start == end


def _end_of_runs(driver: sqlite3.Connection, start: int, end: int) -> int:
    """Return the last row of the runs that have some of these rows: a run is rolled up as a whole."""
    while True:
        found = driver.execute(_END_OF_RUNS, (start, end)).fetchone()[0] or end
        if found <= end:
            return end
        end = found


def _run(run_id: str, rows: Sequence[tuple[str, str, float | None, int]]) -> FreshRun:
    numbers = [row[3] for row in rows]
    return FreshRun(run_id, min(numbers), max(numbers), summaries_of((row[1], row[2]) for row in rows))


def _insert(driver: sqlite3.Connection, given: Iterable[FreshRun]) -> None:
    latest = {run.id: run for run in given}  # an id may have been deleted, and used again
    stored = dict(driver.execute(_STORED, (json.dumps(list(latest)),)).fetchall())
    for run_id in (run_id for run_id, is_rolled_up in stored.items() if is_rolled_up):
        forget(driver, run_id)
    runs = sorted((run for run in latest.values() if run.id in stored), key=lambda run: run.last)
    ids = _name_ids(driver, sorted({each.name for run in runs for each in run.summaries}))
    first = driver.execute(_NEXT).fetchone()[0]
    driver.executemany(
        "INSERT INTO rolled_runs (id, run_id, name_ids, last_metric_id) VALUES (?, ?, ?, ?)",
        (
            (number, run.id, json.dumps([ids[each.name] for each in run.summaries]), run.last)
            for number, run in enumerate(runs, first)
        ),
    )
    rows = [
        (ids[each.name], number, *each[1:]) for number, run in enumerate(runs, first) for each in run.summaries
    ]
    rows.sort(key=itemgetter(0, 1))
    driver.executemany("INSERT INTO metric_rollup VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _name_ids(driver: sqlite3.Connection, names: Sequence[str]) -> dict[str, int]:
    driver.executemany("INSERT OR IGNORE INTO metric_names (name) VALUES (?)", ((name,) for name in names))
    return dict(driver.execute(_NAME_IDS, (json.dumps(names),)).fetchall())
