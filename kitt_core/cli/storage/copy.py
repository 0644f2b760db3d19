"""``kitt storage copy``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from kitt_core.cli.filters import as_pairs, filter_options, note_unknown_metrics
from kitt_core.cli.invocation import State, complete_backend, pass_state
from kitt_core.cli.messages import completed
from kitt_core.cli.progress import progress_bar
from kitt_core.cli.render import output_options, write_object
from kitt_core.cli.storage.reports import exit_code, failed_values, note_omissions, partial_report, say_failed
from kitt_core.errors import ConfigurationError, KittError
from kitt_core.files import check_output
from kitt_core.opening import Selection, select_store
from kitt_core.options import target_option
from kitt_core.runs.query import RunFilter
from kitt_core.service.transfer.copying import CopyReport, copy_runs
from kitt_core.storage.contract import ResultStore

__all__ = ["copy"]


@click.command()
@click.option(
    "--to",
    "to",
    metavar="NAME|URI",
    required=True,
    shell_complete=complete_backend,
    help="The store to copy to: a backend's name, a URI such as json:///dir, or a path.",
)
@click.option(
    "--to-option",
    "to_options",
    metavar="KEY=VALUE",
    multiple=True,
    callback=as_pairs,
    help="An option of the target's backend; -O is for the source's.",
)
@filter_options
@output_options
@pass_state
def copy(
    state: State,
    /,
    *,
    to: str,
    to_options: dict[str, str],
    filters: RunFilter,
    output_format: str | None,
    output: Path | None,
) -> int:
    """Copy the runs that match the filters into another store; without filters, all runs.

    Ids, times, attachments and every byte of a document stay the same. Runs that the target already has are left
    as they are, so running the same command again completes a copy that was interrupted.

    With --format, the counts and the failed runs are printed.
    """
    selected = select_store(to, to_options, state.configuration, state.plugins)
    if _names_the_same(state.selection(), selected):
        raise ConfigurationError(
            "the store to copy to is the one to copy from",
            hint="name another target with --to, or another source with --backend",
        )
    named = State(to, to_options, state.config_file).shown_options
    with state.open_store(output) as source, _opened(selected, named) as target:
        if output is not None and str(output) != "-":
            check_output(output, target.paths)
        report = CopyReport()
        with (
            partial_report(state, report, lambda: _numbers(report), lambda: say_failed(report.failed)),
            progress_bar(state, "Copying") as progress,
        ):
            copy_runs(source, target, filters, progress=progress, report=report)
        say_failed(report.failed, report.unread - len(source.unread), of=" of the source")
        if output_format is not None or output is not None:
            write_object(_values(report), output_format, output)
        _note_result(state, report, source, target)
        if report == CopyReport():
            note_unknown_metrics(state, source, filters)
    return exit_code(report.done, [failed.error for failed in report.failed], report.unread)


@contextmanager
def _opened(selected: Selection, named: Callable[[], str]) -> Iterator[ResultStore]:
    """Open the target; a command in a hint of one of its errors is for the target, not for the source."""
    with selected.open() as target:
        try:
            yield target
        except KittError as error:
            if error.hint and target.location in error.message:
                error.hint = completed(error.hint, named)
            raise


def _names_the_same(source: Selection, target: Selection) -> bool:
    """Return whether both have the same backend and options; the service compares files."""
    if source.backend.name != target.backend.name or target_option(target.backend.options) is None:
        return False
    named, wanted = (
        {name: str(setting.value) for name, setting in selection.options.items()} for selection in (source, target)
    )
    return named == wanted


def _note_result(state: State, report: CopyReport, source: ResultStore, target: ResultStore) -> None:
    note_omissions(state, report, "copied", target)
    if report == CopyReport():
        state.note(f"0 copied: no run in {source.location} matches")
    else:
        state.note(f"{_numbers(report)} ({source.location} to {target.location})")


def _numbers(report: CopyReport) -> str:
    return f"{report.copied} copied, {report.present} already there, {len(report.failed)} failed"


def _values(report: CopyReport) -> dict[str, object]:
    return {
        "copied": report.copied,
        "present": report.present,
        "failed": failed_values(report.failed),
        "unread": report.unread,
        "files_left": report.files_left,
        "unfit": report.unfit,
    }
