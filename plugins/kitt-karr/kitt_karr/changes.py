"""What a commit of KITT's changes: the directories of new runs, and those that go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve

from kitt_core.model import CheckedRun
from kitt_core.rundir.content import DOCUMENT, IDENTITY, OUTPUTS, OWN_FILES
from kitt_core.rundir.names import alternative_name
from kitt_karr.attachments import store_outputs
from kitt_karr.git.errors import file_in_the_way
from kitt_karr.git.repository import Repository
from kitt_karr.git.trees import DIRECTORY, FILE, Entry, Listing, Place
from kitt_karr.index import IndexChange
from kitt_karr.layout import ATTRIBUTES, files_of, place_of, root_files, run_attributes
from kitt_karr.runs import RunTree

__all__ = ["Changes", "first_changes", "place_runs", "removal", "write_run"]

Changes = Mapping[Place, Entry | None]
"""Entries to be put in, or (None) taken out, by their path below the root."""


def first_changes(repository: Repository, fingerprint: str) -> Changes:
    """Write the files of the first commit, and return them by their place."""
    files = {name.encode(): content for name, content in root_files(fingerprint).items()}
    return {(name,): Entry(name, FILE, repository.add_blob(content)) for name, content in files.items()}


def write_run(repository: Repository, run: CheckedRun, threshold: int, *, root_is_ours: bool) -> RunTree:
    """Write the objects of a run, durably; if the save is refused, ``git gc`` removes them.

    Attachments of more than ``threshold`` bytes are kept by LFS. Where the attributes at the root are not KITT's,
    the run has its own.
    """
    outputs, large, notes = store_outputs(repository, run.attachments, threshold)
    files = files_of(run, notes)
    attributes = run_attributes(large, root_is_ours=root_is_ours)
    if attributes is not None:
        files[ATTRIBUTES] = attributes
    blobs = {name: repository.add_blob(content) for name, content in files.items()}
    entries = [Entry(name.encode(), FILE, blob) for name, blob in blobs.items()]
    if outputs:
        entries.append(Entry(OUTPUTS.encode(), DIRECTORY, repository.add_tree(Listing.of(outputs))))
    tree = repository.add_tree(Listing.of(entries))
    return RunTree(place_of(run), tree, blobs[DOCUMENT], blobs[IDENTITY])


def place_runs(repository: Repository, root: str | None, runs: Mapping[str, RunTree]) -> dict[str, RunTree]:
    """Return runs by their ids, at places that are free for them in a tree.

    Raises:
        StoreUnavailableError: A file is where a directory is needed.
    """
    placed: dict[Place, str] = {}
    for run_id, run in runs.items():
        place = run.place
        for depth in range(1, len(place)):
            above = repository.find(root, place[:depth])
            if above is not None and not above.is_directory:
                raise file_in_the_way(repository.path, place[:depth])
        if place in placed or repository.find(root, place) is not None:
            # Another run of the same second, with the same end of its id.
            place = (*place[:-1], alternative_name(place[-1].decode(), run_id).encode())
        placed[place] = run_id
    return {run_id: evolve(runs[run_id], place=place) for place, run_id in placed.items()}


def removal(index: IndexChange, runs: Sequence[RunTree]) -> Changes:
    """Return what has to go so that some runs are gone.

    Where a directory holds other runs too (the root itself, layouts of older KITTs) only the files of the run go.
    """
    gone: dict[Place, Entry | None] = {}
    for run in runs:
        if run.place and not index.holds_below(run.place):
            gone[run.place] = None
        else:
            names = OWN_FILES if not run.place else (*OWN_FILES, ATTRIBUTES)
            gone |= {(*run.place, name.encode()): None for name in names}
    return gone
