"""``kitt storage backup`` and ``restore``."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from kitt_core.archive.limits import MAX_DOCUMENT_MIB, MAX_RATIO, Limits
from kitt_core.cli.lazy import HintedUsageError
from kitt_core.cli.messages import counted, say_error
from kitt_core.cli.progress import progress_bar
from kitt_core.cli.render import OutputName, open_output, output_options, write_object
from kitt_core.cli.state import State, pass_state
from kitt_core.errors import ConfigurationError
from kitt_core.service.backup import BackupReport, back_up, new_archive
from kitt_core.service.copying import CopyReport
from kitt_core.service.output import is_part_of
from kitt_core.service.restoring import (
    CheckedArchive,
    OnConflict,
    check_archive,
    open_archive,
    restore_runs,
)
from kitt_core.storage import ResultStore

__all__ = ["backup", "restore"]

_SOME_FAILED = 1


@click.command()
@click.argument("file", metavar="FILE", type=OutputName(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@output_options
@pass_state
def backup(state: State, /, *, file: Path, force: bool, output_format: str | None, output: Path | None) -> int:
    """Write all runs to FILE: one archive, the same from every backend; - is standard output.

    Others may go on writing: every run that was saved before is in it. FILE appears when it is complete, and
    only its owner may read it. Runs that are damaged are named and left out.

    With --format the numbers and the runs that failed are printed.
    """
    to_stdout = str(file) == "-"
    wants_report = output_format is not None or output is not None
    _check_report(file, output, wants_report=wants_report)
    with state.open_store(output) as store, progress_bar(state, "Backing up", beside_data=to_stdout) as progress:
        backend = state.selection().backend.name
        if to_stdout:
            with open_output() as stream:
                _refuse_terminal(stream)
                report = back_up(store, stream, backend=backend, progress=progress)
        else:
            with new_archive(file, store, overwrite=force) as stream:
                directory = file.resolve().parent  # there is room for the archive, so there may be for a file
                report = back_up(store, stream, backend=backend, directory=directory, progress=progress)
        location = store.location
    for failed in report.failed:
        say_error(f"run {failed.run_id}: {failed.error.message}", failed.error.hint)
    if report.unread:
        say_error(
            f"{counted(report.unread, 'run')} could not be read, or were deleted meanwhile",
            "`kitt storage verify` finds what is damaged",
        )
    if wants_report:
        write_object(_backup_values(report), output_format, output)
    state.note(f"{_backup_numbers(report)} ({location} to {'standard output' if to_stdout else file})")
    return _SOME_FAILED if report.failed or report.unread else 0


@click.command()
@click.argument("file", metavar="FILE", type=OutputName(path_type=Path))
@click.option(
    "--on-conflict",
    type=click.Choice([str(choice) for choice in OnConflict]),
    default=str(OnConflict.ERROR),
    help="What to do if the store has a run of FILE with other content: refuse all (error, without it),"
    " keep the store's (skip), or take that of FILE (replace).",
)
@click.option(
    "--max-ratio",
    metavar="N",
    type=click.IntRange(min=1),
    default=MAX_RATIO,
    help=f"How many times its size FILE may unpack to; {MAX_RATIO} without it.",
)
@click.option(
    "--max-document",
    metavar="MIB",
    type=click.IntRange(min=1),
    default=MAX_DOCUMENT_MIB,
    help=f"How large a document of FILE may be; {MAX_DOCUMENT_MIB} without it.",
)
@output_options
@pass_state
def restore(
    state: State,
    /,
    *,
    file: Path,
    on_conflict: str,
    max_ratio: int,
    max_document: int,
    output_format: str | None,
    output: Path | None,
) -> int:
    """Bring back the runs of FILE, which `kitt storage backup` wrote from any backend; - is standard input.

    The whole archive is checked before anything is written. Ids, times, attachments and every byte of a document
    are as they were. Runs that are there already are left alone, so a restoration that was cut short is completed
    by the same command.

    With --format the numbers and the runs that failed are printed.
    """
    choice, limits = OnConflict(on_conflict), Limits(max_ratio, max_document)
    with open_archive(file) as stream, state.open_store(output) as store:
        _protect(file, output)
        with progress_bar(state, "Checking (MiB)") as progress:
            archive = check_archive(stream, store, on_conflict=choice, limits=limits, progress=progress)
        report = _restored(state, stream, archive, store, file, choice, limits)
        _tell_failures(report)
        if output_format is not None or output is not None:
            write_object(_restore_values(report, archive), output_format, output)
        _tell(state, report, archive, store)
    return _exit_code(report)


def _restored(
    state: State,
    stream: BinaryIO,
    archive: CheckedArchive,
    store: ResultStore,
    file: Path,
    on_conflict: OnConflict,
    limits: Limits,
) -> CopyReport:
    so_far = CopyReport()

    def observe(report: CopyReport) -> None:
        nonlocal so_far
        so_far = report

    try:
        with progress_bar(state, "Restoring") as progress:
            return restore_runs(
                stream,
                archive,
                store,
                location=str(file),
                on_conflict=on_conflict,
                limits=limits,
                progress=progress,
                observe=observe,
            )
    except BaseException:
        if so_far.done:
            _tell_failures(so_far)
            state.note(f"{_restore_numbers(so_far)} so far; the same command again goes on from there")
        raise


def _check_report(file: Path, output: Path | None, *, wants_report: bool) -> None:
    if str(file) != "-":
        _protect(file, output)
    elif wants_report and (output is None or str(output) == "-"):
        raise HintedUsageError(
            "the archive and the report cannot both go to standard output", "give a FILE, or -o for the report"
        )


def _protect(file: Path, output: Path | None) -> None:
    if output is None or str(output) == "-":
        return
    try:
        same = is_part_of(output, [file])
    except OSError:  # what can't be looked at can't be written, either
        return
    if same:
        raise ConfigurationError(f"-o names the archive itself: {file}", hint="name another file after -o")


def _refuse_terminal(stream: BinaryIO) -> None:
    if stream.isatty():
        raise ConfigurationError("an archive is nothing for a terminal", hint="name a file, or pipe it somewhere")


def _tell_failures(report: CopyReport) -> None:
    for failed in report.failed:
        say_error(f"run {failed.run_id}: {failed.error.message}", failed.error.hint)


def _tell(state: State, report: CopyReport, archive: CheckedArchive, store: ResultStore) -> None:
    if archive.manifest.left_out:
        left = archive.manifest.left_out
        was, are = ("was", "is") if left == 1 else ("were", "are")
        state.note(
            f"of the store that was backed up, {counted(left, 'run')} {was} damaged and {are} not in the archive"
        )
    if report.unfit:
        state.note(
            f"{counted(report.unfit, 'run')} restored with fields that do not fit:"
            " empty in listings, whole in the documents"
        )
    if report.files_left:
        files = counted(report.files_left, "file")
        state.note(f"{files} beside the runs stayed behind: {store.location} keeps documents only")
    made = f"{archive.marker.created_at:%Y-%m-%d %H:%M} UTC"
    state.note(f"{_restore_numbers(report)} (backup of {made} to {store.location})")


def _backup_numbers(report: BackupReport) -> str:
    files = f", {counted(report.attachments, 'file')}" if report.attachments else ""
    left = len(report.failed) + report.unread
    return f"{counted(report.runs, 'run')}{files} backed up{f', {left} left out' if left else ''}"


def _restore_numbers(report: CopyReport) -> str:
    parts = [f"{report.copied} restored"]
    if report.replaced:
        parts[0] += f" ({report.replaced} in the place of others)"
    parts.append(f"{report.present} already there")
    if report.kept:
        parts.append(f"{report.kept} kept as the store has them")
    return ", ".join([*parts, f"{len(report.failed)} failed"])


def _backup_values(report: BackupReport) -> dict[str, object]:
    return {
        "runs": report.runs,
        "attachments": report.attachments,
        "failed": [{"id": failed.run_id, "reason": failed.reason} for failed in report.failed],
        "unread": report.unread,
    }


def _restore_values(report: CopyReport, archive: CheckedArchive) -> dict[str, object]:
    return {
        "restored": report.copied,
        "replaced": report.replaced,
        "present": report.present,
        "kept": report.kept,
        "failed": [{"id": failed.run_id, "reason": failed.reason} for failed in report.failed],
        "files_left": report.files_left,
        "unfit": report.unfit,
        "left_out": archive.manifest.left_out,
    }


def _exit_code(report: CopyReport) -> int:
    if report.done == len(report.failed) == 1:
        return report.failed[0].error.exit_code
    return _SOME_FAILED if report.failed else 0
