"""Runs in git's trees: which directories are runs, what changed between two trees, who a run is.

As in `kitt_core.rundir`, a directory is a run because ``metrics.json`` is in it, at whatever depth; model, engine
and time are the document's. Links and submodules are not followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final

from attrs import frozen

from kitt_core.errors import StoreUnavailableError
from kitt_core.rundir import (
    DOCUMENT,
    IDENTITY,
    INTERNAL_PREFIX,
    OUTPUTS,
    Identity,
    derived_identity,
    noted_identity,
)
from kitt_karr.repository import Repository
from kitt_karr.trees import Entry, Listing

__all__ = ["Place", "RunTree", "changed_runs", "identify", "run_tree", "runs_below", "subtree"]

Place = tuple[bytes, ...]
"""A path below the root, as git has it."""

_DOCUMENT: Final = DOCUMENT.encode()
_IDENTITY: Final = IDENTITY.encode()
_SKIPPED: Final = (INTERNAL_PREFIX.encode(), b".git")
_NOTHING: Final = Listing()


@frozen
class RunTree:
    """A directory that holds ``metrics.json``.

    Attributes:
        place: Where it is.
        tree: The id of its tree.
        document: The id of the document's blob.
        identity: The id of the blob of ``run.json``, None if there is none.
    """

    place: Place
    tree: str
    document: str
    identity: str | None

    @property
    def path(self) -> PurePosixPath:
        """The place, for people and for ids."""
        return PurePosixPath(*map(os.fsdecode, self.place))


def runs_below(repository: Repository, root: str | None) -> Iterator[RunTree]:
    """Yield the runs of a tree in the order of their paths."""
    for _, run in changed_runs(repository, None, root):
        if run is not None:
            yield run


def changed_runs(
    repository: Repository, old: str | None, new: str | None
) -> Iterator[tuple[Place, RunTree | None]]:
    """Yield the places of runs that differ between two trees, with what is there in the new one.

    Only directories that differ are read. A run that was changed comes once, with its new state.

    Args:
        repository: Has both trees.
        old: The id of the one root, None for an empty tree.
        new: The id of the other.
    """
    pending: list[tuple[Place, str | None, str | None]] = [((), old, new)]
    while pending:
        place, was, now = pending.pop()
        if was == now:
            continue
        before, after = _listing(repository, was), _listing(repository, now)
        was_run, run = run_tree(place, was, before), run_tree(place, now, after)
        if was_run is not None or run is not None:
            yield place, run
        # What is below "outputs" counts differently where the directory became a run, or ceased to be one.
        alike = (was_run is None) == (run is None)
        below_before = _directories(before, after if alike else _NOTHING, was_run)
        below_after = _directories(after, before if alike else _NOTHING, run)
        names = sorted({*below_before, *below_after}, reverse=True)
        pending += [((*place, name), below_before.get(name), below_after.get(name)) for name in names]


def run_tree(place: Place, tree: str | None, listing: Listing) -> RunTree | None:
    """Return the run that a directory is, None if it is none."""
    document, identity = listing.find(_DOCUMENT), listing.find(_IDENTITY)
    if tree is None or document is None or not document.is_file:
        return None
    noted = identity.id if identity is not None and identity.is_file else None
    return RunTree(place, tree, document.id, noted)


def subtree(repository: Repository, root: str, place: Place) -> str | None:
    """Return the id of a directory below ``root``, None if there is none."""
    current = root
    for name in place:
        entry = repository.listing(current).find(name)
        if entry is None or not entry.is_directory:
            return None
        current = entry.id
    return current


def identify(repository: Repository, run: RunTree, document: bytes, committed: datetime) -> Identity:
    """Return who a run is.

    Args:
        repository: Has its objects.
        run: The run.
        document: Its bytes.
        committed: When it came there: its time, if it doesn't say so itself.
    """
    if run.identity is None:
        return derived_identity(run.path, document, committed)
    try:
        noted = noted_identity(repository.blob(run.identity))
    except StoreUnavailableError as error:
        noted = f"{IDENTITY} cannot be read: {error.message}"
    return noted if isinstance(noted, Identity) else derived_identity(run.path, document, committed, noted)


def _listing(repository: Repository, tree: str | None) -> Listing:
    return _NOTHING if tree is None else repository.listing(tree)


def _directories(listing: Listing, other: Listing, run: RunTree | None) -> dict[bytes, str]:
    """Return the directories that may hold runs and are not the same in ``other``."""
    found: dict[bytes, str] = {}
    for entry in listing.unlike(other):
        # An attachment may be called metrics.json; it is no run.
        attachments = run is not None and run.place and entry.name == OUTPUTS.encode()
        if _may_hold_runs(entry) and not attachments:
            found[entry.name] = entry.id
    return found


def _may_hold_runs(entry: Entry) -> bool:
    return entry.is_directory and not entry.name.startswith(_SKIPPED)
