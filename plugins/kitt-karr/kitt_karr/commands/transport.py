"""``kitt karr push``, ``pull`` and ``fetch-lfs``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.messages import say, say_error
from kitt_core.cli.progress import progress_bar
from kitt_karr.commands.choice import open_chosen, repository_option

if TYPE_CHECKING:
    from kitt_karr.exchange import Movement
    from kitt_karr.large_transfer import Transferred
    from kitt_karr.lfs import Pointer
    from kitt_karr.remote import Remote

__all__ = ["fetch_lfs", "pull", "push"]

_LEFT_BEHIND: Final = 1
_NAMED: Final = 3


@click.command()
@click.argument("remote", metavar="[REMOTE]", required=False)
@click.argument("branch", metavar="[BRANCH]", required=False)
@repository_option
@pass_state
def push(state: State, remote: str | None, branch: str | None, repository: Path | None) -> int:
    """Send the commits and the contents of large outputs to a remote.

    REMOTE is a name from git's configuration, a URL or a path: the branch's own, else origin. BRANCH is the one
    there. Where it moved on, both histories are merged first; runs never conflict.
    """
    from kitt_karr.connection import Connection
    from kitt_karr.exchange import push as pushed
    from kitt_karr.large_transfer import Transferred, pointers_to_send, send_large
    from kitt_karr.remote import find_remote

    large = Transferred()
    with open_chosen(state, repository) as opened, progress_bar(state, "Fetching") as bar:
        target = find_remote(opened, remote, branch)

        def send_contents(tip: str, known: str | None) -> None:
            nonlocal large
            bar.describe("LFS contents")
            large = send_large(opened, target, pointers_to_send(opened, tip, known), bar)
            bar.describe("Sending")

        moved = pushed(Connection(opened, target), opened, send_contents)
    _say_moved(state, "pushed to", target, moved)
    return _say_large(state, large, target, sent=True)


@click.command()
@click.argument("remote", metavar="[REMOTE]", required=False)
@click.argument("branch", metavar="[BRANCH]", required=False)
@repository_option
@pass_state
def pull(state: State, remote: str | None, branch: str | None, repository: Path | None) -> int:
    """Take over a remote's commits; what both sides have done since is merged.

    REMOTE and BRANCH are as for push. Contents of large outputs stay there until `kitt karr fetch-lfs`.
    """
    from kitt_karr.connection import Connection
    from kitt_karr.exchange import pull as pulled
    from kitt_karr.large_transfer import missing_here
    from kitt_karr.remote import find_remote

    with open_chosen(state, repository) as opened, progress_bar(state, "Fetching"):
        source = find_remote(opened, remote, branch)
        moved = pulled(Connection(opened, source), opened)
        missing = len(missing_here(opened))
    _say_moved(state, "pulled from", source, moved)
    if missing:
        state.note(f"{_number(missing, 'LFS object')} not here yet: `kitt karr fetch-lfs` brings them")
    return 0


@click.command("fetch-lfs")
@click.argument("remote", metavar="[REMOTE]", required=False)
@repository_option
@pass_state
def fetch_lfs(state: State, remote: str | None, repository: Path | None) -> int:
    """Fetch the contents of large outputs that are not on this machine.

    REMOTE is as for push.
    """
    from kitt_karr.large_transfer import fetch_large, missing_here
    from kitt_karr.remote import find_remote

    with open_chosen(state, repository) as opened, progress_bar(state, "LFS contents") as bar:
        missing = missing_here(opened)
        if not missing:
            state.note("no LFS object is missing here")
            return 0
        source = find_remote(opened, remote)
        large = fetch_large(opened, source, missing, bar)
    return _say_large(state, large, source, sent=False)


def _say_moved(state: State, verb: str, remote: Remote, moved: Movement) -> None:
    where = f"{verb} {remote.shown} ({remote.short_branch})"
    if moved.before == moved.after:
        state.note(f"{where}: nothing new")
        return
    merged = ", both histories merged" if moved.merged else ""
    state.note(f"{where}: {_number(moved.added, 'run')} added, {moved.removed} removed{merged}")


def _say_large(state: State, large: Transferred, remote: Remote, *, sent: bool) -> int:
    if large.done:
        state.note(f"{_number(large.done, 'LFS object')} {'sent' if sent else 'fetched'}")
    if large.nowhere:
        what = "neither here nor there" if sent else f"not at {remote.shown}"
        say(f"warning: {what}: {_number(len(large.nowhere), 'LFS object')}, {_names(large.nowhere)}")
    if large.left:
        verb = "sent" if sent else "fetched"
        command = f"git lfs push --all {remote.name or 'REMOTE'}" if sent else "git lfs fetch --all"
        say_error(
            f"{_number(len(large.left), 'LFS object')} not {verb} ({large.reason}): {_names(large.left)}",
            f"git-lfs can: `{command}`" + ("; the commits did travel" if sent else ""),
        )
        return _LEFT_BEHIND
    return _LEFT_BEHIND if large.nowhere and not sent else 0


def _names(pointers: Sequence[Pointer]) -> str:
    more = len(pointers) - _NAMED
    return ", ".join(pointer.oid[:12] for pointer in pointers[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _number(number: int, of: str) -> str:
    return f"{number} {of}" if number == 1 else f"{number} {of}s"
