"""What import, copy, backup and restore say of many runs: failures, numbers so far, what stayed behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from kitt_core.cli.messages import counted, say_error

if TYPE_CHECKING:
    from kitt_core.cli.invocation import State
    from kitt_core.errors import KittError
    from kitt_core.service.transfer.attachments import FailedRun
    from kitt_core.service.transfer.copying import CopyReport
    from kitt_core.storage.contract import ResultStore

__all__ = ["exit_code", "failed_values", "note_what_is_missing", "say_failed", "so_far"]

_SOME_FAILED: Final = 1


class _Report(Protocol):
    @property
    def done(self) -> int:
        """How many runs were dealt with."""


@contextmanager
def so_far(state: State, report: _Report, numbers: Callable[[], str], say: Callable[[], None]) -> Iterator[None]:
    """Tell what was done by then if an error or an interruption ends the block.

    Args:
        state: Knows whether notes are wanted.
        report: It is filled in inside the block.
        numbers: Returns the report in figures.
        say: Names what failed.
    """
    try:
        yield
    except BaseException:
        if report.done:
            say()
            state.note(f"{numbers()} so far; the same command again goes on from there")
        raise


def say_failed(failed: Sequence[FailedRun], unread: int = 0, *, of: str = "") -> None:
    """Name the runs that failed, each with its reason, and count those that could not be read.

    Args:
        failed: The runs.
        unread: How many the source counted and did not give.
        of: Whose they are, if there are two stores.
    """
    for run in failed:
        say_error(f"run {run.run_id}: {run.error.message}", run.error.hint)
    if unread:
        say_error(
            f"{counted(unread, 'run')}{of} could not be read, or were deleted meanwhile",
            "`kitt storage verify` finds what is damaged",
        )


def failed_values(failed: Sequence[FailedRun]) -> list[dict[str, str]]:
    """Return the runs that failed, for output."""
    return [{"id": run.run_id, "reason": run.reason} for run in failed]


def note_what_is_missing(state: State, report: CopyReport, done: str, target: ResultStore) -> None:
    """Say which fields and files of the runs the target does not have.

    Args:
        state: Knows whether notes are wanted.
        report: What was done.
        done: The past participle: ``copied``, ``restored``.
        target: Where the runs are now.
    """
    if report.unfit:
        state.note(
            f"{counted(report.unfit, 'run')} {done} with fields that do not fit:"
            " empty in listings, whole in the documents"
        )
    if report.files_left:
        files = counted(report.files_left, "file")
        state.note(f"{files} beside the runs stayed behind: {target.location} keeps documents only")


def exit_code(done: int, errors: Sequence[KittError], unread: int = 0) -> int:
    """Return 0, 1 if some of several failed, or the error's own code if there was but one run."""
    if done == len(errors) == 1 and not unread:
        return errors[0].exit_code
    return _SOME_FAILED if errors or unread else 0
