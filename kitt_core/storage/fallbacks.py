"""Reading in plain Python: filter, list and aggregate over ``scan``.

Every store can be read through these functions; a database answers the same queries from its rows. They are also
the reference against which the conformance kit checks the databases.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from attrs import evolve, fields, frozen

from kitt_core.errors import InvalidDocumentError
from kitt_core.runs import codec
from kitt_core.runs.grouping import PERIODS, Aggregation, grouped_label
from kitt_core.runs.model import BenchmarkRow, Page, RunRows, RunSummary, StoredRun
from kitt_core.runs.query import Cursor, MetricCondition, Order, OrderKey, Patterns, RunFilter
from kitt_core.runs.rows import derive_rows
from kitt_core.runs.statistics import compute
from kitt_core.runs.timestamps import format_utc

__all__ = [
    "MOST_NAMES",
    "Facts",
    "OnDamage",
    "aggregate",
    "facts_of",
    "group_order",
    "list_results",
    "matches",
    "matches_identity",
    "metric_names",
    "metric_values",
    "readable",
    "select",
    "summarise",
]

T = TypeVar("T")
OnDamage = Callable[[StoredRun, InvalidDocumentError], None]
"""Called with a run that is left out because its document is damaged, and how."""

MOST_NAMES: Final = 10_000
"""How many names of metrics a store returns: more than anybody reads."""


@frozen
class Facts:
    """What filters and orders need: a run with its rows but without its document."""

    id: str
    created_at: datetime
    sha256: str
    rows: RunRows


def facts_of(run: StoredRun) -> Facts:
    """Return the facts of a stored run.

    Raises:
        InvalidDocumentError: Its document is damaged.
    """
    return Facts(run.id, run.created_at, run.sha256, derive_rows(codec.parse(run.document), strict=False))


def readable(runs: Iterable[StoredRun], on_damage: OnDamage | None = None) -> Iterator[Facts]:
    """Yield the facts of the runs whose documents can be read."""
    for run in runs:
        if (facts := _facts_if_readable(run, on_damage)) is not None:
            yield facts


def _facts_if_readable(run: StoredRun, on_damage: OnDamage | None) -> Facts | None:
    try:
        return facts_of(run)
    except InvalidDocumentError as error:
        if on_damage is not None:
            on_damage(run, error)
        return None


def select(runs: Iterable[StoredRun], wanted: RunFilter, on_damage: OnDamage | None = None) -> Iterator[StoredRun]:
    """Yield the runs that match; for a store's ``scan``. Documents are parsed only if the filter needs them."""
    is_named = matches_identity(wanted)
    rest = evolve(wanted, id=None, sha256=None)
    test = None if rest == RunFilter() else matches(rest)
    for run in runs:
        if not is_named(run.id, run.sha256):
            continue
        if test is None or ((facts := _facts_if_readable(run, on_damage)) is not None and test(facts)):
            yield run


def matches_identity(wanted: RunFilter) -> Callable[[str, str], bool]:
    """Return a predicate of id and digest that applies only that part of the filter."""
    by_id = None if wanted.id is None else _fits_any(wanted.id)
    by_digest = None if wanted.sha256 is None else _fits_any(wanted.sha256)
    return lambda run_id, digest: (by_id is None or by_id(run_id)) and (by_digest is None or by_digest(digest))


def matches(wanted: RunFilter) -> Callable[[Facts], bool]:
    """Return a predicate that applies the filter."""
    tests = [*_text_tests(wanted), *_other_tests(wanted)]
    return lambda facts: all(test(facts) for test in tests)


def _text_tests(wanted: RunFilter) -> Iterator[Callable[[Facts], bool]]:
    for attribute in fields(RunFilter):
        patterns = getattr(wanted, attribute.name)
        read = _TEXTS.get(attribute.name)
        if read is not None and patterns is not None:
            yield _any_of(patterns, read)


def _other_tests(wanted: RunFilter) -> Iterator[Callable[[Facts], bool]]:
    if wanted.passed is not None:
        yield lambda facts: facts.rows.run.passed is wanted.passed
    if (since := wanted.since) is not None:
        yield lambda facts: (t := facts.rows.run.timestamp) is not None and t >= since
    if (until := wanted.until) is not None:
        yield lambda facts: (t := facts.rows.run.timestamp) is not None and t < until
    for key, patterns in wanted.labels or ():
        yield _any_of(patterns, _label_reader(key))
    for condition in wanted.metrics or ():
        yield _condition_test(condition)
    if wanted.search is not None:
        yield _search_test(wanted.search)


def _any_of(patterns: Patterns, read: Callable[[Facts], str | None]) -> Callable[[Facts], bool]:
    test = _fits_any(patterns)
    return lambda facts: test(read(facts))


def _fits_any(patterns: Patterns) -> Callable[[str | None], bool]:
    exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
    globs = [pattern.split("*") for pattern in patterns if "*" in pattern]
    return lambda text: text is not None and (text in exact or any(_fits(text, parts) for parts in globs))


def _fits(text: str, parts: Sequence[str]) -> bool:
    """Whether ``text`` consists of the parts in order with anything between them."""
    first, *middle, last = parts
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    start, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, start, end)
        if found < 0:
            return False
        start = found + len(part)
    return True


def _label_reader(key: str) -> Callable[[Facts], str | None]:
    return lambda facts: dict(facts.rows.labels).get(key)


def _condition_test(condition: MetricCondition) -> Callable[[Facts], bool]:
    return lambda facts: any(map(condition.holds, metric_values(facts.rows.benchmarks, condition.name)))


def _search_test(text: str) -> Callable[[Facts], bool]:
    part = text.casefold()
    read = [_TEXTS[name] for name in ("model", "engine", "suite_name", "gpu_model", "fingerprint")]
    return lambda facts: any(part in (get(facts) or "").casefold() for get in read)


def _hardware(name: str) -> Callable[[Facts], str | None]:
    return lambda facts: None if facts.rows.hardware is None else getattr(facts.rows.hardware, name)


def _run(name: str) -> Callable[[Facts], Any]:
    return lambda facts: getattr(facts.rows.run, name)


_TEXTS: dict[str, Callable[[Facts], str | None]] = {
    "id": lambda facts: facts.id,
    "sha256": lambda facts: facts.sha256,
    **{name: _run(name) for name in ("model", "engine", "suite_name", "kitt_version")},
    **{name: _hardware(name) for name in ("gpu_model", "environment_type", "fingerprint")},
}


def metric_values(benchmarks: Sequence[BenchmarkRow], name: str) -> list[float]:
    """Return the finite values of the entries that ``name`` or ``benchmark/name`` refers to."""
    return [
        metric.value
        for benchmark in benchmarks
        for metric in benchmark.metrics
        if (
            name == metric.name
            or (benchmark.test_name is not None and name == f"{benchmark.test_name}/{metric.name}")
        )
        and metric.value is not None
        and math.isfinite(metric.value)
    ]


def summarise(facts: Facts) -> RunSummary:
    """Return the line of a listing."""
    run, hardware = facts.rows.run, facts.rows.hardware
    return RunSummary(
        id=facts.id,
        **{attribute.name: getattr(run, attribute.name) for attribute in fields(type(run))},
        created_at=facts.created_at,
        gpu_model=hardware.gpu_model if hardware else None,
        fingerprint=hardware.fingerprint if hardware else None,
    )


def list_results(
    facts: Iterable[Facts], order: Order, *, limit: int | None, offset: int, after: str | None
) -> Page[RunSummary]:
    """Return a page of the given runs. Summaries are in memory, documents one at a time."""
    key_of = _order_key(order)
    start = None if after is None else Cursor.decode(after, order)
    keyed = ((key_of(each), each.id, summarise(each)) for each in facts)
    ordered = _sorted(keyed, order, None if limit is None or start else offset + limit + 1)
    if start is not None:
        ordered = [line for line in ordered if _follows(line[0], line[1], start, order)]
    rest = ordered[offset:]
    lines = rest if limit is None else rest[:limit]
    more = len(rest) > len(lines) and bool(lines)
    cursor = Cursor(str(order), lines[-1][0], lines[-1][1]).encode() if more else None
    return Page([summary for _, _, summary in lines], cursor)


_Keyed = tuple[OrderKey, str, RunSummary]


def _sorted(lines: Iterable[_Keyed], order: Order, most: int | None) -> list[_Keyed]:
    if most is not None:
        best = heapq.nlargest if order.descending else heapq.nsmallest
        return best(most, lines, key=lambda line: _rank(line[0], line[1], order))
    return sorted(lines, key=lambda line: _rank(line[0], line[1], order), reverse=order.descending)


def _rank(key: OrderKey, run_id: str, order: Order) -> tuple[Any, ...]:
    # Missing values rank greatest in ascending order and least in descending order, so they come last in both.
    if key is None:
        return (not order.descending, run_id)
    return (order.descending, key, run_id)


def _follows(key: OrderKey, run_id: str, start: Cursor, order: Order) -> bool:
    here, there = _rank(key, run_id, order), _rank(start.key, start.run_id, order)
    return here < there if order.descending else here > there


def _order_key(order: Order) -> Callable[[Facts], OrderKey]:
    if order.metric is not None:
        name = order.metric
        return lambda facts: compute("avg", metric_values(facts.rows.benchmarks, name))
    match order.field:
        case "created_at":
            return lambda facts: format_utc(facts.created_at)
        case "timestamp":
            return lambda facts: None if (t := facts.rows.run.timestamp) is None else format_utc(t)
        case "total_time_seconds":
            return lambda facts: (
                s if (s := facts.rows.run.total_time_seconds) is not None and math.isfinite(s) else None
            )
        case name:
            return lambda facts: getattr(facts.rows.run, name)


def metric_names(facts: Iterable[Facts]) -> list[str]:
    """Return the names of the metrics that the runs have: at most 10,000, by code point."""
    names: set[str] = set()
    for run in facts:
        names.update(metric.name for benchmark in run.rows.benchmarks for metric in benchmark.metrics)
        if len(names) >= MOST_NAMES:
            break
    return sorted(names)[:MOST_NAMES]


def aggregate(facts: Iterable[Facts], aggregation: Aggregation) -> list[dict[str, Any]]:
    """Return one row per group, ordered by the group's values, None last."""
    counts: dict[tuple[Any, ...], int] = {}
    values: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    for run in facts:
        for group, benchmarks in _groups_of(run, aggregation.group_by).items():
            counts[group] = counts.get(group, 0) + 1
            collected = values.setdefault(group, {name: [] for name in aggregation.metrics})
            for name in aggregation.metrics:
                collected[name] += metric_values(benchmarks, name)
    return [
        dict(zip(aggregation.group_by, group, strict=True))
        | {"count": counts[group]}
        | {
            f"{name}_{statistic}": compute(statistic, values[group][name])
            for name in aggregation.metrics
            for statistic in aggregation.statistics
        }
        for group in sorted(counts, key=group_order)
    ]


def group_order(group: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the sort key of a group: by value, None last."""
    return tuple((value is None, value if value is not None else "") for value in group)


def _groups_of(facts: Facts, group_by: tuple[str, ...]) -> dict[tuple[Any, ...], list[BenchmarkRow]]:
    """Return the run's groups with the entries that count in each; there may be several with ``test_name``."""
    groups: dict[tuple[Any, ...], list[BenchmarkRow]] = {}
    fixed = {name: _group_value(facts, name) for name in group_by if name != "test_name"}
    if "test_name" not in group_by:
        return {tuple(fixed.values()): list(facts.rows.benchmarks)}
    for benchmark in facts.rows.benchmarks:
        values = {**fixed, "test_name": benchmark.test_name}
        groups.setdefault(tuple(values[name] for name in group_by), []).append(benchmark)
    return groups


def _group_value(facts: Facts, name: str) -> Any:
    if name == "passed":
        return facts.rows.run.passed
    if name in PERIODS:
        return _period(facts.rows.run.timestamp, name)
    key = grouped_label(name)
    return _TEXTS[name](facts) if key is None else _label_reader(key)(facts)


def _period(moment: datetime | None, name: str) -> str | None:
    if moment is None:
        return None
    day = moment.astimezone(UTC).date()
    if name == "week":
        day -= timedelta(days=day.weekday())
    return day.isoformat()[:7] if name == "month" else day.isoformat()
