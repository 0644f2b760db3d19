"""Runs in git's trees: which directories are runs, what differs between two trees, what a commit changes.

As in `kitt_core.rundir`, a directory with ``metrics.json`` is a run, at any depth, and one with ``run.json`` alone
has lost its document; model, engine and time are those of the document. Links and submodules are not followed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import reduce
from pathlib import PurePosixPath
from typing import Final

from attrs import evolve, frozen

from kitt_core.errors import StoreUnavailableError
from kitt_core.rundir import (
    DOCUMENT,
    IDENTITY,
    INTERNAL_PREFIX,
    LOST,
    OUTPUTS,
    OWN_FILES,
    Identity,
    alternative_name,
    derived_identity,
    noted_identity,
)
from kitt_core.runs import CheckedRun
from kitt_karr.attachments import store_outputs
from kitt_karr.git.objects import Commit
from kitt_karr.git.repository import Repository, file_in_the_way
from kitt_karr.git.trees import DIRECTORY, FILE, Entry, Listing, Place
from kitt_karr.layout import ATTRIBUTES, FINGERPRINT, README, ROOT_ATTRIBUTES, files_of, place_of, run_attributes

Changes = Mapping[Place, Entry | None]
"""Entries to add, or (None) to remove, by their path below the root."""
_SKIPPED: Final = (INTERNAL_PREFIX.encode(), b".git")
_NOTHING: Final = Listing()


@frozen
class RunTree:
    """A run's directory: its place, and the ids of its tree, of ``metrics.json`` and of ``run.json``, if any."""

    place: Place
    tree: str
    document: str | None
    identity: str | None

    @property
    def path(self) -> PurePosixPath:
        """The place as a path, for messages and derived ids."""
        return PurePosixPath(*map(os.fsdecode, self.place))

    def read_document(self, repository: Repository) -> bytes:
        """Return the bytes of the document.

        Raises:
            StoreUnavailableError: They can't be read, or were removed.
        """
        if self.document is None:
            raise StoreUnavailableError(f"{self.path} {LOST}")
        return repository.blob(self.document)


def changed_runs(
    repository: Repository, old: str | None, new: str | None
) -> Iterator[tuple[Place, RunTree | None]]:
    """Yield the places of runs that differ between two root trees, in order, with the run in the new tree if any.

    Only directories that differ are read. None stands for an empty tree.
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
        # What is below "outputs" changes its meaning when the directory becomes a run, or stops being one.
        alike = (was_run is None) == (run is None)
        below_before = _directories(before, after if alike else _NOTHING, was_run)
        below_after = _directories(after, before if alike else _NOTHING, run)
        names = sorted({*below_before, *below_after}, reverse=True)
        pending += [((*place, name), below_before.get(name), below_after.get(name)) for name in names]


def _run_tree(place: Place, tree: str | None, listing: Listing) -> RunTree | None:
    entries = (listing.find(name.encode()) for name in (DOCUMENT, IDENTITY))
    document, identity = (entry.id if entry is not None and entry.is_file else None for entry in entries)
    return (
        None
        if tree is None or (document is None and identity is None)
        else RunTree(place, tree, document, identity)
    )


def _directories(listing: Listing, other: Listing, run: RunTree | None) -> dict[bytes, str]:
    """Return the directories that may hold runs and are not the same in ``other``."""

    def may_hold_runs(entry: Entry) -> bool:
        # An attachment may be called metrics.json, which does not make it a run.
        attachments = run is not None and run.place and entry.name == OUTPUTS.encode()
        return entry.is_directory and not entry.name.startswith(_SKIPPED) and not attachments

    return {entry.name: entry.id for entry in listing.unlike(other) if may_hold_runs(entry)}


def identify(repository: Repository, run: RunTree, committed: datetime) -> Identity:
    """Return a run's identity from ``run.json``; without it, one derived, saved when it was ``committed``.

    Raises:
        StoreUnavailableError: ``run.json`` can't be read or used, or the document is needed and can't be read.
    """
    if run.identity is None:
        return derived_identity(run.path, run.read_document(repository), committed)
    try:
        return noted_identity(repository.blob(run.identity))
    except ValueError as error:
        raise StoreUnavailableError(str(error)) from error


def times_of_arrival(repository: Repository, tip: Commit, places: Collection[Place]) -> dict[Place, datetime]:
    """Return when the documents that are in ``tip`` were committed, by their place, along the first parents."""
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


def dated_runs(repository: Repository, commit: Commit) -> Iterator[tuple[RunTree, datetime]]:
    """Yield the runs in a commit, with when they were saved as far as ``run.json`` does not say it."""
    runs = [run for _, run in changed_runs(repository, None, commit.tree) if run is not None]
    arrived = times_of_arrival(repository, commit, [run.place for run in runs if run.identity is None])
    return ((run, arrived.get(run.place, commit.time)) for run in runs)


def first_changes(repository: Repository, fingerprint: str) -> Changes:
    """Write the files of the first commit, and return them by their place."""
    noted = fingerprint.encode("utf-8", "replace")
    files = {ATTRIBUTES: ROOT_ATTRIBUTES, "README.md": README, FINGERPRINT: noted}
    entries = [Entry(name.encode(), FILE, repository.add_blob(content)) for name, content in files.items()]
    return {(entry.name,): entry for entry in entries}


def write_run(repository: Repository, run: CheckedRun, threshold: int, *, root_is_ours: bool) -> RunTree:
    """Write the objects of a run, durably; if the save is refused, ``git gc`` removes them.

    Where the attributes at the root are not KITT's, the run has its own.
    """
    outputs, large, notes = store_outputs(repository, run.attachments, threshold)
    files = files_of(run, notes)
    attributes = run_attributes(large, root_is_ours=root_is_ours)
    if attributes is not None:
        files[ATTRIBUTES] = attributes
    blobs = {name: repository.add_blob(content) for name, content in files.items()}
    entries = [Entry(name.encode(), FILE, blob) for name, blob in blobs.items()]
    if outputs:
        entries.append(Entry(OUTPUTS.encode(), DIRECTORY, _add_tree(repository, outputs)))
    return RunTree(place_of(run), _add_tree(repository, entries), blobs[DOCUMENT], blobs[IDENTITY])


def _add_tree(repository: Repository, entries: Sequence[Entry]) -> str:
    return repository.add_tree(reduce(Listing.with_entry, entries, _NOTHING))


def place_runs(repository: Repository, root: str | None, runs: Mapping[str, RunTree]) -> dict[str, RunTree]:
    """Return the runs by id, each at a place that is free in a tree."""
    placed: dict[Place, str] = {}
    for run_id, run in runs.items():
        place = run.place
        for depth in range(1, len(place)):
            above = repository.find(root, place[:depth])
            if above is not None and not above.is_directory:
                raise file_in_the_way(repository.path, place[:depth])
        if place in placed or repository.find(root, place) is not None:
            # Another run has the same second, and its id the same last characters.
            place = (*place[:-1], alternative_name(place[-1].decode(), run_id).encode())
        placed[place] = run_id
    return {run_id: evolve(runs[run_id], place=place) for place, run_id in placed.items()}


def removal(runs: Sequence[RunTree], holds_below: Callable[[Place], bool]) -> Changes:
    """Return the changes that remove runs; a directory that is the root or holds other runs too stays."""
    gone: dict[Place, Entry | None] = {}
    for run in runs:
        if run.place and not holds_below(run.place):
            gone[run.place] = None
        else:
            names = OWN_FILES if not run.place else (*OWN_FILES, ATTRIBUTES)
            gone |= {(*run.place, name.encode()): None for name in names}
    return gone
