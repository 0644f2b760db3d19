"""A run's metrics rolled up: what `metric_rollup` holds of each, and how statements read it.

A summary holds a run's finite values of one metric. It answers statistics, orders and conditions from a few bytes,
next to those of the other runs; with more than two values it also holds each of them, for percentiles.

PostgreSQL writes the summaries with the run. In SQLite that would touch half as many pages again as a save does,
so those of many runs are written together, now and then (`kitt_sql.sqlite.rolling`): until then the rows of
``metrics`` beyond the last one that was rolled up answer for themselves, so that every answer is exact.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Delete,
    Double,
    FromClause,
    Integer,
    LargeBinary,
    ScalarSelect,
    Select,
    Text,
    bindparam,
    delete,
    func,
    literal,
    literal_column,
    null,
    select,
    type_coerce,
    union_all,
)

from kitt_core.runs import BenchmarkRow
from kitt_core.runs.statistics import mean
from kitt_sql.dialect import QueryDialect
from kitt_sql.schema.tables import benchmarks, metric_names, metric_rollup, metrics, rolled_runs

__all__ = [
    "Summary",
    "count_left",
    "finite",
    "forget_run",
    "fresh_means",
    "has_fresh_values",
    "measured_in",
    "name_id",
    "remove_left",
    "run_summaries",
    "stored_summaries",
    "summaries_of",
    "summary_parts",
    "values_of",
]

_LARGEST: Final = sys.float_info.max


class Summary(NamedTuple):
    """A run's finite values of one metric.

    Attributes:
        name: The metric's name, without its benchmark.
        entries: How many values there are; at least one.
        total: Their sum; infinite where it is beyond a double.
        least: The smallest.
        greatest: The largest.
        mean: Their mean, which is always finite.
        numbers: All of them, as big-endian doubles, if there are more than two; else they are least and greatest.
    """

    name: str
    entries: int
    total: float
    least: float
    greatest: float
    mean: float
    numbers: bytes | None


def summaries_of(measured: Iterable[tuple[str, float | None]]) -> list[Summary]:
    """Return the summaries of a run's metrics, ordered by name; a metric without a finite value has none.

    Args:
        measured: All values of the run, each with its metric's name.
    """
    values: dict[str, list[float]] = {}
    for name, value in measured:
        if value is not None and -_LARGEST <= value <= _LARGEST:
            found = values.get(name)
            if found is None:
                values[name] = [value]
            else:
                found.append(value)
    return [_summary(name, values[name]) for name in sorted(values)]


def measured_in(entries: Iterable[BenchmarkRow]) -> Iterator[tuple[str, float | None]]:
    """Yield the values of a run's entries, each with its metric's name."""
    return chain.from_iterable(entry.metrics for entry in entries)


def _summary(name: str, values: Sequence[float]) -> Summary:
    number = len(values)
    packed = struct.pack(f">{number}d", *values) if number > 2 else None
    return Summary(name, number, sum(values), min(values), max(values), mean(values), packed)


def values_of(entries: int, least: float, greatest: float, numbers: bytes | None) -> Iterable[float]:
    """Return the values that a summary stands for, in any order."""
    if numbers is not None:
        return struct.unpack(f">{entries}d", numbers)
    return (least,) if entries == 1 else (least, greatest)


def finite(number: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the test whether ``number`` is neither missing nor infinite."""
    return number.between(literal(-_LARGEST, Double), literal(_LARGEST, Double))


def name_id(prefix: str) -> ScalarSelect[int]:
    """Return the number of the metric that is bound as ``{prefix}_name``."""
    name = bindparam(f"{prefix}_name", type_=Text)
    return select(metric_names.c.id).where(metric_names.c.name == name).scalar_subquery()


def run_summaries(prefix: str, dialect: QueryDialect) -> FromClause:
    """Return the summaries of the metric that is bound as ``{prefix}_name``, with their ``run_id``.

    Each value that is not rolled up yet is a summary of its own.
    """
    parts = summary_parts(prefix, dialect)
    return parts[0].subquery() if len(parts) == 1 else union_all(*parts).subquery()


def summary_parts(prefix: str, dialect: QueryDialect) -> tuple[Select[Any], ...]:
    """Return what `run_summaries` consists of: what is rolled up, and what is not."""
    columns = ("entries", "total", "least", "greatest", "numbers")
    rolled_up = (
        select(rolled_runs.c.run_id, *(metric_rollup.c[name] for name in columns))
        .select_from(metric_rollup.join(rolled_runs, rolled_runs.c.id == metric_rollup.c.rolled_id))
        .where(metric_rollup.c.name_id == name_id(prefix))
    )
    if not dialect.rolls_up_later:
        return (rolled_up,)
    one, value = literal_column("1", Integer), metrics.c.metric_value
    values: tuple[ColumnElement[Any], ...] = (one, value, value, value, type_coerce(null(), LargeBinary))
    labelled = (column.label(name) for column, name in zip(values, columns, strict=True))
    return rolled_up, _fresh(prefix, *labelled)


def fresh_means(prefix: str) -> FromClause:
    """Return the means of what is not rolled up yet of a metric, as ``run_id`` and ``mean``."""
    # SQLite's engine has the function: a run must not change its place when it is rolled up.
    exact = func.kitt_mean(metrics.c.metric_value, type_=Double).label("mean")
    return _fresh(prefix, exact).group_by(benchmarks.c.run_id).subquery()


@cache
def has_fresh_values() -> Select[bool]:
    """Return the statement that says whether some values of the run that is bound as ``run_id`` are fresh."""
    return (
        select(func.max(metrics.c.id) > _last_rolled_up())
        .select_from(metrics.join(benchmarks, benchmarks.c.id == metrics.c.benchmark_id))
        .where(benchmarks.c.run_id == bindparam("run_id", type_=Text))
    )


def _last_rolled_up() -> ColumnElement[int]:
    last = select(rolled_runs.c.last_metric_id).order_by(rolled_runs.c.id.desc()).limit(1)
    return func.coalesce(last.scalar_subquery(), 0)


def _fresh(prefix: str, *columns: ColumnElement[Any]) -> Select[Any]:
    return (
        select(benchmarks.c.run_id, *columns)
        .select_from(metrics.join(benchmarks, benchmarks.c.id == metrics.c.benchmark_id))
        .where(metrics.c.metric_name == bindparam(f"{prefix}_name", type_=Text))
        .where(metrics.c.id > _last_rolled_up(), finite(metrics.c.metric_value))
    )


@lru_cache(maxsize=8)
def stored_summaries(dialect: QueryDialect) -> Select[Any]:
    """Return the statement that reads the summaries of the run that is bound as ``run_id``."""
    columns = (metric_rollup.c[name] for name in Summary._fields[1:])
    return (
        select(metric_names.c.name, *columns)
        .select_from(metric_rollup.join(metric_names, metric_names.c.id == metric_rollup.c.name_id))
        .where(*_of_run(dialect))
        .order_by(metric_names.c.name)
    )


@lru_cache(maxsize=8)
def forget_run(dialect: QueryDialect) -> Delete:
    """Return the statement that removes the summaries of the run that is bound as ``run_id``.

    Its row in ``rolled_runs`` goes with the run. What is left if that is removed without this statement is reached
    by no other, and its number is never used again.
    """
    return delete(metric_rollup).where(*_of_run(dialect))


@cache
def count_left() -> Select[int]:
    """Return the statement that counts the summaries of runs that are gone."""
    return select(func.count()).select_from(metric_rollup).where(_is_left())


@cache
def remove_left() -> Delete:
    """Return the statement that removes them."""
    return delete(metric_rollup).where(_is_left())


def _is_left() -> ColumnElement[bool]:
    return metric_rollup.c.rolled_id.not_in(select(rolled_runs.c.id))


def _of_run(dialect: QueryDialect) -> tuple[ColumnElement[bool], ...]:
    is_run = rolled_runs.c.run_id == bindparam("run_id", type_=Text)
    rolled_id = select(rolled_runs.c.id).where(is_run).scalar_subquery()
    names = dialect.numbers_in(select(rolled_runs.c.name_ids).where(is_run).scalar_subquery())
    return metric_rollup.c.rolled_id == rolled_id, metric_rollup.c.name_id.in_(names)
