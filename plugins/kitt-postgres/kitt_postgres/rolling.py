"""The rollup of a database that is upgraded; later, each run is rolled up by the statement that writes it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, islice
from operator import itemgetter
from typing import Final

from kitt_postgres.server import Driver
from kitt_postgres.writing import copy_rollup, name_ids
from kitt_sql.rollup import Summary, summaries_of

__all__ = ["roll_up"]

_PORTION: Final = 100
_VALUES: Final = b"""SELECT run_id, metric_name, metric_value
    FROM benchmarks LEFT JOIN metrics ON benchmark_id = benchmarks.id
    WHERE NOT EXISTS (SELECT FROM rolled_runs WHERE rolled_runs.run_id = benchmarks.run_id) ORDER BY run_id"""


def roll_up(driver: Driver) -> None:
    """Roll up the runs that are not, inside a transaction."""
    with driver.cursor(name="kitt_values") as cursor:
        cursor.execute(_VALUES)
        runs = _summarised(cursor)
        while portion := list(islice(runs, _PORTION)):
            names = {each.name for _, summaries in portion for each in summaries}
            copy_rollup(driver, portion, name_ids(driver, names))


def _summarised(rows: Iterator[tuple[str, str | None, float | None]]) -> Iterator[tuple[str, list[Summary]]]:
    for run_id, values in groupby(rows, key=itemgetter(0)):
        yield run_id, summaries_of((name, value) for _, name, value in values if name is not None)
