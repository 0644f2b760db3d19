"""``kitt storage copy``."""

from __future__ import annotations

from pathlib import Path

import click

from kitt_core.cli.filters import filter_options
from kitt_core.cli.messages import counted, say_error
from kitt_core.cli.pairs import as_pairs
from kitt_core.cli.progress import progress_bar
from kitt_core.cli.render import output_options, write_object
from kitt_core.cli.state import State, pass_state
from kitt_core.cli.targets import complete_backend
from kitt_core.errors import ConfigurationError
from kitt_core.options import target_option
from kitt_core.query import RunFilter
from kitt_core.service.copying import CopyReport, copy_runs
from kitt_core.service.output import check_output
from kitt_core.storage import ResultStore
from kitt_core.stores import Selection, select_store

__all__ = ["copy"]

_SOME_FAILED = 1


def _named(ctx: click.Context, parameter: click.Parameter, name: str) -> str:
    if not name:  # it would mean the current directory
        raise click.BadParameter("the name is empty", ctx, parameter)
    return name


@click.command()
@click.option(
    "--to",
    "to",
    metavar="NAME|URI",
    required=True,
    callback=_named,
    shell_complete=complete_backend,
    help="The store to copy to: a backend's name, a URI such as json:///dir, or a path.",
)
@click.option(
    "--to-option",
    "to_options",
    metavar="KEY=VALUE",
    multiple=True,
    callback=as_pairs,
    help="An option of that store's backend, as -O is one of the store that is copied from.",
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
    """Copy the runs that match the filters into another store; all runs without filters.

    Ids, times, attachments and every byte of a document stay the same. Runs that are there already are left
    alone, so a copy that was cut short is completed by the same command.

    With --format the numbers and the runs that failed are printed.
    """
    selected = select_store(to, to_options, state.configuration, state.plugins)
    if _names_the_same(state.selection(), selected):
        raise ConfigurationError(
            "the store to copy to is the one that is copied from",
            hint="name another one after --to, or the one to copy from after --backend",
        )
    with state.open_store(output) as source, selected.open() as target:
        if output is not None and str(output) != "-":
            check_output(output, target.paths)
        report = _copied(state, source, target, filters)
        _tell_failures(report)
        if output_format is not None or output is not None:
            write_object(_values(report), output_format, output)
        _tell(state, report, source, target)
    return _exit_code(report)


def _names_the_same(source: Selection, target: Selection) -> bool:
    """Whether both name one store that is no file; files are looked at by the service."""
    if source.backend.name != target.backend.name or target_option(target.backend.options) is None:
        return False
    named, wanted = (
        {name: str(setting.value) for name, setting in selection.options.items()} for selection in (source, target)
    )
    return named == wanted


def _copied(state: State, source: ResultStore, target: ResultStore, filters: RunFilter) -> CopyReport:
    so_far = CopyReport()

    def observe(report: CopyReport) -> None:
        nonlocal so_far
        so_far = report

    try:
        with progress_bar(state, "Copying") as progress:
            return copy_runs(source, target, filters, progress=progress, observe=observe)
    except BaseException:
        if so_far.done:
            _tell_failures(so_far)
            state.note(f"{_numbers(so_far)} so far; the same command again goes on from there")
        raise


def _tell_failures(report: CopyReport) -> None:
    for failed in report.failed:
        say_error(f"run {failed.run_id}: {failed.error.message}", failed.error.hint)
    if report.unread:
        say_error(
            f"{counted(report.unread, 'run')} of the source could not be read, or were deleted meanwhile",
            "`kitt storage verify` finds what is damaged",
        )


def _tell(state: State, report: CopyReport, source: ResultStore, target: ResultStore) -> None:
    if report.unfit:
        state.note(
            f"{counted(report.unfit, 'run')} copied with fields that do not fit:"
            " empty in listings, whole in the documents"
        )
    if report.files_left:
        files = counted(report.files_left, "file")
        state.note(f"{files} beside the runs stayed behind: {target.location} keeps documents only")
    if report == CopyReport():
        state.note(f"0 copied: no run of {source.location} matches")
    else:
        state.note(f"{_numbers(report)} ({source.location} to {target.location})")


def _numbers(report: CopyReport) -> str:
    return f"{report.copied} copied, {report.present} already there, {len(report.failed)} failed"


def _values(report: CopyReport) -> dict[str, object]:
    return {
        "copied": report.copied,
        "present": report.present,
        "failed": [{"id": failed.run_id, "reason": failed.reason} for failed in report.failed],
        "unread": report.unread,
        "files_left": report.files_left,
        "unfit": report.unfit,
    }


def _exit_code(report: CopyReport) -> int:
    if report.done == len(report.failed) == 1 and not report.unread:
        return report.failed[0].error.exit_code
    return _SOME_FAILED if report.failed or report.unread else 0
