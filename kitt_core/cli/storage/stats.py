"""``kitt storage stats`` and ``aggregate``: counts and statistics over many runs."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from kitt_core.cli.filters import (
    comma_separated,
    filter_options,
    group_fields,
    group_help,
    note_unknown_metrics,
    statistics_help,
)
from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.lazy import HintedUsageError
from kitt_core.cli.messages import counted
from kitt_core.cli.render import output_options, write_object, write_rows
from kitt_core.runs.grouping import Aggregation
from kitt_core.runs.query import RunFilter
from kitt_core.storage.contract import ResultStore

__all__ = ["aggregate", "stats"]


@click.command()
@click.option(
    "--by",
    metavar="FIELD[,FIELD]",
    multiple=True,
    callback=group_fields,
    help=f"Count the runs of each group. {group_help}",
)
@filter_options
@output_options
@pass_state
def stats(state: State, by: list[str], filters: RunFilter, output_format: str | None, output: Path | None) -> None:
    """Count runs, models, engines and suites; with --by, the runs of each group, the largest first."""
    with state.open_store(output) as store:
        if not by:
            values = _overview(store, filters)
            write_object(values, output_format, output)
            if not values["runs"]:
                note_unknown_metrics(state, store, filters)
            return
        rows = sorted(store.aggregate(by, filters=filters), key=lambda row: -int(row["count"]))
        write_rows((*by, "count"), rows, output_format, output)
        if not rows:
            note_unknown_metrics(state, store, filters)


@click.command()
@click.option(
    "--by",
    metavar="FIELD[,FIELD]",
    multiple=True,
    required=True,
    callback=group_fields,
    help=f"What to group by. {group_help}",
)
@click.option(
    "--metric",
    "metrics",
    metavar="NAME[,NAME]",
    multiple=True,
    callback=comma_separated,
    help="Metrics: avg_tps of every benchmark, or throughput/avg_tps of one. Without any, runs are counted.",
)
@click.option(
    "--stat",
    "statistics",
    metavar="NAME[,NAME]",
    multiple=True,
    default=("avg",),
    show_default=True,
    callback=comma_separated,
    help=statistics_help,
)
@filter_options
@output_options
@pass_state
def aggregate(
    state: State,
    by: list[str],
    metrics: list[str],
    statistics: list[str],
    filters: RunFilter,
    output_format: str | None,
    output: Path | None,
) -> None:
    """Compute statistics of metrics over the result entries of each group of runs."""
    source = click.get_current_context().get_parameter_source("statistics")
    if not metrics and source is not ParameterSource.DEFAULT:
        raise HintedUsageError("--stat is given without --metric", "name what to compute it of: --metric avg_tps")
    wanted = Aggregation.of(by, metrics, statistics)
    with state.open_store(output) as store:
        # The count tells an undefined value from one that no double holds.
        rows = store.aggregate(by, metrics, statistics=(*wanted.statistics, "count"), filters=filters)
        write_rows((*wanted.group_by, "count", *wanted.columns), rows, output_format, output)
        without = [name for name in wanted.metrics if not any(row[f"{name}_count"] for row in rows)]
        if without or not rows:
            note_unknown_metrics(state, store, filters, *without)
    for name, statistic in product(wanted.metrics, wanted.statistics):
        column, defined = f"{name}_{statistic}", 2 if statistic == "stddev" else 1
        beyond = [row for row in rows if row[column] is None and row[f"{name}_count"] >= defined]
        if beyond:
            where = counted(len(beyond), "group")
            state.note(f"{column} is empty where it is beyond the range of a double, in {where}")


def _overview(store: ResultStore, filters: RunFilter) -> dict[str, Any]:
    runs = store.count(filters)
    by_result = {row["passed"]: row["count"] for row in store.aggregate("passed", filters=filters)}
    newest = store.list_results(filters, order_by="-timestamp", limit=1)
    oldest = store.list_results(filters, order_by="timestamp", limit=1)
    return {
        "runs": runs,
        "passed": by_result.get(True, 0),
        "failed": by_result.get(False, 0),
        "models": len(store.aggregate("model", filters=filters)),
        "engines": len(store.aggregate("engine", filters=filters)),
        "suites": len(store.aggregate("suite_name", filters=filters)),
        "benchmarks": len(store.aggregate("test_name", filters=filters)),
        "oldest": oldest[0].timestamp if oldest else None,
        "newest": newest[0].timestamp if newest else None,
    }
