"""A store as a dictionary: the answers that a store must give, computed in the simplest way.

It shares nothing with `kitt_core.storage.fallbacks` but the rows of a document, so that stores which use the
fallbacks are tested as well.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cmp_to_key
from typing import Any

from attrs import asdict, field, frozen

from kitt_core.runs.model import BenchmarkRow, CheckedRun, RunRows, RunSummary
from kitt_core.runs.query import MetricCondition

__all__ = ["ModelRun", "StoreModel"]

_SEARCHED = ("model", "engine", "suite_name", "gpu_model", "fingerprint")


@frozen
class ModelRun:
    """A run in the model."""

    id: str
    document: bytes = field(repr=False)
    created_at: datetime
    sha256: str
    rows: RunRows = field(repr=False)
    files: Mapping[str, bytes]

    def text(self, name: str) -> str | None:
        """Return the text of the field ``name`` of filters and groups."""
        if name in {"id", "sha256"}:
            return str(getattr(self, name))
        if name in {"machine", "software"} or name.startswith("label:"):
            return dict(self.rows.labels).get(name.removeprefix("label:"))
        if name in {"day", "week", "month"}:
            return self._began(name)
        row = self.rows.hardware if name in {"gpu_model", "environment_type", "fingerprint"} else self.rows.run
        value = getattr(row, name, None)
        return value if isinstance(value, str) else None

    def _began(self, period: str) -> str | None:
        if self.rows.run.timestamp is None:
            return None
        moment = self.rows.run.timestamp.astimezone(UTC)
        if period == "week":
            return date.fromisocalendar(*moment.isocalendar()[:2], 1).isoformat()
        return str(moment.date())[: 7 if period == "month" else None]

    def values(self, name: str, benchmarks: Sequence[BenchmarkRow] | None = None) -> list[float]:
        """Return the finite values of a metric."""
        found = []
        for benchmark in self.rows.benchmarks if benchmarks is None else benchmarks:
            for metric, value in benchmark.metrics:
                with_benchmark = None if benchmark.test_name is None else f"{benchmark.test_name}/{metric}"
                if name in {metric, with_benchmark} and value is not None and math.isfinite(value):
                    found.append(value)
        return found

    def summary(self) -> RunSummary:
        """Return the run's line in a listing."""
        return RunSummary(
            id=self.id,
            **asdict(self.rows.run),
            created_at=self.created_at,
            gpu_model=self.text("gpu_model"),
            fingerprint=self.text("fingerprint"),
        )


class StoreModel:
    """All runs by id."""

    def __init__(self) -> None:
        self.runs: dict[str, ModelRun] = {}

    def add(self, run: CheckedRun, created_at: datetime, files: Mapping[str, bytes] | None = None) -> None:
        """Add a run that the store has saved."""
        self.runs[run.id] = ModelRun(run.id, run.document, created_at, run.sha256, run.rows, files or {})

    def select(self, filters: Mapping[str, Any]) -> list[ModelRun]:
        """Return the runs that match every field."""
        return [run for run in self.runs.values() if all(_meets(run, *item) for item in filters.items())]

    def ordered(self, filters: Mapping[str, Any], order_by: str) -> list[ModelRun]:
        """Return the runs that match, in order."""
        descending = order_by.startswith("-")
        name = order_by.removeprefix("-")

        def compare(one: ModelRun, other: ModelRun) -> int:
            first, second = _key(one, name), _key(other, name)
            if (first is None) != (second is None):
                return 1 if first is None else -1
            sign = _three_way(first, second) if first is not None else 0
            sign = sign or _three_way(one.id, other.id)
            return -sign if descending else sign

        return sorted(self.select(filters), key=cmp_to_key(compare))

    def aggregate(
        self, group_by: Sequence[str], metrics: Sequence[str], wanted: Sequence[str], filters: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Return the groups, ordered by value with None last."""
        groups: dict[tuple[Any, ...], list[tuple[ModelRun, Sequence[BenchmarkRow]]]] = {}
        for run in self.select(filters):
            for group, benchmarks in _groups(run, group_by):
                groups.setdefault(group, []).append((run, benchmarks))
        lines = []
        for group in sorted(groups, key=lambda values: [(v is None, v if v is not None else "") for v in values]):
            line: dict[str, Any] = dict(zip(group_by, group, strict=True)) | {"count": len(groups[group])}
            for name in metrics:
                values = [v for run, benchmarks in groups[group] for v in run.values(name, benchmarks)]
                line |= {f"{name}_{statistic}": _statistic(statistic, values) for statistic in wanted}
            lines.append(line)
        return lines


def _meets(run: ModelRun, name: str, wanted: Any) -> bool:
    moment = run.rows.run.timestamp
    match name:
        case "passed":
            return run.rows.run.passed is wanted
        case "since":
            return moment is not None and moment >= _instant(wanted)
        case "until":
            return moment is not None and moment < _instant(wanted)
        case "labels":
            labels = dict(run.rows.labels)
            return all(_any_fits(patterns, labels.get(key)) for key, patterns in wanted.items())
        case "metrics":
            return all(any(_holds(c, value) for value in run.values(c.name)) for c in wanted)
        case "search":
            part = wanted.casefold()
            return any(part in (run.text(field) or "").casefold() for field in _SEARCHED)
        case _:
            return _any_fits(wanted, run.text(name))


def _any_fits(patterns: str | Sequence[str], text: str | None) -> bool:
    several = [patterns] if isinstance(patterns, str) else patterns
    return text is not None and any(_fits(pattern, text) for pattern in several)


def _fits(pattern: str, text: str) -> bool:
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    if not text.startswith(first):
        return False
    position = len(first)
    for part in rest[:-1]:
        position = text.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return text.endswith(rest[-1]) and len(text) - len(rest[-1]) >= position


def _holds(condition: MetricCondition, value: float) -> bool:
    difference = _three_way(value, condition.value)
    return {
        "=": difference == 0,
        "!=": difference != 0,
        "<": difference < 0,
        "<=": difference <= 0,
        ">": difference > 0,
        ">=": difference >= 0,
    }[condition.operator]


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _three_way(one: Any, other: Any) -> int:
    return int(one > other) - int(one < other)


def _key(run: ModelRun, name: str) -> Any:
    if name.startswith("metric:"):
        values = run.values(name.removeprefix("metric:"))
        return statistics.fmean(values) if values else None
    if name == "created_at":
        return run.created_at
    value = getattr(run.rows.run, name)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _groups(run: ModelRun, group_by: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], Sequence[BenchmarkRow]]]:
    fixed = {name: run.rows.run.passed if name == "passed" else run.text(name) for name in group_by}
    if "test_name" not in group_by:
        yield tuple(fixed.values()), run.rows.benchmarks
        return
    for test_name in dict.fromkeys(benchmark.test_name for benchmark in run.rows.benchmarks):
        members = [benchmark for benchmark in run.rows.benchmarks if benchmark.test_name == test_name]
        yield tuple((fixed | {"test_name": test_name}).values()), members


def _statistic(name: str, values: list[float]) -> float | None:
    if name == "count":
        return len(values)
    if not values or (name == "stddev" and len(values) < 2):
        return None
    if name.startswith("p"):
        position = (len(values) - 1) * int(name[1:]) / 100
        low, high = (sorted(values)[step] for step in (math.floor(position), math.ceil(position)))
        return low + (high - low) * (position - math.floor(position))
    functions: dict[str, Callable[[list[float]], float]] = {
        "avg": statistics.fmean,
        "min": min,
        "max": max,
        "sum": math.fsum,
        "stddev": statistics.stdev,
    }
    return float(functions[name](values))
