"""What was measured: as tables for people, and as a run document for a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from benchmarks.cases import Case
from benchmarks.timing import Figures
from benchmarks.workload import Document

__all__ = [
    "ENGINE",
    "MODEL",
    "Goal",
    "Measurement",
    "Section",
    "case_section",
    "duration",
    "figures_document",
    "goals_section",
    "markdown_table",
    "text_table",
]

ENGINE: Final = "kitt-benchmarks"
MODEL: Final = "kitt-sqlite"
_CASE_HEADINGS: Final = ("case", "KITT", "floor", "ratio", "range")


@frozen
class Goal:
    """What a ratio should be.

    Attributes:
        limit: The bound.
        at_least: Whether it is a lower bound.
    """

    limit: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"

    def met(self, ratio: float) -> bool:
        """Return whether a ratio is within the bound."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    def verdict(self, ratio: float) -> str:
        """Return ``met``, or by how much it was missed."""
        if self.met(ratio):
            return "met"
        if not self.limit:
            return f"missed by {ratio:g}"
        return f"missed by {abs(ratio / self.limit - 1):.0%}"


@frozen
class Measurement:
    """One line of a table, and one entry of the document.

    Attributes:
        name: The entry's ``test_name``.
        cells: The line of its section's table, without the goal.
        metrics: What the document says of it.
        ratio: What the goal is about.
        goal: None if there is none.
        summary: What was compared, for the table of goals.
    """

    name: str
    cells: tuple[str, ...]
    metrics: Mapping[str, float]
    ratio: float = 0.0
    goal: Goal | None = None
    summary: str = ""

    @property
    def kept(self) -> bool:
        """Whether its goal is met, or there is none."""
        return self.goal is None or self.goal.met(self.ratio)


@frozen
class Section:
    """What one part of the benchmarks has measured.

    Attributes:
        name: Names it in the page's marks.
        headings: Of the table; without that of the goal if no measurement has one.
        measurements: The lines.
        remarks: Sentences below the table.
    """

    name: str
    headings: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    remarks: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table's cells with the headings, and with the goals if there are any."""
        if all(measurement.goal is None for measurement in self.measurements):
            return [self.headings, *(measurement.cells for measurement in self.measurements)]
        lines = ((*measurement.cells, _goal_cell(measurement)) for measurement in self.measurements)
        return [(*self.headings, "goal"), *lines]


def _goal_cell(measurement: Measurement) -> str:
    return "" if measurement.goal is None else f"{measurement.goal}, {measurement.goal.verdict(measurement.ratio)}"


def text_table(section: Section) -> str:
    """Return a table for a terminal, and the remarks."""
    rows = section.rows()
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
    return "\n".join((*lines, *section.remarks))


def markdown_table(section: Section) -> str:
    """Return the same for a page."""
    headings, *rows = section.rows()
    lines = [_markdown_line(headings), "|" + "---|" * len(headings), *map(_markdown_line, rows)]
    if section.remarks:
        lines += ["", *section.remarks]
    return "\n".join(lines)


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def case_section(name: str, measured: Sequence[tuple[Case, Figures]]) -> Section:
    """Return one line per case: medians, the ratio and its range over the rounds."""
    return Section(name, _CASE_HEADINGS, tuple(_of_case(case, figures) for case, figures in measured))


def _of_case(case: Case, figures: Figures) -> Measurement:
    return Measurement(
        name=case.name,
        cells=(
            case.name,
            duration(figures.seconds),
            duration(figures.floor_seconds),
            f"{figures.ratio:.2f}",
            f"{figures.lowest:.2f}-{figures.highest:.2f}",
        ),
        metrics={
            "ratio": figures.ratio,
            "ratio_lowest": figures.lowest,
            "ratio_highest": figures.highest,
            "median_seconds": figures.seconds,
            "floor_seconds": figures.floor_seconds,
        },
        ratio=figures.ratio,
        goal=None if case.goal is None else Goal(case.goal),
        summary=case.summary,
    )


def goals_section(sections: Sequence[Section]) -> Section:
    """Return the table of all goals, and whether they are met."""
    lines = [
        Measurement(
            line.name, (line.summary, str(line.goal), f"{line.ratio:.2f}", line.goal.verdict(line.ratio)), {}
        )
        for section in sections
        for line in section.measurements
        if line.goal is not None
    ]
    return Section("goals", ("what is compared", "goal", "measured", "verdict"), tuple(lines))


def figures_document(
    sections: Sequence[Section],
    *,
    version: str,
    started: datetime,
    seconds: float,
    config: Mapping[str, Any],
    system_info: Mapping[str, Any],
) -> Document:
    """Return the document of one run of the benchmarks; a measurement has passed if it meets its goal or has none.

    Args:
        sections: What was measured.
        version: KITT's version.
        started: When it began.
        seconds: How long it took.
        config: How it was measured.
        system_info: The machine's fingerprint.
    """
    timestamp = started.isoformat(timespec="microseconds")
    results = [
        {
            "test_name": measurement.name,
            "test_version": "1.0.0",
            "run_number": 1,
            "passed": measurement.kept,
            "metrics": dict(measurement.metrics),
            "timestamp": timestamp,
        }
        for section in sections
        for measurement in section.measurements
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


def duration(seconds: float) -> str:
    """Return seconds in the unit that suits them."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.0f} µs"
