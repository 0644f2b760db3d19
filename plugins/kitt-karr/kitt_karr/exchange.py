"""Pull and push: two histories become one, and nothing of either is lost.

A merge is the union of what both sides did since their merge base. The branch moves as it does for a save: under
KITT's lock, only from where it was looked at, and the files of a work tree follow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

from kitt_core.errors import StoreUnavailableError
from kitt_karr.branch import Head
from kitt_karr.connection import Connection
from kitt_karr.errors import translated
from kitt_karr.merging import common_tree, incoming
from kitt_karr.outputs import large_files_of
from kitt_karr.refusals import RemoteError
from kitt_karr.remote import Remote
from kitt_karr.repository import Repository
from kitt_karr.runs import Place, changed_runs
from kitt_karr.trees import Entry
from kitt_karr.worktree import WorkTree

__all__ = ["Movement", "pull", "push"]

_ATTEMPTS: Final = 10
_PAUSE_SECONDS: Final = 0.2


@frozen
class Movement:
    """What a pull or a push brought.

    Attributes:
        before: The commit that the branch was at, None if it had none.
        after: Where it is now.
        added: How many directories of runs are new or other ones.
        removed: How many are gone.
        merged: Whether both sides had commits that the other did not know.
    """

    before: str | None
    after: str
    added: int = 0
    removed: int = 0
    merged: bool = False


def pull(connection: Connection, repository: Repository) -> Movement:
    """Take over what the remote's branch has; commits of this side stay.

    Raises:
        RemoteError: It cannot be reached, has no such branch, or shares no commit with this one.
        MergeConflictError: Both sides changed a file; nothing was changed.
        StoreUnavailableError: The branch can't be moved.
    """
    repository.refuse_detached(repository.head())
    theirs = connection.fetch()
    if theirs is None:
        raise RemoteError(
            f"{connection.remote.shown} has no branch {connection.remote.short_branch}",
            hint="name another one after the remote, or `kitt karr push` first",
        )
    return _unite(repository, theirs, connection.remote)


def push(
    connection: Connection, repository: Repository, before_sending: Callable[[str, str | None], None]
) -> Movement:
    """Give the remote's branch what this one has; where that moved on, both are merged first.

    Args:
        connection: The way there.
        repository: This side.
        before_sending: Called with the commit that is sent and the one that is there, before the branch moves.

    Raises:
        RemoteError: It cannot be reached, refuses, or shares no commit with this one.
        MergeConflictError: Both sides changed a file; nothing was changed.
        StoreUnavailableError: There is nothing to push, or the branch can't be moved.
    """
    head = repository.head()
    repository.refuse_detached(head)
    if head.tip is None:
        raise StoreUnavailableError(
            f"{repository.path} has no commit yet", hint="store a run first, or make it with `kitt karr init`"
        )
    merged = False
    for _ in range(_ATTEMPTS):
        theirs = connection.fetch()
        if theirs is not None:
            merged = _unite(repository, theirs, connection.remote).merged or merged
        tip = repository.head().tip
        if tip is None:
            break
        before_sending(tip, theirs)
        if theirs == tip or connection.send(theirs, tip):
            connection.note(tip)
            return _movement(repository, theirs, tip, merged=merged)
        time.sleep(_PAUSE_SECONDS)
    raise RemoteError(
        f"{connection.remote.shown} moves on faster than it can be pushed to ({_ATTEMPTS} attempts)",
        hint="try again",
    )


def _unite(repository: Repository, theirs: str, remote: Remote) -> Movement:
    """Move this side's branch to where it has both histories."""
    with repository.exclusive():
        while True:
            head = repository.head()
            repository.refuse_detached(head)
            bases = _merge_bases(repository, head.tip, theirs, remote)
            if head.tip is not None and theirs in bases:
                return Movement(head.tip, head.tip)
            root = None if head.tip is None else repository.commit(head.tip).tree
            forward = head.tip is None or head.tip in bases
            base = root if forward else common_tree(repository, bases)
            changes = incoming(repository, base, root, repository.commit(theirs).tree)
            tree = repository.commit(theirs).tree if forward else repository.changed_tree(root, changes)
            message = f"Merge {remote.short_branch} of {remote.shown}"
            commit = theirs if forward else repository.add_commit(tree, (str(head.tip), theirs), message)
            reason = f"pull: {'Fast-forward' if forward else message}"
            if _move(repository, head, commit, changes, reason):
                return _movement(repository, head.tip, commit, merged=not forward)


def _merge_bases(repository: Repository, tip: str | None, theirs: str, remote: Remote) -> list[str]:
    from dulwich.graph import find_merge_base

    if tip is None:
        return []
    with translated(repository.path):
        found = find_merge_base(repository.repo, [tip.encode(), theirs.encode()])  # type: ignore[list-item]  # its NewTypes
    if not found:
        raise RemoteError(
            f"{remote.shown} and {repository.path} share no commit: they were made apart",
            hint=f"pull it into a new one, and store these runs there: `kitt --backend karr:///NEW storage import"
            f" {repository.path}`",
        )
    return [base.decode("ascii") for base in found]


def _movement(repository: Repository, before: str | None, after: str, *, merged: bool) -> Movement:
    old = None if before is None else repository.commit(before).tree
    found = [run is not None for _, run in changed_runs(repository, old, repository.commit(after).tree)]
    return Movement(before, after, added=sum(found), removed=len(found) - sum(found), merged=merged)


def _move(
    repository: Repository, head: Head, commit: str, changes: Mapping[Place, Entry | None], reason: str
) -> bool:
    """Move the branch, with the files of a work tree if there is one; False if it stands elsewhere by now."""

    def advance() -> bool:
        return repository.advance(head, commit, reason)

    if repository.work_tree is None:
        return advance()
    old = None if head.tip is None else repository.commit(head.tip).tree
    new = repository.commit(commit).tree
    replaced = {place for place, entry in changes.items() if entry is not None and _has(repository, old, place)}
    arriving = {place: entry for place, entry in changes.items() if entry is not None and place not in replaced}
    leaving = dict.fromkeys([place for place in changes if place not in arriving])
    with translated(repository.path, "cannot be written"):
        files = WorkTree(repository, large_files_of(repository))
        if not files.follow(old, new, arriving, advance):
            return False
        if leaving:
            files.follow(old, new, leaving, lambda: True)
        if replaced:
            files.follow(old, new, {place: changes[place] for place in replaced}, lambda: True)
    return True


def _has(repository: Repository, root: str | None, place: Place) -> bool:
    current = root
    entry = None
    for name in place:
        entry = None if current is None else repository.listing(current).find(name)
        if entry is None:
            return False
        current = entry.id if entry.is_directory else None
    return entry is not None
