"""A finished run as rows: for people the few metrics that tell most, for programs all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kitt_core.presentation import number
from kitt_core.runs.model import BenchmarkRow

__all__ = ["METRIC_COLUMNS", "TABLE_COLUMNS", "benchmark_objects", "metric_rows", "table_rows"]

TABLE_COLUMNS: Final = ("benchmark", "run", "status", "metrics")
METRIC_COLUMNS: Final = ("benchmark", "run", "status", "metric", "value")

_MOST: Final = 4
_TELLING: Final = (
    "avg_tps",
    "output_token_throughput",
    "best_output_token_throughput",
    "best_concurrency",
    "cold_latency_ms",
    "warm_latency_ms",
    "warmup_penalty_pct",
    "ttft_ms.p50",
    "tpot_ms.mean",
    "e2e_latency_ms.p95",
)

Entries = Sequence[Mapping[str, Any]]


def benchmark_objects(rows: Sequence[BenchmarkRow], entries: Entries) -> list[dict[str, Any]]:
    """Return an object per benchmark, with all its metrics by dotted name.

    Args:
        rows: The rows of the run's document.
        entries: The ``results`` of the same document.
    """
    return [
        {
            "benchmark": row.test_name,
            "run": row.run_number,
            "status": _status(row, entry),
            "metrics": {metric.name: metric.value for metric in row.metrics},
            "errors": list(entry.get("errors", ())),
            **({"skipped": entry["skipped"]} if entry.get("skipped") else {}),
        }
        for row, entry in zip(rows, entries, strict=True)
    ]


def table_rows(objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row per benchmark for `TABLE_COLUMNS`; the reason stands for the metrics of a skipped one."""
    return [{**found, "metrics": found.get("skipped") or _telling(found["metrics"])} for found in objects]


def metric_rows(objects: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a row per metric for `METRIC_COLUMNS`; a benchmark without metrics has one row."""
    for found in objects:
        for name, value in (found["metrics"] or {None: None}).items():
            yield {**found, "metric": name, "value": value}


def _status(row: BenchmarkRow, entry: Mapping[str, Any]) -> str:
    if not row.passed:
        return "failed"
    return "skipped" if entry.get("skipped") else "passed"


def _telling(metrics: Mapping[str, float | None]) -> str:
    names = [name for name in _TELLING if name in metrics]
    names += [name for name in metrics if name.startswith("overall_peak_")]
    chosen = (names or list(metrics))[:_MOST]
    return ", ".join(f"{name} {number(value)}" for name in chosen if (value := metrics[name]) is not None)
