"""``kitt storage restore``."""

from __future__ import annotations

from pathlib import Path

import click

from kitt_core.archive.members import MAX_DOCUMENT_MIB, MAX_RATIO, Limits
from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.messages import counted
from kitt_core.cli.progress import progress_bar
from kitt_core.cli.render import output_options, write_object
from kitt_core.cli.storage.backup import protect_archive
from kitt_core.cli.storage.reports import exit_code, failed_values, note_omissions, partial_report, say_failed
from kitt_core.service.transfer.copying import CopyReport
from kitt_core.service.transfer.restoring import (
    CheckedArchive,
    OnConflict,
    check_archive,
    open_archive,
    restore_runs,
)
from kitt_core.storage.contract import ResultStore

__all__ = ["restore"]


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--on-conflict",
    type=click.Choice([str(choice) for choice in OnConflict]),
    default=str(OnConflict.ERROR),
    help="What to do if the store has a run of FILE with other content: refuse everything (error, the default),"
    " keep the store's run (skip), or take FILE's (replace).",
)
@click.option(
    "--max-ratio",
    metavar="N",
    type=click.IntRange(min=1),
    default=MAX_RATIO,
    help=f"How many times its own size FILE may unpack to; {MAX_RATIO} by default.",
)
@click.option(
    "--max-document",
    metavar="MIB",
    type=click.IntRange(min=1),
    default=MAX_DOCUMENT_MIB,
    help=f"The size limit of a document in FILE, in MiB; {MAX_DOCUMENT_MIB} by default.",
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
    """Restore the runs of FILE, which `kitt storage backup` wrote from any backend; - is standard input.

    The whole archive is checked before anything is written. Ids, times, attachments and every byte of a document
    are as they were. Runs that the store already has are left as they are, so running the same command again
    completes a restore that was interrupted.

    With --format, the counts and the failed runs are printed.
    """
    choice, limits = OnConflict(on_conflict), Limits(max_ratio, max_document)
    with open_archive(file) as stream, state.open_store(output) as store:
        protect_archive(file, output)
        with progress_bar(state, "Checking (MiB)") as progress:
            archive = check_archive(stream, store, on_conflict=choice, limits=limits, progress=progress)
        report = CopyReport()
        with (
            partial_report(state, report, lambda: _numbers(report), lambda: say_failed(report.failed)),
            progress_bar(state, "Restoring") as progress,
        ):
            restore_runs(
                stream,
                archive,
                store,
                location=str(file),
                on_conflict=choice,
                limits=limits,
                progress=progress,
                report=report,
            )
        say_failed(report.failed)
        if output_format is not None or output is not None:
            write_object(_values(report, archive), output_format, output)
        _note_result(state, report, archive, store)
    return exit_code(report.done, [failed.error for failed in report.failed])


def _note_result(state: State, report: CopyReport, archive: CheckedArchive, store: ResultStore) -> None:
    if archive.manifest.left_out:
        left = archive.manifest.left_out
        was, are = ("was", "is") if left == 1 else ("were", "are")
        state.note(
            f"{counted(left, 'run')} {was} damaged when the store was backed up, and {are} not in the archive"
        )
    note_omissions(state, report, "restored", store)
    made = f"{archive.marker.created_at:%Y-%m-%d %H:%M} UTC"
    state.note(f"{_numbers(report)} (backup of {made} to {store.location})")


def _numbers(report: CopyReport) -> str:
    parts = [f"{report.copied} restored"]
    if report.replaced:
        parts[0] += f" ({report.replaced} replacing others)"
    parts.append(f"{report.present} already there")
    if report.kept:
        parts.append(f"{report.kept} kept as in the store")
    return ", ".join([*parts, f"{len(report.failed)} failed"])


def _values(report: CopyReport, archive: CheckedArchive) -> dict[str, object]:
    return {
        "restored": report.copied,
        "replaced": report.replaced,
        "present": report.present,
        "kept": report.kept,
        "failed": failed_values(report.failed),
        "files_left": report.files_left,
        "unfit": report.unfit,
        "left_out": archive.manifest.left_out,
    }
