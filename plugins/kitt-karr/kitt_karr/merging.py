"""Bringing two trees together: what each side did since they were one holds for both.

Runs have directories of their own, so that two machines' work meets in none; files that both changed are a
conflict, and nobody here knows better than the user which one is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kitt_core.errors import ConfigurationError
from kitt_karr.repository import Repository
from kitt_karr.runs import Place
from kitt_karr.trees import Entry, Listing

__all__ = ["MergeConflictError", "common_tree", "incoming"]

Changes = dict[Place, Entry | None]
_NOTHING = Listing()


class MergeConflictError(ConfigurationError):
    """Both sides changed the same file; the attribute ``place`` is where."""

    exit_code = 1

    def __init__(self, place: Place) -> None:
        path = b"/".join(place).decode(errors="replace")
        self.place = place
        super().__init__(
            f"{path} was changed here and there in different ways; nothing was changed",
            hint="settle it with git in a clone (`git merge`, `git commit`), push that, and pull here",
        )


def incoming(repository: Repository, base: str | None, ours: str | None, theirs: str | None) -> Changes:
    """Return what has to be put into ``ours``, or (None) taken out of it, so that it has their changes, too.

    Args:
        repository: Has the trees.
        base: The root both began with, None for an empty one.
        ours: This side's root.
        theirs: The other's.

    Raises:
        MergeConflictError: Both sides changed a file.
    """

    def refuse(place: Place) -> None:
        raise MergeConflictError(place)

    return _incoming(repository, base, ours, theirs, refuse)


def _incoming(
    repository: Repository,
    base: str | None,
    ours: str | None,
    theirs: str | None,
    conflict: Callable[[Place], None],
) -> Changes:
    changes: Changes = {}
    pending: list[tuple[Place, str | None, str | None, str | None]] = [((), base, ours, theirs)]
    while pending:
        place, *ids = pending.pop()
        before, here, there = (_NOTHING if tree is None else repository.listing(tree) for tree in ids)
        for name in _differing(before, there):
            was, mine, other = before.find(name), here.find(name), there.find(name)
            path = (*place, name)
            if mine == other:
                continue
            if mine == was:
                changes[path] = other
            elif all(entry is None or entry.is_directory for entry in (was, mine, other)):
                # One that is not there is an empty one: git knows no difference.
                pending.append((path, _id(was), _id(mine), _id(other)))
            else:
                conflict(path)
    return changes


def _differing(before: Listing, after: Listing) -> Iterator[bytes]:
    """Yield the names whose entries are not the same."""
    names = {entry.name for entry in after.unlike(before)} | {entry.name for entry in before.unlike(after)}
    return iter(sorted(names))


def common_tree(repository: Repository, commits: list[str]) -> str | None:
    """Return the tree that two sides began with: that of their merge base, several put together.

    There are several where both sides have merged each other; a run that is in one of them was known to both.

    Args:
        repository: Has the commits.
        commits: The merge bases, at least one.
    """
    tree: str | None = repository.commit(commits[0]).tree
    for commit in commits[1:]:
        other = repository.commit(commit).tree
        # Where they differ the first counts: each side's own changes are compared with something they had.
        tree = repository.changed_tree(tree, _incoming(repository, None, tree, other, _ignore))
    return tree


def _ignore(place: Place) -> None:
    del place


def _id(entry: Entry | None) -> str | None:
    return None if entry is None else entry.id
