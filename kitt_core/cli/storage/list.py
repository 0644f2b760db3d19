"""``kitt storage list``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
from attrs import fields

from kitt_core.cli.filters import filter_options, note_unknown_metrics, number_or_all, order_help
from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.render import output_options, write_rows
from kitt_core.runs.model import RunSummary
from kitt_core.runs.query import Order, RunFilter
from kitt_core.service.unknown_metrics import is_without

__all__ = ["SHOWN_OF_ID", "list_runs"]

SHOWN_OF_ID: Final = 8
"""How many of an id's last characters tables show: a UUIDv7 begins with the time, which a day's runs share."""

_COLUMNS: Final = (*(attribute.name for attribute in fields(RunSummary)), "skipped_count")
_TABLE: Final = ("id", "model", "engine", "suite_name", "timestamp", "passed", "gpu_model")


@click.command("list")
@filter_options
@click.option("--sort", metavar="ORDER", default="-timestamp", show_default=True, help=order_help)
@click.option(
    "--limit",
    metavar="N|all",
    default="50",
    show_default=True,
    callback=number_or_all("runs"),
    help="List at most this many runs.",
)
@click.option(
    "--after", metavar="CURSOR", help="Continue where an earlier page ended; that page printed the cursor."
)
@output_options
@pass_state
def list_runs(
    state: State,
    filters: RunFilter,
    sort: str,
    limit: int | None,
    after: str | None,
    output_format: str | None,
    output: Path | None,
) -> None:
    """List runs, the newest first.

    Tables show the last characters of each id; every command accepts them in place of the whole id.
    """
    with state.open_store(output) as store:
        page = store.list_results(filters, order_by=sort, limit=limit, after=after)
        rows = ({name: getattr(run, name) for name in _COLUMNS} for run in page)
        write_rows(_COLUMNS, rows, output_format, output, table_columns=_TABLE, shorten={"id": _end_of_id})
        if page.next_cursor is not None:
            state.note(f"more runs follow: --limit all, or --after {page.next_cursor}")
        metric = Order.parse(sort).metric
        if after is None:
            # Runs without the metric come last: if the first lacks it, all do.
            sorted_by = [metric] if metric and (not page or is_without(store, page[0].id, metric)) else []
            if sorted_by or not page:
                note_unknown_metrics(state, store, filters, *sorted_by)


def _end_of_id(run_id: Any) -> str:
    return str(run_id)[-SHOWN_OF_ID:]
