"""Progress bars: on a terminal's stderr, unless ``-q``; nothing anywhere else."""

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
    """A `kitt_core.runs.Progress` callback, drawn or not."""

    def __init__(self, drawn: RichProgress | None = None, task: TaskID | None = None) -> None:
        self._drawn = drawn
        self._task = task

    def __call__(self, done: int, total: int | None) -> None:
        """Show how much is done, of how much (None: not known)."""
        if self._drawn is not None and self._task is not None:
            self._drawn.update(self._task, completed=done, total=total)

    def describe(self, text: str) -> None:
        """Show what is being done now."""
        if self._drawn is not None and self._task is not None:
            self._drawn.update(self._task, description=text)


@contextmanager
def progress_bar(state: State, description: str, *, beside_data: bool = False) -> Iterator[ProgressBar]:
    """Show a bar while the block runs; it is gone afterwards.

    Args:
        state: Knows whether bars are wanted.
        description: What is being done.
        beside_data: Data goes to stdout meanwhile; if that is a terminal, too, the bar would be drawn over it.
    """
    if not state.shows_progress or (beside_data and state.is_terminal):
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
    # stdout is left alone: it may be a pipe, and what goes there is data.
    drawn = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
    with drawn:
        yield ProgressBar(drawn, drawn.add_task(description, total=None))
