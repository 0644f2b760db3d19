"""docs/benchmarks.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from kitt_core.benchmarking.catalogue import CATALOGUE, Direction
from kitt_core.benchmarking.suites import SUITES, PlannedBenchmark

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
ARROWS = {Direction.HIGHER: "↑", Direction.LOWER: "↓", Direction.NEUTRAL: "\N{EN DASH}"}


def rows(title: str) -> list[list[str]]:
    """Return the cells of the tables below a heading, the tables' own headings left out."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.split(r"^## ", text.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    lines = section.splitlines()
    return [
        [cell.strip().strip("`") for cell in line.split("|")[1:-1]]
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith("|") and not line.startswith("|--") and not following.startswith("|--")
    ]


def test_every_metric_stands_there_with_unit_direction_and_definition() -> None:
    documented = rows("Metrics")
    assert documented == [
        [entry.name, entry.unit, ARROWS[entry.direction], entry.definition, entry.meaning] for entry in CATALOGUE
    ]


def test_every_benchmark_and_suite_stands_there() -> None:
    names = {planned.benchmark.name for suite in SUITES for planned in suite.plan}
    assert {row[0] for row in rows("Benchmarks")} == names
    plans = [row for row in rows("Suites") if len(row) == 4]
    assert {row[0] for row in plans} == names
    assert [row[0] for row in rows("Suites") if len(row) == 2] == [suite.name for suite in SUITES]
    for column, suite in enumerate(SUITES, 1):
        for name, cell in ((row[0], row[column]) for row in plans):
            planned = next((planned for planned in suite.plan if planned.benchmark.name == name), None)
            assert cell == ("" if planned is None else described(planned)), (suite.name, name)


def described(planned: PlannedBenchmark) -> str:
    workload = planned.benchmark.workload
    text = f"{workload.iterations} \N{MULTIPLICATION SIGN} {workload.max_tokens}"
    levels = getattr(planned.benchmark, "levels", None)
    if levels is not None:
        text += f" @ {levels[0]} to {levels[-1]}"
    elif workload.concurrency > 1:
        text += f" @ {workload.concurrency}"
    return text + (f", {planned.runs} runs" if planned.runs > 1 else "")
