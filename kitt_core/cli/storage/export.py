"""``kitt storage export``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from kitt_core.cli.filters import filter_options, note_unknown_metrics
from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.messages import counted
from kitt_core.cli.progress import progress_bar
from kitt_core.cli.render import open_verbatim
from kitt_core.cli.storage.reports import say_failed
from kitt_core.errors import RunNotFoundError
from kitt_core.runs.query import RunFilter
from kitt_core.service.run_lookup import resolve_run_id
from kitt_core.service.transfer.exporting import (
    choose_exporter,
    export_to_directory,
    export_to_stream,
    select_runs,
)
from kitt_core.service.transfer.reading import FailedRun
from kitt_core.storage.contract import ResultStore

__all__ = ["complete_format", "export"]


def complete_format(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the formats whose names begin with ``incomplete``; for ``shell_complete``."""
    from kitt_core.plugins.loading import EXPORTERS

    names = ctx.ensure_object(State).plugins.names(EXPORTERS)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command()
@click.argument("run_ids", metavar="[ID]...", nargs=-1)
@filter_options
@click.option(
    "--format",
    "output_format",
    metavar="NAME",
    shell_complete=complete_format,
    help="json, jsonl, csv, markdown or a plugin's; by default that of the file's extension, else json.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR|-",
    default="-",
    type=click.Path(),
    help="A file; a directory, to get a file per run; or standard output (-).",
)
@pass_state
def export(
    state: State, run_ids: tuple[str, ...], filters: RunFilter, output_format: str | None, output: str
) -> int:
    """Write the runs that have one of the ids and match the filters; without either, all runs.

    json is the document byte for byte, one run per file: several runs need a directory or another format. The name
    of a new directory must end in /, unless it has no extension and --format is not given.
    """
    directory = _is_directory(output, output_format)
    to_file = output != "-" and not directory
    exporter = choose_exporter(state.plugins, output_format, Path(output) if to_file else None)
    with state.open_store(Path(output)) as store, _naming_unknown_metrics(state, store, filters):
        ids = list(dict.fromkeys(resolve_run_id(store, text) for text in run_ids))
        damaged: list[FailedRun] = []
        runs = select_runs(store, ids, filters, on_damage=damaged.append)
        with progress_bar(state, "Exporting", data_on_stdout=output == "-") as progress:
            if directory:
                count = export_to_directory(exporter, runs, Path(output), progress=progress, store=store.paths)
            else:
                with open_verbatim(Path(output)) as stream:
                    count = export_to_stream(exporter, runs, stream, progress=progress)
    if output != "-":
        state.note(f"{counted(count, 'run')} written to {output}")
    say_failed(damaged)
    return 1 if damaged else 0


@contextmanager
def _naming_unknown_metrics(state: State, store: ResultStore, filters: RunFilter) -> Iterator[None]:
    try:
        yield
    except RunNotFoundError:
        note_unknown_metrics(state, store, filters)
        raise


def _is_directory(output: str, output_format: str | None) -> bool:
    if output == "-":
        return False
    try:
        there, is_directory = Path(output).exists(), Path(output).is_dir()
    except OSError:  # the name is too long, or a parent may not be searched: opening the file reports it
        return False
    if there:
        return is_directory
    return output.endswith(("/", os.sep)) or (output_format is None and not Path(output).suffix)
