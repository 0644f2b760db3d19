"""The formats ``json``, ``jsonl``, ``csv`` and ``markdown``.

The first two keep what was saved, the other two are derived from it. All of them treat text from a document as
data: a spreadsheet must not evaluate it and a web page must not render it.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from io import TextIOWrapper
from typing import Any, BinaryIO, Final

from kitt_core._builtin.lines import to_line
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins.records import Exporter, Registry
from kitt_core.presentation import (
    BenchmarkTable,
    benchmark_states,
    code_span,
    escape_markdown,
    instant,
    number,
    one_line,
    parse_stored,
    pivot,
    without_formula,
)
from kitt_core.runs.model import StoredRun
from kitt_core.runs.rows import clean_text, entries_of

_IN_MEMORY: Final = 8 << 20
_RUN_COLUMNS: Final = ("run_id", "model", "engine", "suite_name", "timestamp", "kitt_version")
_ENTRY_COLUMNS: Final = ("test_name", "test_version", "run_number", "passed")
_SKIPPED: Final = "skipped"


@hookimpl
def kitt_register_exporter(registry: Registry[Exporter]) -> None:
    """Register the formats."""
    registry.add(
        Exporter(
            "json", write_json, ".json", single=True, summary="The document, byte for byte; one run per file."
        )
    )
    registry.add(Exporter("jsonl", write_jsonl, ".jsonl", summary="One document per line."))
    registry.add(Exporter("csv", write_csv, ".csv", summary="One row per result entry, one column per metric."))
    registry.add(Exporter("markdown", write_markdown, ".md", summary="One table per run, to paste into GitHub."))


def write_json(runs: Iterable[StoredRun], stream: BinaryIO) -> None:
    """Write the bytes that were saved; the format holds one run."""
    for run in runs:
        stream.write(run.document)


def write_jsonl(runs: Iterable[StoredRun], stream: BinaryIO) -> None:
    """Write each document as one line, from which an import gets the same bytes again."""
    for position, run in enumerate(runs):
        # A stream with one line could as well be a document that ends with a line break.
        stream.write(to_line(run.document, marked=position == 0) + b"\n")


def write_csv(runs: Iterable[StoredRun], stream: BinaryIO) -> None:
    """Write one row per result entry.

    Raises:
        InvalidDocumentError: A stored document can't be read.
    """
    columns = dict.fromkeys((*_RUN_COLUMNS, *_ENTRY_COLUMNS, _SKIPPED))
    # The columns are known only after the last run, so the rows are spooled to disk.
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, mode="w+", encoding="utf-8") as spool:
        for run in runs:
            for cells in _csv_rows(run):
                columns |= dict.fromkeys(cells)
                spool.write(json.dumps(cells) + "\n")
        spool.seek(0)
        text = TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text)  # ends lines with CR LF, because only then a lone CR in a cell is quoted
        writer.writerow(map(without_formula, columns))
        for line in spool:
            cells = json.loads(line)
            writer.writerow([cells.get(column, "") for column in columns])
        text.detach()


def write_markdown(runs: Iterable[StoredRun], stream: BinaryIO) -> None:
    """Write a heading and a pipe table per run.

    Raises:
        InvalidDocumentError: A stored document can't be read.
    """
    for position, run in enumerate(runs):
        lines = _markdown_lines(run)
        stream.write(("\n" * (position > 0) + "\n".join(lines) + "\n").encode())


def _csv_rows(run: StoredRun) -> Iterator[dict[str, str]]:
    document, rows = parse_stored(run)
    of_run = {
        "run_id": without_formula(run.id),
        "model": _cell(rows.run.model),
        "engine": _cell(rows.run.engine),
        "suite_name": _cell(rows.run.suite_name),
        "timestamp": "" if rows.run.timestamp is None else instant(rows.run.timestamp),
        "kitt_version": _cell(rows.run.kitt_version),
    }
    for row, entry in zip(rows.benchmarks, entries_of(document), strict=False):
        of_entry = {name: _cell(getattr(row, name)) for name in _ENTRY_COLUMNS}
        of_entry[_SKIPPED] = _cell(entry.get(_SKIPPED))
        metrics = entry.get("metrics")
        values = dict(_flattened(metrics)) if isinstance(metrics, Mapping) else {}
        yield of_run | of_entry | {_metric_column(name): _cell(value) for name, value in values.items()}


def _metric_column(name: str) -> str:
    return f"metrics.{name}" if name in {*_RUN_COLUMNS, *_ENTRY_COLUMNS, _SKIPPED} else name


def _flattened(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in metrics.items():
        name = prefix + clean_text(key)
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{name}.")
        else:
            yield name, value


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return without_formula(clean_text(value))
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, default=str)


def _markdown_lines(run: StoredRun) -> Iterator[str]:
    document, rows = parse_stored(run)
    row = rows.run
    yield f"### {_code(row.model)} · {_code(row.engine)} · {_code(row.suite_name)}"
    yield ""
    when = "" if row.timestamp is None else f", {row.timestamp:%Y-%m-%d %H:%M:%S} UTC"
    status = "PASSED" if row.passed else "FAILED"
    gpu = f", GPU {_code(rows.hardware.gpu_model)}" if rows.hardware and rows.hardware.gpu_model else ""
    skipped = benchmark_states(document, rows).count("skipped")
    counts = f"{row.passed_count or 0}/{row.total_benchmarks or 0}" + (f", {skipped} skipped" if skipped else "")
    yield f"Run {_code(run.id)}{when}, {status} ({counts}){gpu}"
    tables = list(pivot(document, rows))
    if not tables:
        return
    width = max(len(table.states) for table in tables)
    yield ""
    yield "| " + " | ".join(["Benchmark", "Metric", *(f"Run {n}" for n in range(1, width + 1))]) + " |"
    yield "|---|---|" + "--:|" * width
    for table in tables:
        yield from _markdown_rows(table, width)


def _markdown_rows(table: BenchmarkTable, width: int) -> Iterator[str]:
    lines = [("", list(table.states))]
    lines += [("", [_text(note) for note in table.notes])] if any(table.notes) else []
    lines += [(_code(metric), list(map(_number, values))) for metric, values in table.metrics.items()]
    for metric, cells in lines:
        padding = [""] * (width - len(cells))
        yield "| " + " | ".join([_code(table.name), metric, *cells, *padding]) + " |"


def _text(note: str | None) -> str:
    return escape_markdown(one_line(note or "")) or "-"


def _code(text: str | None) -> str:
    line = one_line(text or "")
    return code_span(line) if line else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else number(value)
