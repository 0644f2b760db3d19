"""``kitt karr gc``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.progress import progress_bar
from kitt_karr.commands.choice import open_chosen, repository_option

__all__ = ["gc"]

_MEGABYTE: Final = 1_000_000


@click.command()
@repository_option
@pass_state
def gc(state: State, repository: Path | None) -> None:
    """Pack the repository up: one file instead of many, a third of the room.

    The program git does it if it is installed; without it KITT does, and needs about 15 KB of memory for each of
    git's objects (a run has seven). It is never done by itself.
    """
    from kitt_karr.packing import git_is_there, memory_needed, pack_up

    with open_chosen(state, repository) as opened, progress_bar(state, "Packing") as bar:
        if git_is_there():
            state.note(f"git packs {opened.path} up")
        else:
            needed = memory_needed(opened) // _MEGABYTE
            state.note(
                f"git is not installed: KITT packs {opened.path} up itself, with about {needed} MB of memory"
            )
        packed = pack_up(opened, bar.describe)
    state.note(f"{packed.before / _MEGABYTE:.1f} MB before, {packed.after / _MEGABYTE:.1f} MB now")
