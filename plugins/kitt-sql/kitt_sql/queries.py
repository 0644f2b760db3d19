"""The statements that read: listings, counts, groups and scans, each built once per shape.

A listing is ordered by a key and then by the id; missing keys come last, so it is read in two phases, first the
runs that have the key, then those that lack it. In each phase an index gives the order: databases disagree about
where an index keeps NULL.
"""

from __future__ import annotations

import enum
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    case,
    distinct,
    func,
    literal,
    or_,
    select,
    text,
)

from kitt_core.runs import PERIODS, Order, Statistic, grouped_label
from kitt_sql.conditions import Shape, metric_named, needs_hardware, where
from kitt_sql.dialect import QueryDialect
from kitt_sql.rollup import finite, fresh_means, name_id, run_summaries, summary_parts
from kitt_sql.schema.tables import (
    benchmarks,
    hardware,
    metric_rollup,
    metrics,
    rolled_runs,
    run_documents,
    run_labels,
    runs,
)

__all__ = [
    "METRIC_NAMES",
    "SIMPLE_STATISTICS",
    "SUMMARY_COLUMNS",
    "Means",
    "OrderShape",
    "Phase",
    "count_before",
    "count_runs",
    "group_counts",
    "group_metric",
    "group_rollup",
    "group_shape",
    "group_values",
    "key_at",
    "last_position",
    "list_page",
    "order_means",
    "reads_rollup",
    "scan_page",
]

SUMMARY_COLUMNS: Final = (
    *(
        runs.c[name]
        for name in (
            "id",
            "model",
            "engine",
            "suite_name",
            "timestamp",
            "passed",
            "total_benchmarks",
            "passed_count",
            "failed_count",
            "total_time_seconds",
            "kitt_version",
            "created_at",
        )
    ),
    hardware.c.gpu_model,
    hardware.c.fingerprint,
)
"""The columns of a `RunSummary`, in its order."""

SIMPLE_STATISTICS: Final[tuple[Statistic, ...]] = ("avg", "min", "max", "sum", "count")
"""Those that the database computes itself; the others need the values."""

_HARDWARE: Final = ("gpu_model", "environment_type", "fingerprint")
_GROUPS: Final[dict[str, ColumnElement[Any]]] = {
    **{name: runs.c[name] for name in ("model", "engine", "suite_name", "passed", "kitt_version")},
    **{name: hardware.c[name] for name in _HARDWARE},
    "test_name": benchmarks.c.test_name,
}

METRIC_NAMES: Final = text(
    "WITH RECURSIVE names (name) AS (SELECT min(metric_name) FROM metrics UNION ALL"
    " SELECT (SELECT min(metric_name) FROM metrics WHERE metric_name > names.name) FROM names"
    " WHERE names.name IS NOT NULL)"
    " SELECT name FROM names WHERE name IS NOT NULL LIMIT :limit"
)
"""The names of the metrics: DISTINCT would read the whole index, this one enters it once for each name."""

OrderShape = tuple[str, int, bool]
"""An `Order` without its metric's name: field, splits of the name, descending."""


class Means(enum.Enum):
    """Where the means that order a listing by a metric come from."""

    ROLLED_UP = "the rollup, in order"
    FRESH = "the values that are not rolled up yet"
    ALL = "every value: the name may be that of a benchmark and a metric"


class Phase(enum.Enum):
    """Which part of an ordered listing a statement reads."""

    PRESENT = "all runs that have the key"
    FROM_KEY = "from a key on, whatever the id"
    AFTER_KEY = "after a run that has the key"
    MISSING = "all runs that lack the key"
    AFTER_MISSING = "after a run that lacks the key"


def order_shape(order: Order) -> OrderShape:
    """Return the order's shape."""
    return order.field, (order.metric or "").count("/"), order.descending


def order_means(order: OrderShape, phase: Phase, dialect: QueryDialect) -> tuple[Means, ...]:
    """Return the parts in which a listing by a metric is read; their rows are merged."""
    field, splits, _ = order
    if field != "metric" or splits or phase in {Phase.MISSING, Phase.AFTER_MISSING}:
        return (Means.ALL,)
    return (Means.ROLLED_UP, Means.FRESH) if dialect.rolls_up_later else (Means.ROLLED_UP,)


@lru_cache(maxsize=256)
def list_page(
    shape: Shape, order: OrderShape, phase: Phase, dialect: QueryDialect, means: Means = Means.ALL
) -> Select[Any]:
    """Return the listing: the columns of `SUMMARY_COLUMNS`, then the order's key.

    Parameters: the filter's; ``order_name…`` for a metric; ``key`` and ``key_id`` after a cursor; ``limit``
    (`QueryDialect.no_limit` for all) and ``offset``. ``means`` is one of `order_means`.
    """
    field, splits, descending = order
    key, source = _order_key(field, splits, means, dialect)
    source = source.outerjoin(hardware, hardware.c.run_id == runs.c.id)
    run_id = dialect.code_points(runs.c.id)
    statement = select(*SUMMARY_COLUMNS, key.label("order_key")).select_from(source).where(*where(shape, dialect))
    statement = statement.where(*_phase_conditions(phase, key, run_id, descending))
    if phase in {Phase.PRESENT, Phase.FROM_KEY, Phase.AFTER_KEY}:
        statement = statement.order_by(key.desc() if descending else key.asc())
    return (
        statement.order_by(run_id.desc() if descending else run_id.asc())
        .limit(bindparam("limit", type_=BigInteger))
        .offset(bindparam("offset", type_=BigInteger))
    )


@lru_cache(maxsize=256)
def key_at(shape: Shape, order: OrderShape, dialect: QueryDialect) -> Select[Any]:
    """Return the key at ``offset``, in an order without ids: an index alone can answer that."""
    key, _ = _order_key(order[0], 0, Means.ALL, dialect)
    source = _source(needs_hardware(shape))
    statement = select(key).select_from(source).where(key.is_not(None), *where(shape, dialect))
    return (
        statement.order_by(key.desc() if order[2] else key.asc())
        .limit(1)
        .offset(bindparam("offset", type_=BigInteger))
    )


@lru_cache(maxsize=256)
def count_before(shape: Shape, order: OrderShape, dialect: QueryDialect) -> Select[Any]:
    """Return how many runs come before all that have the key that is bound as ``key``."""
    key, _ = _order_key(order[0], 0, Means.ALL, dialect)
    bound = bindparam("key", type_=key.type)
    before = key > bound if order[2] else key < bound
    source = _source(needs_hardware(shape))
    return select(func.count()).select_from(source).where(before, *where(shape, dialect))


def _order_key(
    field: str, splits: int, means: Means, dialect: QueryDialect
) -> tuple[ColumnElement[Any], FromClause]:
    """Return the key, and ``runs`` with what has it."""
    if field == "metric":
        return _mean_key(splits, means, dialect)
    column = runs.c[field]
    if field == "total_time_seconds":
        return case((finite(column), column)), runs
    if field == "created_at":
        return dialect.instant(column), runs
    return (dialect.code_points(column) if isinstance(column.type, Text) else column), runs


def _mean_key(splits: int, means: Means, dialect: QueryDialect) -> tuple[ColumnElement[Any], FromClause]:
    if means is Means.ROLLED_UP:
        rolled_up = metric_rollup.join(
            rolled_runs,
            and_(rolled_runs.c.id == metric_rollup.c.rolled_id, metric_rollup.c.name_id == name_id("order")),
        )
        return metric_rollup.c.mean, rolled_up.join(runs, runs.c.id == rolled_runs.c.run_id)
    if means is Means.FRESH:
        fresh = fresh_means("order")
        return fresh.c.mean, fresh.join(runs, runs.c.id == fresh.c.run_id)
    if not splits:  # for the runs that have no mean
        summaries = run_summaries("order", dialect)
        key = case((runs.c.id.in_(select(summaries.c.run_id)), literal(1.0, Double)))
        return key, runs
    all_means = (
        select(benchmarks.c.run_id, dialect.average(metrics.c.metric_value).label("mean"))
        .select_from(benchmarks.join(metrics, metrics.c.benchmark_id == benchmarks.c.id))
        .where(metric_named("order", splits), finite(metrics.c.metric_value))
        .group_by(benchmarks.c.run_id)
        .subquery()
    )
    return all_means.c.mean, runs.outerjoin(all_means, all_means.c.run_id == runs.c.id)


def _phase_conditions(
    phase: Phase, key: ColumnElement[Any], run_id: ColumnElement[Any], descending: bool
) -> list[ColumnElement[bool]]:
    last_id = bindparam("key_id", type_=Text)
    beyond_id = run_id < last_id if descending else run_id > last_id
    match phase:
        case Phase.PRESENT:
            return [key.is_not(None)]
        case Phase.MISSING:
            return [key.is_(None)]
        case Phase.AFTER_MISSING:
            return [key.is_(None), beyond_id]
        case Phase.FROM_KEY:
            last = bindparam("key", type_=key.type)
            return [key <= last if descending else key >= last]
        case Phase.AFTER_KEY:
            last = bindparam("key", type_=key.type)
            # The first condition is redundant, but lets the database enter the index at the cursor.
            bound, beyond = (key <= last, key < last) if descending else (key >= last, key > last)
            return [bound, or_(beyond, and_(key == last, beyond_id))]


@lru_cache(maxsize=256)
def count_runs(shape: Shape, dialect: QueryDialect) -> Select[Any]:
    """Return the number of runs that match."""
    return select(func.count()).select_from(_source(needs_hardware(shape))).where(*where(shape, dialect))


def group_shape(group_by: tuple[str, ...]) -> tuple[str, ...]:
    """Return the fields without the labels' keys, which `group_values` returns."""
    return tuple(name if grouped_label(name) is None else "label:" for name in group_by)


def group_values(group_by: tuple[str, ...]) -> dict[str, str]:
    """Return the values of the parameters of `group_counts` and `group_metric` that name labels."""
    keys = ((f"group{i}_key", grouped_label(name)) for i, name in enumerate(group_by))
    return {parameter: key for parameter, key in keys if key is not None}


@lru_cache(maxsize=256)
def group_counts(shape: Shape, group_by: tuple[str, ...], dialect: QueryDialect) -> Select[Any]:
    """Return the groups, each with the number of its distinct runs.

    Parameters: the filter's, and those of `group_values`. ``group_by`` is a `group_shape`.
    """
    columns, source = _groups(group_by, runs, needs_hardware(shape), dialect)
    number = func.count()
    if "test_name" in group_by:
        source, number = source.join(benchmarks, benchmarks.c.run_id == runs.c.id), func.count(distinct(runs.c.id))
    return select(*columns, number).select_from(source).where(*where(shape, dialect)).group_by(*columns)


@lru_cache(maxsize=256)
def group_metric(
    shape: Shape, group_by: tuple[str, ...], splits: int, statistics: tuple[Statistic, ...], dialect: QueryDialect
) -> Select[Any]:
    """Return the groups with statistics of one metric's finite values; without statistics, its values.

    Parameters: the filter's, those of `group_values`, and ``metric_name…``.
    """
    columns, described = _groups(group_by, runs, needs_hardware(shape), dialect)
    value = metrics.c.metric_value
    source = described.join(benchmarks, benchmarks.c.run_id == runs.c.id).join(
        metrics, metrics.c.benchmark_id == benchmarks.c.id
    )
    conditions = (metric_named("metric", splits), finite(value), *where(shape, dialect))
    if not statistics:
        return select(*columns, value).select_from(source).where(*conditions)
    by_dialect = {"avg": dialect.average, "sum": dialect.total}
    computed = [by_dialect.get(statistic, getattr(func, statistic))(value) for statistic in statistics]
    return select(*columns, *computed).select_from(source).where(*conditions).group_by(*columns)


def reads_rollup(group_by: tuple[str, ...], splits: int) -> bool:
    """Whether `group_rollup` has a metric's statistics: it does not know which benchmark a value is of."""
    return not splits and "test_name" not in group_by


@lru_cache(maxsize=256)
def group_rollup(
    shape: Shape, group_by: tuple[str, ...], dialect: QueryDialect, *, summed_up: bool
) -> tuple[Select[Any], ...]:
    """Return the groups with the number of a metric's finite values, their sum, the least and the greatest.

    Several statements: a group may be among the rows of each. If they are not ``summed_up``, their rows are those
    from which `kitt_sql.rollup.values_of` makes the values. Parameters: the filter's, those of `group_values`, and
    ``metric_name``.
    """
    return tuple(
        _group_summaries(part.subquery(), shape, group_by, dialect, summed_up=summed_up)
        for part in summary_parts("metric", dialect)
    )


def _group_summaries(
    summaries: FromClause, shape: Shape, group_by: tuple[str, ...], dialect: QueryDialect, *, summed_up: bool
) -> Select[Any]:
    known = summaries.join(runs, dialect.same_run(summaries.c.run_id))
    columns, source = _groups(group_by, known, needs_hardware(shape), dialect)
    conditions = where(shape, dialect)
    found = summaries.c
    if not summed_up:
        values = (found[name] for name in ("entries", "least", "greatest", "numbers"))
        return select(*columns, *values).select_from(source).where(*conditions)
    summed = func.sum(found.entries), dialect.total(found.total), func.min(found.least), func.max(found.greatest)
    return select(*columns, *summed).select_from(source).where(*conditions).group_by(*columns)


@lru_cache(maxsize=256)
def scan_page(shape: Shape, dialect: QueryDialect) -> Select[Any]:
    """Return the next runs of a scan: position, id, created_at, sha256.

    Parameters: the filter's, ``after``, ``last`` and ``limit``.
    """
    position = dialect.scan_position()
    source = _source(needs_hardware(shape)).outerjoin(run_documents, run_documents.c.run_id == runs.c.id)
    return (
        select(position, runs.c.id, runs.c.created_at, run_documents.c.sha256)
        .select_from(source)
        .where(position > bindparam("after", type_=BigInteger), position <= bindparam("last", type_=BigInteger))
        .where(*where(shape, dialect))
        .order_by(position)
        .limit(bindparam("limit", type_=BigInteger))
    )


@lru_cache(maxsize=8)
def last_position(dialect: QueryDialect) -> Select[Any]:
    """Return the position of the run that was stored last."""
    return select(func.max(dialect.scan_position())).select_from(dialect.positioned)


def _source(with_hardware: bool, source: FromClause = runs) -> FromClause:
    return source.outerjoin(hardware, hardware.c.run_id == runs.c.id) if with_hardware else source


def _groups(
    group_by: tuple[str, ...], source: FromClause, with_hardware: bool, dialect: QueryDialect
) -> tuple[list[ColumnElement[Any]], FromClause]:
    """Return the groups' columns, and ``source``, which has ``runs``, with what they are selected from."""
    source = _source(with_hardware or any(name in _HARDWARE for name in group_by), source)
    columns: list[ColumnElement[Any]] = []
    for i, name in enumerate(group_by):
        if name in PERIODS:
            columns.append(dialect.period(runs.c.timestamp, name))
        elif grouped_label(name) is None:
            columns.append(_GROUPS[name])
        else:
            label = run_labels.alias(f"label{i}")
            key = bindparam(f"group{i}_key", type_=Text)
            source = source.outerjoin(label, and_(label.c.run_id == runs.c.id, label.c.key == key))
            columns.append(label.c.value)
    return columns, source
