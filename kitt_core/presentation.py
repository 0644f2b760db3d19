"""Formatting that exporters and the command line share when they show runs to people."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from attrs import frozen

from kitt_core.errors import InvalidDocumentError
from kitt_core.runs import codec
from kitt_core.runs.model import BenchmarkRow, RunRows, StoredRun
from kitt_core.runs.rows import clean_text, derive_rows, entries_of
from kitt_core.runs.timestamps import to_utc

__all__ = [
    "BenchmarkTable",
    "benchmark_states",
    "code_span",
    "counts_shown",
    "entry_state",
    "escape_markdown",
    "instant",
    "leaves",
    "number",
    "one_line",
    "parse_stored",
    "pivot",
    "some_of",
    "without_formula",
]

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_LONGEST_LINE: Final = 200
_MOST_NAMED: Final = 5
_MARKS: Final = re.compile(r"[\\`*\[\]<>|#~&!$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^[-+](?=\s|$)")
_NUMBERING: Final = re.compile(r"^(\d+)([.)])(?=\s|$)")
_SIGNIFICANT: Final = 4
_LARGEST_PLAIN: Final = 1e15
_SMALLEST_PLAIN: Final = 1e-4


def parse_stored(run: StoredRun) -> tuple[Mapping[str, Any], RunRows]:
    """Return the document of a stored run and its rows.

    Raises:
        InvalidDocumentError: The document is damaged; the message names the run.
    """
    try:
        document = codec.parse(run.document)
    except InvalidDocumentError as error:
        raise InvalidDocumentError(
            f"run {run.id} cannot be read: {error.message}", hint="run `kitt storage verify` to look for damage"
        ) from error
    return document, derive_rows(document, strict=False)


def leaves(value: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return the values of an object by their dotted paths; an array of plain values counts as one value.

    Args:
        value: The object.
        path: The prefix of each path.
    """
    found: dict[str, Any] = {}
    for key, item in value.items():
        place = ".".join(filter(None, (path, clean_text(key))))
        inner = _parts(item)
        if inner is None:
            found[place] = item
        else:
            found |= leaves(inner, place)
    return found


def _parts(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        return {str(position): part for position, part in enumerate(value)}
    return value if isinstance(value, Mapping) else None


def instant(moment: datetime) -> str:
    """Return a time in ISO 8601, UTC, with a ``Z``."""
    return to_utc(moment).isoformat().replace("+00:00", "Z")


def some_of(names: Sequence[str]) -> str:
    """Return names as a sentence lists them: the first few, and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def without_formula(text: str) -> str:
    """Return ``text`` with a leading apostrophe if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def number(value: float) -> str:
    """Return a number for people to read: whole numbers as they are, others with four significant digits."""
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    size = abs(value)
    if value == int(value) and size < _LARGEST_PLAIN:
        return str(int(value))
    if not _SMALLEST_PLAIN <= size < _LARGEST_PLAIN:
        return f"{value:.{_SIGNIFICANT}g}"
    if size >= 10 ** (_SIGNIFICANT - 1):
        return f"{value:.0f}"
    return f"{Decimal(f'{value:.{_SIGNIFICANT - 1}e}'):f}"  # rounds first, then counts digits: 99.999 is 100.0


def one_line(text: str) -> str:
    """Return ``text`` as one line of visible characters, cut to a readable length."""
    start = text[: 4 * _LONGEST_LINE]
    line = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"


def escape_markdown(text: str) -> str:
    """Return a line escaped so that Markdown shows it as it is, even in a table cell."""
    # An underscore inside a word has no meaning in Markdown, and avg_tps reads better than avg\_tps.
    return _NUMBERING.sub(r"\1\\\2", _MARKS.sub(r"\\\g<0>", text))


def code_span(text: str) -> str:
    """Return a line as code, the only place where GitHub never turns text into links, mentions or markup."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    # In a table, backslashes before a pipe are processed before the code span is.
    escaped = re.sub(r"(\\*)\|", lambda match: match[1] * 2 + r"\|", text)
    return f"{fence}{space}{escaped}{space}{fence}"


@frozen
class BenchmarkTable:
    """All entries of one benchmark, side by side for comparison.

    Attributes:
        name: The benchmark.
        states: ``passed``, ``failed`` or ``skipped`` for each entry, in the document's order.
        notes: Why each entry was skipped, or how much of it was measured before it was interrupted; else None.
        metrics: By name, one value per entry; None if the entry has none, or not a number.
    """

    name: str | None
    states: tuple[str, ...]
    notes: tuple[str | None, ...]
    metrics: dict[str, tuple[float | None, ...]]


def benchmark_states(document: Mapping[str, Any], rows: RunRows) -> list[str]:
    """Return ``passed``, ``failed`` or ``skipped`` for each entry of a document."""
    return [entry_state(*each) for each in zip(rows.benchmarks, entries_of(document), strict=False)]


def entry_state(row: BenchmarkRow, entry: Mapping[str, Any]) -> str:
    """Return ``passed``, ``failed`` or ``skipped`` for one entry and its row."""
    return "skipped" if entry.get("skipped") else "passed" if row.passed else "failed"


def _note(entry: Mapping[str, Any]) -> str | None:
    return next((text for name in ("skipped", "incomplete") if isinstance(text := entry.get(name), str)), None)


def counts_shown(document: Mapping[str, Any], rows: RunRows) -> str:
    """Return how many entries of a run passed, as ``3 of 4 passed, 1 skipped``."""
    skipped = benchmark_states(document, rows).count("skipped")
    shown = f"{rows.run.passed_count or 0} of {rows.run.total_benchmarks or 0} passed"
    return f"{shown}, {skipped} skipped" if skipped else shown


def pivot(document: Mapping[str, Any], rows: RunRows) -> Iterator[BenchmarkTable]:
    """Yield one table per benchmark, with benchmarks and metrics in the order of their first occurrence."""
    entries: dict[str | None, list[tuple[BenchmarkRow, str, str | None]]] = {}
    states, notes = benchmark_states(document, rows), map(_note, entries_of(document))
    for benchmark, state, note in zip(rows.benchmarks, states, notes, strict=False):
        entries.setdefault(benchmark.test_name, []).append((benchmark, state, note))
    for name, found in entries.items():
        measured = [dict(row.metrics) for row, _, _ in found]
        names = dict.fromkeys(metric for values in measured for metric in values)
        yield BenchmarkTable(
            name,
            tuple(state for _, state, _ in found),
            tuple(note for _, _, note in found),
            {metric: tuple(values.get(metric) for values in measured) for metric in names},
        )
