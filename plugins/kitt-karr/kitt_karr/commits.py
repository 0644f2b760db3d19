"""What a commit of KITT's changes: the directories of new runs, and those that go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from attrs import frozen

from kitt_core.errors import StoreUnavailableError
from kitt_core.rundir import DOCUMENT, IDENTITY, OUTPUTS, OWN_FILES, alternative_name
from kitt_core.runs import CheckedRun
from kitt_karr.index import RunIndex
from kitt_karr.layout import ATTRIBUTES, ROOT_ATTRIBUTES, directory_of, files_of, run_attributes
from kitt_karr.lfs import LargeFiles
from kitt_karr.outputs import store_outputs
from kitt_karr.repository import Repository
from kitt_karr.runs import Place, RunTree
from kitt_karr.trees import DIRECTORY, FILE, Entry, Listing

__all__ = ["PreparedRun", "prepare", "removal", "run_changes"]


@frozen
class PreparedRun:
    """A run whose objects are in the repository, though no commit has them yet.

    Attributes:
        run: The run.
        tree: Its directory.
    """

    run: CheckedRun
    tree: RunTree

    @property
    def entry(self) -> Entry:
        """The directory, as the one above it has it."""
        return Entry(self.tree.place[-1], DIRECTORY, self.tree.tree)


def prepare(
    repository: Repository, large_files: LargeFiles, runs: Sequence[CheckedRun], threshold: int
) -> dict[str, PreparedRun]:
    """Write the objects of some runs, durably, and return them by id.

    Nothing refers to them yet: if the save is refused, ``git gc`` removes them.
    """
    root_is_ours = _root_is_ours(repository)
    return {run.id: _prepared(repository, large_files, run, threshold, root_is_ours=root_is_ours) for run in runs}


def _prepared(
    repository: Repository, large_files: LargeFiles, run: CheckedRun, threshold: int, *, root_is_ours: bool
) -> PreparedRun:
    outputs = store_outputs(repository, large_files, run.attachments, threshold)
    files = files_of(run, outputs.notes)
    attributes = run_attributes(outputs.large, root_is_ours=root_is_ours)
    if attributes is not None:
        files[ATTRIBUTES] = attributes
    blobs = {name: repository.add_blob(content) for name, content in files.items()}
    listing = Listing()
    for name, identity in blobs.items():
        listing = listing.with_entry(Entry(name.encode(), FILE, identity))
    if outputs.entries:
        below = Listing()
        for entry in outputs.entries:
            below = below.with_entry(entry)
        listing = listing.with_entry(Entry(OUTPUTS.encode(), DIRECTORY, repository.add_tree(below)))
    tree = repository.add_tree(listing)
    place = _place(directory_of(run))
    return PreparedRun(run, RunTree(place, tree, blobs[DOCUMENT], blobs[IDENTITY]))


def _root_is_ours(repository: Repository) -> bool:
    tip = repository.head().tip
    if tip is None:
        return False
    entry = repository.listing(repository.commit(tip).tree).find(ATTRIBUTES.encode())
    return entry is not None and entry.is_file and repository.blob(entry.id) == ROOT_ATTRIBUTES


def run_changes(repository: Repository, root: str | None, runs: Sequence[PreparedRun]) -> list[PreparedRun]:
    """Return the runs at the places that are free for them in a tree.

    Raises:
        StoreUnavailableError: A file is where a directory is needed.
    """
    placed: list[PreparedRun] = []
    taken: set[Place] = set()
    for run in runs:
        place = run.tree.place
        if place in taken or _is_taken(repository, root, place):
            # Another run of the same second, with the same end of its id.
            place = (*place[:-1], alternative_name(place[-1].decode(), run.run.id).encode())
        taken.add(place)
        tree = RunTree(place, run.tree.tree, run.tree.document, run.tree.identity)
        placed.append(PreparedRun(run.run, tree))
    return placed


def _is_taken(repository: Repository, root: str | None, place: Place) -> bool:
    current = root
    for position, name in enumerate(place):
        entry = None if current is None else repository.listing(current).find(name)
        if entry is None:
            return False
        if position + 1 < len(place) and not entry.is_directory:
            path = "/".join(part.decode(errors="replace") for part in place[: position + 1])
            raise StoreUnavailableError(
                f"{repository.path} has a file {path}, a directory is needed to write runs into",
                hint="move it away with `git mv`",
            )
        current = entry.id
    return True


def removal(index: RunIndex, runs: Sequence[RunTree]) -> dict[Place, Entry | None]:
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


def _place(path: PurePosixPath) -> Place:
    return tuple(part.encode() for part in path.parts)
