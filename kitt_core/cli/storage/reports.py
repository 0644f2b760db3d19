"""What import, copy, backup and restore report: failures, counts so far, what the target can't hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from kitt_core.cli.messages import counted, say_error

if TYPE_CHECKING:
    from kitt_core.cli.invocation import State
    from kitt_core.errors import KittError
    from kitt_core.service.transfer.copying import CopyReport
    from kitt_core.service.transfer.reading import FailedRun
    from kitt_core.storage.contract import ResultStore

__all__ = ["exit_code", "failed_values", "note_files_left", "note_omissions", "partial_report", "say_failed"]

_SOME_FAILED: Final = 1


class _Report(Protocol):
    @property
    def done(self) -> int:
        """How many runs were processed."""


@contextmanager
def partial_report(
    state: State, report: _Report, numbers: Callable[[], str], say: Callable[[], None]
) -> Iterator[None]:
    """If an error or an interruption ends the block, report what was done by then.

    Args:
        state: Says whether notes are wanted.
        report: Filled in by the block.
        numbers: Returns the report's counts as text.
        say: Names what failed.
    """
    try:
        yield
    except BaseException:
        if report.done:
            say()
            state.note(f"{numbers()} so far; run the same command again to continue")
        raise


def say_failed(failed: Sequence[FailedRun], unread: int = 0, *, of: str = "") -> None:
    """Name the runs that failed, each with its reason, and count those that could not be read.

    Args:
        failed: The runs.
        unread: How many runs the source counted but did not return, without those that it said to be unreadable.
        of: Whose they are, if there are two stores.
    """
    for run in failed:
        say_error(f"run {run.run_id}: {run.error.message}", run.error.hint)
    if unread:
        say_error(
            f"{counted(unread, 'run')}{of} could not be read: damaged, or deleted meanwhile",
            "`kitt storage verify` finds what is damaged",
        )


def failed_values(failed: Sequence[FailedRun]) -> list[dict[str, str]]:
    """Return the failed runs for output."""
    return [{"id": run.run_id, "reason": run.reason} for run in failed]


def note_omissions(state: State, report: CopyReport, done: str, target: ResultStore) -> None:
    """Say how many runs lack fields in the target, and how many files it does not keep.

    Args:
        state: Says whether notes are wanted.
        report: What was done.
        done: The past participle: ``copied``, ``restored``.
        target: Where the runs are now.
    """
    if report.unfit:
        state.note(
            f"{counted(report.unfit, 'run')} {done} with fields that do not fit:"
            " empty in listings, complete in the documents"
        )
    note_files_left(state, report.files_left, target)


def note_files_left(state: State, number: int, target: ResultStore) -> None:
    """Say how many files a store does not keep, if any: the same for import, copy and restore."""
    if number:
        state.note(f"{counted(number, 'attachment')} left out: {target.location} keeps documents only")


def exit_code(done: int, errors: Sequence[KittError], unread: int = 0) -> int:
    """Return 0, 1 if some of several runs failed, or the error's own code if there was only one run."""
    if done == len(errors) == 1 and not unread:
        return errors[0].exit_code
    return _SOME_FAILED if errors or unread else 0
