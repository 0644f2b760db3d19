"""What `kitt run` prints about a finished run: a few key metrics for people, all metrics for programs."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kitt_core.cli.cells import printable
from kitt_core.cli.messages import completed, say_error
from kitt_core.cli.render import write_object, write_rows, write_text
from kitt_core.errors import ConfigurationError, StoreUnavailableError
from kitt_core.presentation import entry_state, number
from kitt_core.runs.model import BenchmarkRow

if TYPE_CHECKING:
    from kitt_core.service.run.running import FinishedRun

__all__ = ["METRIC_COLUMNS", "TABLE_COLUMNS", "benchmark_objects", "metric_rows", "report", "table_rows"]

logger = logging.getLogger(__name__)

TABLE_COLUMNS: Final = ("benchmark", "run", "status", "metrics")
METRIC_COLUMNS: Final = ("benchmark", "run", "status", "metric", "value")

_INTERRUPTED: Final = 130
_MOST_SHOWN: Final = 4
_KEY_METRICS: Final = (
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


def report(finished: FinishedRun, output_format: str | None, output: Path | None) -> int:
    """Print a finished run with its warnings and failures, and return the exit code.

    Raises:
        ConfigurationError: ``output`` can't be written; the run is stored nevertheless.
    """
    try:
        _show(finished, output_format, output)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"run {finished.run.id} is stored, but {error.message}",
            hint=f"`kitt storage show {shlex.quote(finished.run.id)}` shows it",
        ) from error
    if output_format in {None, "table"}:
        _show_places(finished)
    _warn(finished)
    return _exit_code(finished)


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
            "status": entry_state(row, entry),
            "metrics": {metric.name: metric.value for metric in row.metrics},
            "errors": list(entry.get("errors", ())),
            **({"skipped": entry["skipped"]} if entry.get("skipped") else {}),
        }
        for row, entry in zip(rows, entries, strict=True)
    ]


def table_rows(objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row per benchmark for `TABLE_COLUMNS`; a skipped one shows the reason in place of metrics."""
    return [{**found, "metrics": found.get("skipped") or _key_metrics(found["metrics"])} for found in objects]


def metric_rows(objects: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a row per metric for `METRIC_COLUMNS`; a benchmark without metrics has one row."""
    for found in objects:
        for name, value in (found["metrics"] or {None: None}).items():
            yield {**found, "metric": name, "value": value}


def _key_metrics(metrics: Mapping[str, float | None]) -> str:
    names = [name for name in _KEY_METRICS if name in metrics]
    names += [name for name in metrics if name.startswith("overall_peak_")]
    chosen = (names or list(metrics))[:_MOST_SHOWN]
    return ", ".join(f"{name} {number(value)}" for name in chosen if (value := metrics[name]) is not None)


def _show(finished: FinishedRun, output_format: str | None, output: Path | None) -> None:
    objects = benchmark_objects(finished.run.rows.benchmarks, finished.measured.entries)
    facts: dict[str, Any] = {
        "id": finished.run.id,
        "location": finished.location,
        "directory": str(finished.directory),
        "passed": finished.measured.passed,
    }
    if finished.copy is not None:
        facts["karr"] = None if finished.copy.refusal else finished.copy.location
    if output_format in {"json", "jsonl"}:
        whole = facts | {"stopped": finished.measured.stopped, "benchmarks": objects}
        write_object(whole, output_format, output)
    elif output_format == "csv":
        write_rows(METRIC_COLUMNS, metric_rows(objects), output_format, output)
    else:
        write_rows(TABLE_COLUMNS, table_rows(objects), output_format, output)


def _show_places(finished: FinishedRun) -> None:
    places = {"run": finished.run.id, "stored": finished.location, "files": finished.directory}
    if finished.copy is not None and finished.copy.refusal is None:
        places["karr"] = finished.copy.location
    write_text("".join(f"{printable(f'{key:<8}{value}')}\n" for key, value in places.items()))


def _warn(finished: FinishedRun) -> None:
    """Log the document's warnings in one line."""
    warned = [entry for entry in finished.measured.entries if entry.get("warnings")]
    if warned:
        more = len(warned) - 1
        others = f" (and {more} more benchmark{'s' * (more > 1)})" if more else ""
        logger.warning("%s: %s%s", warned[0]["test_name"], warned[0]["warnings"][0], others)


def _exit_code(finished: FinishedRun) -> int:
    measured = finished.measured
    copied = finished.copy is None or finished.copy.refusal is None
    if not copied:
        _say_not_copied(finished)
    look = f"`kitt storage show {shlex.quote(finished.run.id)}` shows what happened"
    if finished.interrupted:
        what = (
            "what was measured until then is stored" if measured.interrupted else "the run is complete and stored"
        )
        say_error(f"interrupted; {what}", look)
        return _INTERRUPTED
    if not copied:
        return StoreUnavailableError.exit_code
    if measured.passed:
        return 0
    if measured.stopped is not None:
        cause = measured.entries[-1]["errors"][0]
        more = "" if measured.stopped in cause else f"; {cause}"
        say_error(f"the run ended early: {measured.stopped}{more}", look)
        return 1
    first = next((error for entry in measured.entries for error in entry["errors"]), None)
    if not measured.failed_count:
        reason = next((f": {entry['skipped']}" for entry in measured.entries), "")
        say_error(f"nothing was measured: every benchmark was skipped{reason}", look)
        return 1
    say_error(
        f"{measured.failed_count} of {len(measured.entries)} benchmarks failed" + (f": {first}" if first else ""),
        look,
    )
    return 1


def _say_not_copied(finished: FinishedRun) -> None:
    copy = finished.copy
    if copy is not None:
        named = f"--backend {shlex.quote(f'karr:///{copy.location}')} "
        later = f"`kitt {named}storage import {shlex.quote(str(finished.directory))}` adds it later"
        say_error(
            f"the run is stored, but not in {copy.location}: {copy.refusal}",
            later + (f"; {completed(copy.hint, lambda: named)}" if copy.hint else ""),
        )
