"""``kitt storage show``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.lazy import HintedUsageError
from kitt_core.cli.render import FORMATS, open_verbatim, write_object, write_rows
from kitt_core.cli.storage.reports import say_failed
from kitt_core.presentation import BenchmarkTable, counts_shown, parse_stored, pivot
from kitt_core.runs.model import RunRows
from kitt_core.service.run_lookup import resolve_run_id
from kitt_core.service.transfer.exporting import choose_exporter, export_to_stream, select_runs
from kitt_core.service.transfer.reading import FailedRun
from kitt_core.storage.contract import ResultStore

__all__ = ["show"]

_TABLE: Final = "table"


@click.command()
@click.argument("run_id", metavar="ID")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(FORMATS),
    help="json is the document byte for byte; table, the default without -o, is for reading.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the document to this file.",
)
@pass_state
def show(state: State, run_id: str, output_format: str | None, output: Path | None) -> int:
    """Show one run with its benchmarks and metrics."""
    file = None if output is None or str(output) == "-" else output
    as_table = output_format == _TABLE or (output_format is None and file is None)
    if as_table and file is not None:
        raise HintedUsageError("a table cannot be written to a file", "give --format json, csv or markdown")
    with state.open_store(file) as store:
        found = resolve_run_id(store, run_id)
        if as_table:
            _show_table(store, found)
            return 0
        damaged: list[FailedRun] = []
        exporter = choose_exporter(state.plugins, output_format, file)
        with open_verbatim(file) as stream:
            export_to_stream(exporter, select_runs(store, [found], on_damage=damaged.append), stream)
    say_failed(damaged)
    return 1 if damaged else 0


def _show_table(store: ResultStore, run_id: str) -> None:
    run = next(select_runs(store, [run_id]))
    document, rows = parse_stored(run)
    files = [file.name for file in store.attachments(run_id)]
    write_object(
        {
            "id": run_id,
            **_run_values(document, rows),
            "saved": run.created_at,
            **_hardware_values(rows),
            **{f"label {key}": value for key, value in rows.labels},
            **({"files": ", ".join(files)} if files else {}),
        }
    )
    tables = list(pivot(document, rows))
    if tables:
        runs = [f"run {n}" for n in range(1, 1 + max(len(table.states) for table in tables))]
        write_rows(("benchmark", "metric", *runs), _metric_rows(tables, runs))


def _run_values(document: Mapping[str, Any], rows: RunRows) -> dict[str, Any]:
    run = rows.run
    return {
        "model": run.model,
        "engine": run.engine,
        "suite": run.suite_name,
        "time": run.timestamp,
        "status": f"{'passed' if run.passed else 'failed'} ({counts_shown(document, rows)})",
        "seconds": run.total_time_seconds,
        "KITT": run.kitt_version,
    }


def _hardware_values(rows: RunRows) -> dict[str, Any]:
    hardware = rows.hardware
    if hardware is None:
        return {}
    values = {
        "GPU": hardware.gpu_model,
        "GPU count": hardware.gpu_count,
        "GPU memory (GB)": hardware.gpu_vram_gb,
        "CPU": hardware.cpu_model,
        "CPU cores": hardware.cpu_cores,
        "RAM (GB)": hardware.ram_gb,
        "environment": hardware.environment_type,
        "fingerprint": hardware.fingerprint,
    }
    return {name: value for name, value in values.items() if value is not None}


def _metric_rows(tables: Sequence[BenchmarkTable], runs: Sequence[str]) -> Iterator[dict[str, Any]]:
    for table in tables:
        yield {"benchmark": table.name, "metric": "status", **dict(zip(runs, table.states, strict=False))}
        if any(table.notes):
            yield {"benchmark": table.name, "metric": "note", **dict(zip(runs, table.notes, strict=False))}
        for metric, values in table.metrics.items():
            yield {"benchmark": table.name, "metric": metric, **dict(zip(runs, values, strict=False))}
