"""``kitt storage backup``."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.lazy import HintedUsageError
from kitt_core.cli.messages import counted
from kitt_core.cli.progress import progress_bar
from kitt_core.cli.render import open_output, output_options, write_object
from kitt_core.cli.storage.reports import failed_values, say_failed
from kitt_core.errors import ConfigurationError
from kitt_core.files import is_part_of
from kitt_core.service.transfer.backup import BackupReport, back_up, new_archive

__all__ = ["backup", "protect_archive"]

_SOME_FAILED = 1


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@output_options
@pass_state
def backup(state: State, /, *, file: Path, force: bool, output_format: str | None, output: Path | None) -> int:
    """Write all runs to FILE, an archive in the same form from every backend; - is standard output.

    The store may be written to meanwhile: every run saved before the backup began is included. FILE appears when
    it is complete, and only its owner may read it. Damaged runs are named and left out.

    With --format, the counts and the failed runs are printed.
    """
    to_stdout = str(file) == "-"
    wants_report = output_format is not None or output is not None
    _refuse_two_outputs(file, output, wants_report=wants_report)
    with (
        state.open_store(output) as store,
        progress_bar(state, "Backing up", data_on_stdout=to_stdout) as progress,
    ):
        backend = state.selection().backend.name
        if to_stdout:
            with open_output() as stream:
                _refuse_terminal(stream)
                report = back_up(store, stream, backend=backend, progress=progress)
        else:
            with new_archive(file, store, overwrite=force) as stream:
                directory = file.resolve().parent  # has room for the archive, so probably for an attachment too
                report = back_up(store, stream, backend=backend, directory=directory, progress=progress)
        location = store.location
    say_failed(report.failed, report.unread - len(store.unread))
    if wants_report:
        write_object(_values(report), output_format, output)
    state.note(f"{_numbers(report)} ({location} to {'standard output' if to_stdout else file})")
    return _SOME_FAILED if report.failed or report.unread else 0


def protect_archive(file: Path, output: Path | None) -> None:
    """Refuse a report (``-o``) that would overwrite the archive.

    Raises:
        ConfigurationError: ``output`` is the archive.
    """
    if output is None or str(output) == "-":
        return
    try:
        same = is_part_of(output, [file])
    except OSError:  # what can't be examined can't be written either
        return
    if same:
        raise ConfigurationError(f"-o names the archive itself: {file}", hint="name another file after -o")


def _refuse_two_outputs(file: Path, output: Path | None, *, wants_report: bool) -> None:
    if str(file) != "-":
        protect_archive(file, output)
    elif wants_report and (output is None or str(output) == "-"):
        raise HintedUsageError(
            "the archive and the report cannot both go to standard output", "give a FILE, or -o for the report"
        )


def _refuse_terminal(stream: BinaryIO) -> None:
    if stream.isatty():
        raise ConfigurationError(
            "an archive cannot be written to a terminal", hint="give a file, or pipe the output"
        )


def _numbers(report: BackupReport) -> str:
    files = f", {counted(report.attachments, 'file')}" if report.attachments else ""
    left = len(report.failed) + report.unread
    return f"{counted(report.runs, 'run')}{files} backed up{f', {left} left out' if left else ''}"


def _values(report: BackupReport) -> dict[str, object]:
    return {
        "runs": report.runs,
        "attachments": report.attachments,
        "failed": failed_values(report.failed),
        "unread": report.unread,
    }
