"""Progress bars on stderr, if it is a terminal and ``-q`` is not given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kitt_core.cli.invocation import State

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["ProgressBar", "progress_bar"]


class ProgressBar:
    """A `kitt_core.runs.Progress` callback, which draws a bar or does nothing."""

    def __init__(self, drawn: RichProgress | None = None, task: TaskID | None = None) -> None:
        self._drawn = drawn
        self._task = task

    def __call__(self, done: int, total: int | None) -> None:
        """Show how much is done, and of how much (None if that is not known)."""
        if self._drawn is not None and self._task is not None:
            self._drawn.update(self._task, completed=done, total=total)

    def describe(self, text: str) -> None:
        """Show what is being done."""
        if self._drawn is not None and self._task is not None:
            self._drawn.update(self._task, description=text)


@contextmanager
def progress_bar(state: State, description: str, *, data_on_stdout: bool = False) -> Iterator[ProgressBar]:
    """Show a bar while the block runs; it disappears afterwards.

    Args:
        state: Says whether bars are wanted.
        description: What is being done.
        data_on_stdout: Whether the block writes data to stdout; if that is a terminal as well, no bar is drawn,
            because it would overwrite the data.
    """
    if not state.shows_progress or (data_on_stdout and state.is_terminal):
        yield ProgressBar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    # stdout is not redirected: it may be a pipe, and what goes there is data.
    drawn = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
    with drawn:
        yield ProgressBar(drawn, drawn.add_task(description, total=None))
