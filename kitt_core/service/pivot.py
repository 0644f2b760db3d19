"""A run's metrics as people compare them: a line per metric, the runs of its benchmark side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import frozen

from kitt_core.model import BenchmarkRow

__all__ = ["BenchmarkTable", "pivot"]


@frozen
class BenchmarkTable:
    """All entries of one benchmark.

    Attributes:
        name: The benchmark.
        passed: For each entry, in the document's order.
        metrics: By name, a value for each entry; None where it has none, or it is no number.
    """

    name: str | None
    passed: tuple[bool, ...]
    metrics: dict[str, tuple[float | None, ...]]


def pivot(benchmarks: Iterable[BenchmarkRow]) -> Iterator[BenchmarkTable]:
    """Yield a table per benchmark, benchmarks and metrics in the order in which they are first seen."""
    entries: dict[str | None, list[BenchmarkRow]] = {}
    for benchmark in benchmarks:
        entries.setdefault(benchmark.test_name, []).append(benchmark)
    for name, rows in entries.items():
        measured = [dict(row.metrics) for row in rows]
        names = dict.fromkeys(metric for values in measured for metric in values)
        yield BenchmarkTable(
            name,
            tuple(bool(row.passed) for row in rows),
            {metric: tuple(values.get(metric) for values in measured) for metric in names},
        )
