"""The figures as a table for people, and as a run document for a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from benchmarks.cases import Case
from benchmarks.timing import Figures
from benchmarks.workload import Document

__all__ = ["ENGINE", "MODEL", "figures_document", "figures_table"]

ENGINE: Final = "kitt-benchmarks"
MODEL: Final = "kitt-sqlite"
_HEADINGS: Final = ("case", "KITT", "floor", "ratio", "spread", "goal")

Measured = Sequence[tuple[Case, Figures]]


def figures_table(measured: Measured) -> str:
    """Return one line per case: medians, the ratio and its spread over the rounds, the goal."""
    lines = [_HEADINGS, *(_line(case, figures) for case, figures in measured)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def figures_document(
    measured: Measured,
    *,
    version: str,
    started: datetime,
    seconds: float,
    config: Mapping[str, Any],
    system_info: Mapping[str, Any],
) -> Document:
    """Return the document of one run of the benchmarks; a case has passed if it meets its goal or has none.

    Args:
        measured: The cases with their figures.
        version: KITT's version.
        started: When it began.
        seconds: How long it took.
        config: How it was measured.
        system_info: The machine's fingerprint.
    """
    timestamp = started.isoformat(timespec="microseconds")
    results = [
        {
            "test_name": case.name,
            "test_version": "1.0.0",
            "run_number": 1,
            "passed": _kept(case, figures),
            "metrics": {
                "ratio": figures.ratio,
                "ratio_lowest": figures.lowest,
                "ratio_highest": figures.highest,
                "median_seconds": figures.seconds,
                "floor_seconds": figures.floor_seconds,
            },
            "timestamp": timestamp,
        }
        for case, figures in measured
    ]
    passed = sum(bool(result["passed"]) for result in results)
    return {
        "kitt_version": version,
        "suite_name": "benchmarks",
        "timestamp": timestamp,
        "engine": ENGINE,
        "model": MODEL,
        "passed": passed == len(results),
        "total_benchmarks": len(results),
        "passed_count": passed,
        "failed_count": len(results) - passed,
        "total_time_seconds": seconds,
        "results": results,
        "config": dict(config),
        "system_info": dict(system_info),
    }


def _kept(case: Case, figures: Figures) -> bool:
    return case.goal is None or figures.ratio <= case.goal


def _line(case: Case, figures: Figures) -> tuple[str, ...]:
    goal = "" if case.goal is None else f"{'≤' if _kept(case, figures) else 'not ≤'} {case.goal:g}"
    return (
        case.name,
        _duration(figures.seconds),
        _duration(figures.floor_seconds),
        f"{figures.ratio:.2f}",
        f"{figures.lowest:.2f}-{figures.highest:.2f}",
        goal,
    )


def _duration(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.0f} µs"
