"""Since when a run is in a repository: for those of older KITTs, which don't say when they were saved."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from kitt_karr.objects import Commit
from kitt_karr.repository import Repository
from kitt_karr.runs import Place, changed_runs, run_tree, subtree

__all__ = ["times_of_arrival"]


def times_of_arrival(repository: Repository, tip: Commit, places: Collection[Place]) -> dict[Place, datetime]:
    """Return when the documents that are in ``tip`` were committed, by the place of their run.

    The first parents are followed, as ``git log --first-parent`` does, until all are found.
    """
    found: dict[Place, datetime] = {}
    pending, commit = set(places), tip
    while pending:
        before = _parent(repository, commit)
        for place, run in changed_runs(repository, None if before is None else before.tree, commit.tree):
            if place not in pending or run is None:
                continue
            if before is None or _document(repository, before.tree, place) != run.document:
                found[place] = commit.time
                pending.discard(place)
        if before is None:
            break
        commit = before
    return found | dict.fromkeys(pending, commit.time)


def _parent(repository: Repository, commit: Commit) -> Commit | None:
    # A shallow clone ends where its parent is not there.
    if not commit.parents or not repository.has(commit.parents[0]):
        return None
    return repository.commit(commit.parents[0])


def _document(repository: Repository, root: str, place: Place) -> str | None:
    tree = subtree(repository, root, place)
    run = None if tree is None else run_tree(place, tree, repository.listing(tree))
    return None if run is None else run.document
