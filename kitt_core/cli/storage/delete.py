"""``kitt storage delete``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

import click

from kitt_core.cli.cells import readable
from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.lazy import HintedUsageError
from kitt_core.cli.messages import counted, say
from kitt_core.service.run_lookup import resolve_run_id
from kitt_core.storage.contract import Capability, ResultStore

__all__ = ["delete"]


@click.command()
@click.argument("run_ids", metavar="ID...", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Don't ask for confirmation.")
@pass_state
def delete(state: State, run_ids: tuple[str, ...], yes: bool) -> None:
    """Delete runs with everything that belongs to them.

    All ids are looked up before anything is deleted, and the runs are listed before you are asked.
    """
    with state.open_store() as store:
        store.require(Capability.DELETE, "delete runs")
        ids = list(dict.fromkeys(resolve_run_id(store, text) for text in run_ids))
        if not yes:
            _confirm(store, ids)
        for run_id in ids:
            removed = store.delete_result(run_id)
            state.note(f"deleted {run_id}" if removed else f"{run_id} was deleted by someone else meanwhile")


def _confirm(store: ResultStore, ids: Sequence[str]) -> None:
    if not sys.stdin.isatty():
        raise HintedUsageError(
            f"{counted(len(ids), 'run')} in {store.location} would be deleted, but there is no terminal to ask on",
            "give --yes to delete without confirmation",
        )
    known = {run.id: run for run in store.list_results({"id": ids})}
    for run_id in ids:
        run = known.get(run_id)
        facts = (run.model, run.engine, run.suite_name, run.timestamp) if run else ("cannot be read",)
        say("  ".join([run_id, *map(readable, facts)]))
    what = "this run" if len(ids) == 1 else f"these {len(ids)} runs"
    with redirect_stdout(sys.stderr):  # click 8.1 writes a space to stdout, whatever `err` says
        click.confirm(f"Delete {what} from {store.location}?", abort=True, err=True)
