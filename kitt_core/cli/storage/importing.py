"""``kitt storage import``."""

from __future__ import annotations

from pathlib import Path

import click

from kitt_core.cli.messages import say_error
from kitt_core.cli.progress import progress_bar
from kitt_core.cli.render import output_options, write_object
from kitt_core.cli.state import State, pass_state
from kitt_core.errors import InputNotFoundError, InvalidDocumentError
from kitt_core.service.imports import ImportReport, find_candidates, import_runs

__all__ = ["import_files"]

_SOME_REFUSED = 1


@click.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@output_options
@pass_state
def import_files(state: State, paths: tuple[str, ...], output_format: str | None, output: Path | None) -> int:
    """Store the documents of files, directories and standard input (-).

    A directory is searched for metrics.json at any depth. A document whose bytes are stored already is not
    stored again. What can't be taken is named, and the rest is stored.

    With --format the ids of the new runs, of those that were there, and what was refused are printed.
    """
    candidates = find_candidates(state.plugins, paths)
    with state.open_store(output) as store:
        location = store.location
        with progress_bar(state, "Importing") as progress:
            report = import_runs(
                store,
                candidates,
                progress=progress,
                announce=lambda run: state.plugins.announce_saved(run, location),
            )
    if output_format is not None or output is not None:
        write_object(_values(report), output_format, output)
    for refusal in report.refused:
        say_error(f"{refusal.source}: {refusal.error.message}", refusal.error.hint)
    state.note(_sentence(report, location))
    return _exit_code(report)


def _values(report: ImportReport) -> dict[str, object]:
    return {
        "stored": list(report.stored),
        "present": list(report.present),
        "refused": [{"source": refusal.source, "reason": refusal.reason} for refusal in report.refused],
    }


def _sentence(report: ImportReport, location: str) -> str:
    new, known, refused = len(report.stored), len(report.present), len(report.refused)
    if (new, known, refused) == (1, 0, 0):
        return f"stored as run {report.stored[0]} in {location}"
    if (new, known, refused) == (0, 1, 0):
        return f"nothing added: {location} has this document as run {report.present[0]}"
    parts = [f"{new} stored" if new else "nothing added", f"{known} already there", f"{refused} refused"]
    return f"{', '.join(parts)} ({location})"


def _exit_code(report: ImportReport) -> int:
    if not report.refused:
        return 0
    if len(report.refused) > 1 or report.stored or report.present:
        return _SOME_REFUSED
    nothing_there = isinstance(report.refused[0].error, InputNotFoundError)
    return (InputNotFoundError if nothing_there else InvalidDocumentError).exit_code
