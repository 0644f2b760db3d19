"""``kitt karr``: history and transport of KARR repositories."""

from __future__ import annotations

from typing import Final

import click

from kitt_core.cli.lazy import LazyCommand, LazyGroup

__all__ = ["karr"]

_HERE: Final = "kitt_karr.commands"
_COMMANDS: Final = {
    "init": LazyCommand(f"{_HERE}.init:init", "Make a repository, or take one over from a remote."),
    "log": LazyCommand(f"{_HERE}.log:log", "List commits."),
    "push": LazyCommand(f"{_HERE}.transport:push", "Send the commits to a remote; merge first if it moved on."),
    "pull": LazyCommand(f"{_HERE}.transport:pull", "Take over a remote's commits."),
    "fetch-lfs": LazyCommand(f"{_HERE}.transport:fetch_lfs", "Fetch the contents of large outputs."),
    "gc": LazyCommand(f"{_HERE}.gc:gc", "Pack the repository up."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def karr() -> None:
    """History and transport of KARR repositories (legacy: database backends are recommended).

    The repository is the one that -C or --backend names, else the current directory, else the only one in it.
    """
