"""``kitt storage import``."""

from __future__ import annotations

from pathlib import Path

import click

from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.messages import say_error
from kitt_core.cli.progress import progress_bar
from kitt_core.cli.render import output_options, write_object
from kitt_core.cli.storage.reports import exit_code, note_files_left, partial_report
from kitt_core.service.transfer.importing import (
    MOST_JOBS,
    ImportReport,
    find_candidates,
    import_runs,
    usual_jobs,
)

__all__ = ["import_files"]


@click.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(min=1, max=MOST_JOBS),
    help="Read and check documents in N processes while another one writes; 1 for a single process that does all."
    " By default 2 where there are several processors. A short import needs none.",
)
@output_options
@pass_state
def import_files(
    state: State, /, *, paths: tuple[str, ...], jobs: int | None, output_format: str | None, output: Path | None
) -> int:
    """Store documents from files, directories and standard input (-).

    Directories are searched for metrics.json at any depth. A document that is already stored, byte for byte, is
    not stored again. Documents that are refused are named, and the rest are stored.

    With --format, the ids of the new runs, the ids of those already stored and the refused documents are printed.
    """
    candidates = find_candidates(state.plugins, paths)
    with state.open_store(output) as store:
        location = store.location
        report = ImportReport()
        with (
            partial_report(state, report, lambda: _numbers(report), lambda: _say_refused(report)),
            progress_bar(state, "Importing") as progress,
        ):
            import_runs(
                store,
                candidates,
                progress=progress,
                announce=lambda run: state.plugins.announce_saved(run, location),
                report=report,
                jobs=usual_jobs() if jobs is None else jobs,
            )
    if output_format is not None or output is not None:
        write_object(_values(report), output_format, output)
    _say_refused(report)
    note_files_left(state, report.files_left, store)
    state.note(_sentence(report, location))
    return exit_code(report.done, [refusal.error for refusal in report.refused])


def _say_refused(report: ImportReport) -> None:
    for refusal in report.refused:
        say_error(f"{refusal.source}: {refusal.error.message}", refusal.error.hint)


def _values(report: ImportReport) -> dict[str, object]:
    return {
        "stored": list(report.stored),
        "present": list(report.present),
        "refused": [{"source": refusal.source, "reason": refusal.reason} for refusal in report.refused],
        "files_left": report.files_left,
    }


def _sentence(report: ImportReport, location: str) -> str:
    new, known, refused = len(report.stored), len(report.present), len(report.refused)
    if (new, known, refused) == (1, 0, 0):
        return f"stored as run {report.stored[0]} in {location}"
    if (new, known, refused) == (0, 1, 0):
        return f"nothing added: {location} has this document as run {report.present[0]}"
    return f"{_numbers(report)} ({location})"


def _numbers(report: ImportReport) -> str:
    stored = f"{len(report.stored)} stored" if report.stored else "nothing added"
    return f"{stored}, {len(report.present)} already there, {len(report.refused)} refused"
