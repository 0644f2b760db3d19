"""The documents that are stored: derived from a number, the same on every machine and in every Python.

A standard document has the size of a full run: 24 results (six benchmarks, four repetitions) of 12 numbers each,
about 22 KB. A small one has two results of three numbers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

__all__ = [
    "ENGINES",
    "METRIC",
    "METRICS_PER_RESULT",
    "MODELS",
    "RESULTS_PER_RUN",
    "Document",
    "run_document",
    "time_after",
    "write_run_files",
]

Document = dict[str, Any]

RESULTS_PER_RUN: Final = 24
METRICS_PER_RESULT: Final = 12
METRIC: Final = "tokens_per_second"
"""A metric that every result of every document has."""

ENGINES: Final = ("alder", "birch", "cedar", "doum", "elm")
MODELS: Final = tuple(
    f"{family}-{size}b-{precision}"
    for family in ("heron", "ibis", "jackdaw", "kestrel", "linnet")
    for size in (3, 8, 32, 90)
    for precision in ("bf16", "int4")
)
_SUITES: Final = ("nightly", "release", "smoke")
_MACHINES: Final = (
    ("Granite G1", 96, 8, "Basalt 9000", 128, 1024),
    ("Granite G1", 96, 1, "Basalt 7000", 64, 512),
    ("Marble M40", 48, 2, "Basalt 7000", 64, 256),
    ("Slate S8", 16, 1, "Pumice 500", 16, 64),
)
_BENCHMARKS: Final = ("decode", "prefill", "chat", "long_context", "burst", "steady_load")
_NUMBERS: Final = (METRIC, "requests_per_second", "peak_memory_gb", "mean_power_w", "error_share", "total_seconds")
_QUANTILES: Final = ("mean", "p50", "p99")
_TIMES: Final = ("first_token_ms", "between_tokens_ms")
_REPETITIONS: Final = RESULTS_PER_RUN // len(_BENCHMARKS)
_FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MINUTES: Final = 500_000
_NOTES: Final = (
    "the server was warm: three requests of each prompt length had been answered before the clock was started",
    "two clients shared one connection; their answers were told apart by the identifiers of their requests",
    "the queue was longer than the batch for most of the time, so that first tokens waited for a free slot",
)


def run_document(number: int, *, small: bool = False) -> Document:
    """Return the document of that number; the same number gives the same document."""
    # Of a seeded generator only `random` is guaranteed to be reproducible, so everything is derived from it.
    draw = random.Random(2 * number + small).random
    results = [_result(draw, number, place, small=small) for place in range(2 if small else RESULTS_PER_RUN)]
    return {
        "kitt_version": "0.1.0",
        "model": MODELS[int(draw() * len(MODELS))],
        "engine": ENGINES[int(draw() * len(ENGINES))],
        "suite_name": _SUITES[int(draw() * len(_SUITES))],
        "timestamp": _time(number, 0),
        "passed": draw() < 0.9,
        "total_benchmarks": len(results),
        "passed_count": len(results),
        "failed_count": 0,
        "total_time_seconds": 3000 * draw(),
        "results": results,
        "system_info": _system(draw),
    }


def write_run_files(directory: Path, numbers: range) -> None:
    """Write the documents as run directories, as ``kitt run`` does."""
    for number in numbers:
        folder = directory / f"run-{number:06}"
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps(run_document(number), indent=2), encoding="ascii")


def _result(draw: Any, number: int, place: int, *, small: bool) -> Document:
    metrics: Document = {name: 1000 * draw() for name in _NUMBERS[: 3 if small else None]}
    if not small:
        metrics |= {name: dict(zip(_QUANTILES, _rising(draw), strict=True)) for name in _TIMES}
    return {
        "test_name": _BENCHMARKS[place // _REPETITIONS],
        "test_version": "1.0.0",
        "run_number": place % _REPETITIONS + 1,
        "passed": True,
        "metrics": metrics,
        "errors": [],
        "notes": [_NOTES[int(draw() * len(_NOTES))] for _ in range(2)],
        "warmup_times": [draw() for _ in range(4)],
        "timestamp": _time(number, 30 * place),
    }


def _rising(draw: Any) -> Iterator[float]:
    value = 0.0
    for _ in _QUANTILES:
        value += 200 * draw()
        yield value


def _system(draw: Any) -> Document:
    gpu, vram_gb, count, cpu, cores, ram_gb = _MACHINES[int(draw() * len(_MACHINES))]
    return {
        "gpu": {"model": gpu, "vram_gb": vram_gb, "count": count},
        "cpu": {"model": cpu, "cores": cores, "threads": 2 * cores},
        "ram_gb": ram_gb,
        "environment_type": "docker" if draw() < 0.5 else "native_linux",
        "machine": f"{int(draw() * 64):016x}",
        "software": f"{int(draw() * 16):016x}",
    }


def time_after(share: float) -> datetime:
    """Return the time before which that share of many runs was measured."""
    return _FIRST + timedelta(minutes=share * _MINUTES)


def _time(number: int, seconds: int) -> str:
    # Runs are not in chronological order, as if from several machines, and no two have the same time.
    moment = _FIRST + timedelta(minutes=number * 7919 % _MINUTES, seconds=seconds, microseconds=number % 1_000_000)
    return moment.isoformat(timespec="microseconds")
