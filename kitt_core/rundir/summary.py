"""``summary.md``: a run for people to read, in KITT's form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from kitt_core.presentation import benchmark_states, escape_markdown, one_line
from kitt_core.runs.model import BenchmarkRow, RunRows
from kitt_core.runs.rows import entries_of
from kitt_core.runs.timestamps import to_utc

__all__ = ["render_summary"]

_LONGEST: Final = 200
_SHOWN_ERRORS: Final = 5
_EXACT: Final = 2.0**53
_STATUS: Final = {"passed": "PASS", "failed": "FAIL", "skipped": "SKIP"}
_KEY_METRICS: Final = (  # the first one that a benchmark has is shown
    ("avg_tps", 1.0, " tok/s"),
    ("accuracy", 100.0, "%"),
    ("avg_latency_ms", 1.0, "ms"),
)


def render_summary(document: Mapping[str, Any], rows: RunRows, created_at: datetime) -> str:
    """Return the summary of a run as Markdown.

    Args:
        document: The parsed document; fields of wrong types are left out.
        rows: The rows of the same document.
        created_at: When the run was saved; shown in UTC.
    """
    states = benchmark_states(document, rows)
    head = _head(rows, created_at, skipped=states.count("skipped"))
    lines = [*head, *_system(document.get("system_info"), rows), *_results(rows, states)]
    lines += ["", "## Detailed Metrics"]
    for row, entry in zip(rows.benchmarks, entries_of(document), strict=False):
        lines += _details(row, entry)
    return "\n".join(lines) + "\n"


def _head(rows: RunRows, created_at: datetime, *, skipped: int) -> Iterator[str]:
    run = rows.run
    status = "PASSED" if run.passed else "FAILED"
    yield f"# KITT Benchmark Results - {_shown(run.suite_name or '-')}"
    yield ""
    yield f"**Generated:** {to_utc(created_at).isoformat(' ', 'seconds').removesuffix('+00:00')} UTC  "
    yield f"**Engine:** {_shown(run.engine or '-')}  "
    yield f"**Model:** {_shown(run.model or '-')}  "
    counts = f"{run.passed_count or 0}/{run.total_benchmarks or 0}" + (f", {skipped} skipped" if skipped else "")
    yield f"**Status:** {status} ({counts})  "
    yield f"**Total Time:** {run.total_time_seconds or 0.0:.1f}s"


def _system(system_info: object, rows: RunRows) -> Iterator[str]:
    hardware = rows.hardware
    if hardware is None or not isinstance(system_info, Mapping):
        return
    yield from ("", "## System Information", "")
    yield from _bullet("Environment", hardware.environment_type)
    yield from _bullet("OS", system_info.get("os"))
    if hardware.gpu_model:
        memory = f" ({hardware.gpu_vram_gb}GB)" if hardware.gpu_vram_gb else ""
        count = f" x{hardware.gpu_count}" if (hardware.gpu_count or 1) > 1 else ""
        yield from _bullet("GPU", f"{hardware.gpu_model[:_LONGEST]}{memory}{count}")
    if hardware.cpu_model:
        cpu = system_info.get("cpu")
        threads = cpu.get("threads") if isinstance(cpu, Mapping) else None
        sizes = "/".join(f"{n}{u}" for n, u in ((hardware.cpu_cores, "c"), (threads, "t")) if isinstance(n, int))
        yield from _bullet("CPU", hardware.cpu_model[:_LONGEST] + (f" ({sizes})" if sizes else ""))
    yield from _bullet("RAM", None if hardware.ram_gb is None else f"{hardware.ram_gb}GB")
    yield from _bullet("CUDA", system_info.get("cuda_version"))
    yield from _bullet("Fingerprint", hardware.fingerprint)


def _bullet(name: str, value: object) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield f"- **{name}:** {_shown(value)}"


def _results(rows: RunRows, states: Sequence[str]) -> Iterator[str]:
    yield from ("", "## Results", "", "| Benchmark | Run | Status | Key Metric |", "|---|---|---|---|")
    for row, state in zip(rows.benchmarks, states, strict=True):
        yield f"| {_title(row)} | {row.run_number or 1} | {_STATUS[state]} | {_key_metric(row)} |"


def _key_metric(row: BenchmarkRow) -> str:
    values = {metric.name: metric.value for metric in row.metrics}
    for name, factor, unit in _KEY_METRICS:
        value = values.get(name)
        if value is not None and math.isfinite(value):
            return f"{value * factor:.1f}{unit}"
    return "-"


def _details(row: BenchmarkRow, entry: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"### {_title(row)} (Run {row.run_number or 1})", "")
    warmup = [value for value in _list(entry.get("warmup_times")) if isinstance(value, int | float)]
    if warmup:
        yield f"- Warm-up: {len(warmup)} iterations, first {_number(warmup[0])}s, last {_number(warmup[-1])}s"
    for metric in row.metrics:
        yield f"- {_shown(metric.name)}: {_number(metric.value)}"
    if entry.get("skipped"):
        yield f"- Skipped: {_shown(entry['skipped'])}"
    errors = _list(entry.get("errors"))
    if errors:
        yield f"- Errors: {len(errors)}"
        yield from (f"  - {_shown(error)}" for error in errors[:_SHOWN_ERRORS])


def _title(row: BenchmarkRow) -> str:
    return _shown(row.test_name or "-")


def _shown(text: object) -> str:
    return escape_markdown(one_line(str(text)))


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if not -_EXACT < value < _EXACT:  # NaN, infinities and numbers too large for a measurement
        return f"{value:g}" if isinstance(value, float) else "-"
    return str(int(value)) if value == int(value) else f"{value:.4f}"


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else []
