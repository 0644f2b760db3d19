"""What exporters and the command line share when they show runs to people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from kitt_core import codec
from kitt_core.errors import InvalidDocumentError
from kitt_core.model import BenchmarkRow, RunRows, StoredRun
from kitt_core.rows import derive_rows

__all__ = ["BenchmarkTable", "parse_stored", "pivot", "without_formula"]

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def parse_stored(run: StoredRun) -> tuple[Mapping[str, Any], RunRows]:
    """Return the document of a stored run and its rows.

    Raises:
        InvalidDocumentError: The document is damaged; the message names the run.
    """
    try:
        document = codec.parse(run.document)
    except InvalidDocumentError as error:
        raise InvalidDocumentError(
            f"run {run.id} cannot be read: {error.message}", hint="`kitt storage verify` looks for damage"
        ) from error
    return document, derive_rows(document, strict=False)


def without_formula(text: str) -> str:
    """Return ``text`` so that no spreadsheet takes it for a formula: such a one gets an apostrophe."""
    return f"'{text}" if text.startswith(_FORMULA) else text


@frozen
class BenchmarkTable:
    """All entries of one benchmark, side by side as people compare them.

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
