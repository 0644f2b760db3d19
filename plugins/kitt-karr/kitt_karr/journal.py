"""The commits of the branch, as ``kitt karr log`` lists them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from attrs import frozen

from kitt_karr.errors import translated
from kitt_karr.repository import Repository
from kitt_karr.runs import changed_runs

__all__ = ["JournalEntry", "journal"]


@frozen
class JournalEntry:
    """One commit.

    Attributes:
        commit: Its id.
        time: When it was committed.
        author: ``Name <address>``.
        message: Its first line.
        added: How many runs it brought or changed, compared with its first parent.
        removed: How many it took away.
        parents: The commits before it.
    """

    commit: str
    time: datetime
    author: str
    message: str
    added: int
    removed: int
    parents: tuple[str, ...]


def journal(repository: Repository, limit: int | None = None) -> Iterator[JournalEntry]:
    """Yield the commits of the branch, the newest first."""
    tip = repository.head().tip
    if tip is None:
        return
    with translated(repository.path):
        walker = iter(repository.repo.get_walker(include=[tip.encode()], max_entries=limit))  # type: ignore[list-item]  # its NewType of bytes
    while True:
        with translated(repository.path):
            found = next(walker, None)
        if found is None:
            return
        commit = repository.commit(found.commit.id.decode("ascii"))
        first = commit.parents[0] if commit.parents and repository.has(commit.parents[0]) else None
        before = None if first is None else repository.commit(first).tree
        there = [run is not None for _, run in changed_runs(repository, before, commit.tree)]
        yield JournalEntry(
            commit=commit.id,
            time=commit.time,
            author=found.commit.author.decode("utf-8", "replace"),
            message=found.commit.message.decode("utf-8", "replace").partition("\n")[0],
            added=sum(there),
            removed=len(there) - sum(there),
            parents=commit.parents,
        )
