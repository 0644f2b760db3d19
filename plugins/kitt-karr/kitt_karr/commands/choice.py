"""Which repository a command is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from kitt_core.cli.invocation import State

if TYPE_CHECKING:
    from kitt_karr.repository import Repository

__all__ = ["chosen_path", "open_chosen", "repository_option"]

P = ParamSpec("P")
R = TypeVar("R")


def repository_option(command: Callable[P, R]) -> Callable[P, R]:
    """Add ``-C`` to a command; it is given ``repository``."""
    return click.option(
        "-C",
        "--repository",
        "repository",
        metavar="PATH",
        type=click.Path(path_type=Path),
        help="The repository; without it --backend's, the current directory, or the only one in it.",
    )(command)


def chosen_path(state: State) -> Path | None:
    """Return the path of the backend ``karr`` if the global options or the configuration name it."""
    selection = state.selection()
    if selection.backend.name != "karr":
        return None
    path = selection.options.get("path")
    return None if path is None else Path(str(path.value))


@contextmanager
def open_chosen(state: State, given: Path | None) -> Iterator[Repository]:
    """Open the repository that a command is about.

    Raises:
        ConfigurationError: None is named, and there is not exactly one here.
        StoreUnavailableError: It can't be opened.
    """
    from kitt_karr.machine import only_repository
    from kitt_karr.repository import Repository

    repository = Repository(given or chosen_path(state) or only_repository(Path.cwd()))
    try:
        yield repository
    finally:
        repository.close()
