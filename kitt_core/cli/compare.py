"""``kitt compare``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Final

import attrs
import click

from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.lazy import HintedUsageError
from kitt_core.cli.render import output_options, write_object, write_rows, write_tables
from kitt_core.errors import ConfigurationError
from kitt_core.files import is_part_of
from kitt_core.presentation import counts_shown, some_of
from kitt_core.runs.codec import shown
from kitt_core.service.comparing import ComparedMetric, Comparison, compare_runs, unmatched
from kitt_core.service.run_lookup import Subject, find_subject
from kitt_core.service.transfer.importing import STANDARD_INPUT
from kitt_core.service.unknown_metrics import nearest_metrics
from kitt_core.storage.contract import ResultStore

__all__ = ["compare"]

logger = logging.getLogger(__name__)

_FOR_READING: Final = (None, "table", "markdown")
_COLUMNS: Final = (
    "benchmark",
    "metric",
    "a",
    "b",
    "ratio",
    "unit",
    "direction",
    "definition_a",
    "definition_b",
    "n_a",
    "n_b",
    "note",
)
_TABLE: Final = {
    "benchmark": "benchmark",
    "metric": "metric",
    "a": "A",
    "b": "B",
    "ratio": "B/A",
    "unit": "unit",
    "direction": "better",
    "n_a": "n A",
    "n_b": "n B",
    "note": "note",
}
"""The columns that a table shows, with their headings."""
_ALWAYS_SHOWN: Final = ("model", "engine", "suite_name")


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--metric",
    "metrics",
    metavar="PATTERN",
    multiple=True,
    help="Only metrics that match: 'ttft_ms.*' of every benchmark, 'throughput/*' of one. May be repeated.",
)
@click.option(
    "--incomplete", is_flag=True, help="Also compare what was measured of benchmarks that were interrupted."
)
@output_options
@pass_state
def compare(
    state: State,
    first: str,
    second: str,
    metrics: tuple[str, ...],
    incomplete: bool,
    output_format: str | None,
    output: Path | None,
) -> None:
    """Compare two runs side by side: for each metric both values, B/A, the unit and which direction is better.

    A and B are ids, possibly shortened, or paths of run directories or metrics.json files. Whether a difference is
    significant is not judged: that takes repeated runs and a statistical test.
    """
    if first == second == STANDARD_INPUT:
        raise HintedUsageError("standard input can be only one of the two runs", "give a file for the other one")
    state.protect_store(output)
    with ExitStack() as stack:

        @cache
        def store() -> ResultStore:
            return stack.enter_context(state.open_store())

        a, b = (find_subject(text, store, state.plugins) for text in (first, second))
    _protect(output, (a, b))
    found = compare_runs(a, b, metrics=metrics, incomplete=incomplete)
    _warn(state, found, metrics)
    if output_format in _FOR_READING:
        write_tables(_tables(found), output_format, output)
    elif output_format == "json":
        write_object(_object(found), output_format, output)
    else:
        if found.differences:
            state.note(f"A and B differ in {_named(found)}; --format json has the values")
        write_rows(_COLUMNS, map(_row, [*found.common, *found.alone]), output_format, output)


def _protect(output: Path | None, subjects: Sequence[Subject]) -> None:
    files = [subject.file for subject in subjects if subject.file is not None]
    if output is not None and str(output) != "-" and any(is_part_of(output, [file]) for file in files):
        raise ConfigurationError(
            f"{output} is one of the runs to compare, and would be overwritten", hint="name another file after -o"
        )


def _warn(state: State, found: Comparison, metrics: Sequence[str]) -> None:
    if not found.common:
        of = f" that matches {' or '.join(map(repr, metrics))}" if metrics else ""
        logger.warning("A and B have no metric in common%s", of)
    for pattern, known in unmatched(found.a, found.b, metrics).items():
        state.note(f"neither run has a metric that matches {shown(pattern)}{nearest_metrics(pattern, known)}")


def _named(found: Comparison) -> str:
    return some_of([difference.what for difference in found.differences])


def _tables(found: Comparison) -> Iterator[tuple[Sequence[str], list[dict[str, Any]]]]:
    yield ("run", "A", "B"), [{"run": what, "A": a, "B": b} for what, a, b in _header(found)]
    rows = [_row(metric) for metric in (*found.common, *found.alone)]
    yield tuple(_TABLE.values()), [{title: row[name] for name, title in _TABLE.items()} for row in rows]


def _header(found: Comparison) -> Iterator[tuple[str, Any, Any]]:
    """Yield what the runs are, and then only what differs between them."""
    a, b = _facts(found.a), _facts(found.b)
    yield from ((what, a[what], b[what]) for what in a)
    for difference in found.differences:
        if difference.what not in _ALWAYS_SHOWN:
            yield difference.what, difference.a, difference.b


def _facts(subject: Subject) -> dict[str, Any]:
    run = subject.rows.run
    return {
        "id": subject.id,
        "from": subject.source,
        "model": run.model,
        "engine": run.engine,
        "suite": run.suite_name,
        "time": run.timestamp,
        "status": f"{'passed' if run.passed else 'failed'} ({counts_shown(subject.document, subject.rows)})",
    }


def _object(found: Comparison) -> dict[str, Any]:
    return {
        "a": _identity(found.a),
        "b": _identity(found.b),
        "differences": [attrs.asdict(difference) for difference in found.differences],
        "metrics": [_row(metric) for metric in found.common],
        "alone": [_row(metric) for metric in found.alone],
    }


def _identity(subject: Subject) -> dict[str, Any]:
    run = subject.rows.run
    return {
        "id": subject.id,
        "source": subject.source,
        "model": run.model,
        "engine": run.engine,
        "suite_name": run.suite_name,
        "timestamp": run.timestamp,
        "passed": run.passed,
    }


def _row(metric: ComparedMetric) -> Mapping[str, Any]:
    values = {name: getattr(metric, name) for name in _COLUMNS[:-1]}
    return {**values, "note": "; ".join(metric.notes)}
