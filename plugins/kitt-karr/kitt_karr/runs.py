"""Runs in git's trees: which directories are runs, what changed between two trees, who a run is and since when.

As in `kitt_core.rundir`, a directory is a run because ``metrics.json`` is in it, at whatever depth; model, engine
and time are the document's. Links and submodules are not followed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final

from attrs import frozen

from kitt_core.errors import StoreUnavailableError
from kitt_core.rundir.content import DOCUMENT, IDENTITY, OUTPUTS
from kitt_core.rundir.identity import Identity, derived_identity, noted_identity
from kitt_core.rundir.names import INTERNAL_PREFIX
from kitt_karr.git.objects import Commit
from kitt_karr.git.repository import Repository
from kitt_karr.git.trees import DIRECTORY, Entry, Listing, Place

__all__ = ["RunTree", "changed_runs", "identify", "times_of_arrival"]

_SKIPPED: Final = (INTERNAL_PREFIX.encode(), b".git")
_NOTHING: Final = Listing()


@frozen
class RunTree:
    """A directory that holds ``metrics.json``: its place and the ids of tree, document and ``run.json``, if any."""

    place: Place
    tree: str
    document: str
    identity: str | None

    @property
    def path(self) -> PurePosixPath:
        """The place, for people and for ids."""
        return PurePosixPath(*map(os.fsdecode, self.place))

    @property
    def entry(self) -> Entry:
        """The directory, as the one above it has it."""
        return Entry(self.place[-1], DIRECTORY, self.tree)


def changed_runs(
    repository: Repository, old: str | None, new: str | None
) -> Iterator[tuple[Place, RunTree | None]]:
    """Yield the places of runs that differ between two root trees, in their order, with what is in the new one.

    Only directories that differ are read. A run that was changed comes once, with its new state. None is an empty
    tree.
    """
    pending: list[tuple[Place, str | None, str | None]] = [((), old, new)]
    while pending:
        place, was, now = pending.pop()
        if was == now:
            continue
        before = _NOTHING if was is None else repository.listing(was)
        after = _NOTHING if now is None else repository.listing(now)
        was_run, run = _run_tree(place, was, before), _run_tree(place, now, after)
        if was_run is not None or run is not None:
            yield place, run
        # What is below "outputs" counts differently where the directory became a run, or ceased to be one.
        alike = (was_run is None) == (run is None)
        below_before = _directories(before, after if alike else _NOTHING, was_run)
        below_after = _directories(after, before if alike else _NOTHING, run)
        names = sorted({*below_before, *below_after}, reverse=True)
        pending += [((*place, name), below_before.get(name), below_after.get(name)) for name in names]


def _run_tree(place: Place, tree: str | None, listing: Listing) -> RunTree | None:
    document, identity = listing.find(DOCUMENT.encode()), listing.find(IDENTITY.encode())
    if tree is None or document is None or not document.is_file:
        return None
    noted = identity.id if identity is not None and identity.is_file else None
    return RunTree(place, tree, document.id, noted)


def _directories(listing: Listing, other: Listing, run: RunTree | None) -> dict[bytes, str]:
    """Return the directories that may hold runs and are not the same in ``other``."""

    def may_hold_runs(entry: Entry) -> bool:
        # An attachment may be called metrics.json, which does not make it a run.
        attachments = run is not None and run.place and entry.name == OUTPUTS.encode()
        return entry.is_directory and not entry.name.startswith(_SKIPPED) and not attachments

    return {entry.name: entry.id for entry in listing.unlike(other) if may_hold_runs(entry)}


def identify(repository: Repository, run: RunTree, document: bytes, committed: datetime) -> Identity:
    """Return who a run is; it was saved when it was ``committed``, if it doesn't say so itself."""
    if run.identity is None:
        return derived_identity(run.path, document, committed)
    try:
        noted = noted_identity(repository.blob(run.identity))
    except StoreUnavailableError as error:
        noted = f"{IDENTITY} cannot be read: {error.message}"
    return noted if isinstance(noted, Identity) else derived_identity(run.path, document, committed, noted)


def times_of_arrival(repository: Repository, tip: Commit, places: Collection[Place]) -> dict[Place, datetime]:
    """Return when the documents that are in ``tip`` were committed, by the place of their run.

    It is asked for the runs of older KITTs, which don't say when they were saved. The first parents are followed,
    as ``git log --first-parent`` does, until all are found.
    """
    found: dict[Place, datetime] = {}
    pending, commit = set(places), tip
    while pending:
        before = repository.parent(commit)
        old = None if before is None else before.tree
        for place, run in changed_runs(repository, old, commit.tree):
            if place in pending and run is not None:
                entry = repository.find(old, (*place, DOCUMENT.encode()))
                if entry is None or entry.id != run.document:
                    found[place] = commit.time
                    pending.discard(place)
        if before is None:
            break
        commit = before
    return found | dict.fromkeys(pending, commit.time)
