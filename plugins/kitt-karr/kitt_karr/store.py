"""The store: a git repository behind the storage contract.

The tree at the tip of the branch is what is stored; `kitt_karr.index` answers questions about it, and is updated
to the tip before each answer. Every change is one commit on the tip that was read, so that what was checked
against it still holds when the branch moves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from kitt_core.errors import RunExistsError, StoreUnavailableError
from kitt_core.files import obstacle, size_below
from kitt_core.runs import (
    Attachment,
    CheckedRun,
    Filters,
    Finding,
    Page,
    RunFilter,
    RunSummary,
    SchemaState,
    SchemaStatus,
    StoredRun,
)
from kitt_core.storage import Capability, ResultStore
from kitt_karr import CAPABILITIES
from kitt_karr.attachments import available_attachments
from kitt_karr.git.repository import Head, Repository, translated
from kitt_karr.git.trees import DIRECTORY, Entry
from kitt_karr.git.worktree import WorkTree
from kitt_karr.index import IndexChange, RunIndex
from kitt_karr.layout import ATTRIBUTES, FINGERPRINT, ROOT_ATTRIBUTES, message_of
from kitt_karr.repository_choice import create_repository, is_free
from kitt_karr.runs import Changes, RunTree, first_changes, place_runs, removal, write_run

T = TypeVar("T")
Plan = tuple[Changes, str, Callable[[str], None]]
"""What a commit changes, its message, and what records it in the index."""

_MARK: Final = (FINGERPRINT.encode(),)
_FIRST: Final = "Initial commit: KARR results repository"
_LONGEST_PAUSE_SECONDS: Final = 0.1
_FOREIGN: Final = f"is a git repository, but not KARR's: it has neither {FINGERPRINT} nor runs"


class KarrResultStore(ResultStore):
    """Keeps runs as directories in the commits of a git repository; also reads those of older KITTs.

    Args:
        path: The repository, bare or with a work tree. It need not exist: the first save creates it.
        lfs_threshold: Attachments of more bytes than this are LFS pointers.
        fingerprint: The machine's, for ``hardware_fingerprint.txt`` of a new repository.
        work_tree: Whether a new repository has a work tree; otherwise it is bare.

    Raises:
        StoreUnavailableError: The path is relative, and the current directory was removed.
    """

    capabilities: ClassVar[frozenset[Capability]] = CAPABILITIES

    def __init__(
        self, path: Path | str, *, lfs_threshold: int = 1 << 20, fingerprint: str = "", work_tree: bool = False
    ) -> None:
        try:
            self._path = Path(path).absolute()
        except FileNotFoundError as error:
            text = f"{path} is relative, and the current directory no longer exists"
            raise StoreUnavailableError(text, hint="change to another one, or give an absolute path") from error
        self._threshold = lfs_threshold
        self._fingerprint = fingerprint
        self._work_tree = work_tree
        self._opened: tuple[Repository, RunIndex] | None = None
        self._opening = threading.RLock()
        self._closed = False

    @property
    def location(self) -> str:
        """Where the repository is."""
        return str(self._path)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The repository."""
        return (self._path,)

    @property
    def unread(self) -> tuple[str, ...]:
        """What the latest answer lacks because it could not be read."""
        return () if self._opened is None else self._opened[1].unread

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        """Store checked runs as one commit."""
        self._save(checked, by_content=False)

    def write_unless_stored(self, checked: Sequence[CheckedRun]) -> dict[str, str]:
        """Store those runs whose bytes are not there yet, as one commit on the tip that was checked."""
        return self._save(checked, by_content=True)

    def _save(self, checked: Sequence[CheckedRun], *, by_content: bool) -> dict[str, str]:
        """Store runs; ``by_content`` leaves out those whose bytes are there, and returns their ids by digest."""
        present: dict[str, str] = {}
        written: dict[str, RunTree] = {}  # kept for further attempts

        def plan(repository: Repository, index: IndexChange, root: str) -> Plan | None:
            present.update(index.ids_by_digest(checked) if by_content else {})
            wanted = {run.id: run for run in checked if run.sha256 not in present}
            for run_id in wanted:
                if index.find(run_id):
                    raise RunExistsError(f"run {run_id} is in {self.location} already")
            ours = repository.file(root, ATTRIBUTES) == ROOT_ATTRIBUTES
            for run in wanted.values():
                if run.id not in written:
                    written[run.id] = write_run(repository, run, self._threshold, root_is_ours=ours)
            placed = place_runs(repository, root, {run_id: written[run_id] for run_id in wanted})
            changes = {tree.place: Entry(tree.place[-1], DIRECTORY, tree.tree) for tree in placed.values()}
            runs = [(tree, wanted[run_id]) for run_id, tree in placed.items()]
            return (changes, message_of("Add", list(changes)), partial(index.add, runs)) if runs else None

        self._change(plan)
        return present

    def delete_result(self, run_id: str) -> bool:
        """Remove the run with a commit; the commits before it still have it."""

        def plan(_repository: Repository, index: IndexChange, _root: str) -> Plan | None:
            runs = [found.run for found in index.find(run_id)]
            message = message_of("Delete", [run.place for run in runs])
            return (removal(runs, index.holds_below), message, partial(index.remove, run_id)) if runs else None

        return bool(self._at_tip(lambda index: index.find(run_id))) and self._change(plan)

    def _change(self, plan: Callable[[Repository, IndexChange, str], Plan | None]) -> bool:
        """Commit what ``plan`` returns, again if git was faster; return whether there was anything to commit."""
        repository, index = self._made()
        with repository.exclusive():
            for attempt in count():
                with index.changing() as change:
                    tip = change.head.tip
                    if tip is None:  # the repository's first commit; the next attempt builds on it
                        files = first_changes(repository, self._fingerprint)
                        _commit(repository, change.head, None, files, _FIRST)
                        continue
                    root = repository.commit(tip).tree
                    if not change.holds_runs() and repository.find(root, _MARK) is None:
                        raise self._foreign()
                    planned = plan(repository, change, root)
                    if planned is None:
                        return False
                    changes, message, record = planned
                    commit = _commit(repository, change.head, root, changes, message)
                    if commit is not None:
                        record(commit)
                if change.commit is not None:
                    return True
                time.sleep(min(0.001 * 2**attempt, _LONGEST_PAUSE_SECONDS))
        raise AssertionError  # the attempts do not end

    def _foreign(self) -> StoreUnavailableError:
        hint = f"name another directory, or add an empty {FINGERPRINT} to it"
        return StoreUnavailableError(f"{self.location} {_FOREIGN}", hint=hint)

    def get_document(self, run_id: str) -> bytes | None:
        """Return the bytes that were saved, None if there is no such run."""
        return self._at_tip(lambda index: index.get_document(run_id))

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        """Yield the runs that match, of those that were there when the scan began."""
        wanted = RunFilter.of(filters)
        return self._at_tip(lambda index: index.scan(wanted)) or iter(())

    def attachments(self, run_id: str) -> Iterator[Attachment]:
        """Yield the run's outputs; those whose LFS content is not on this machine are left out with a warning."""
        found = self._at_tip(lambda index: index.find(run_id))
        if not found or (opened := self._open()) is None:
            return iter(())
        return available_attachments(opened[0], found[0].run.tree, f"run {run_id}")

    def list_results(self, filters: Filters = None, **wanted: Any) -> Page[RunSummary]:
        """Return one page of summaries, read from the index."""
        page = self._at_tip(lambda index: index.list_results(filters, **wanted))
        return super().list_results(filters, **wanted) if page is None else page

    def count(self, filters: Filters = None) -> int:
        """Return how many runs match."""
        wanted = RunFilter.of(filters)
        return self._at_tip(lambda index: index.count(wanted)) or 0

    def aggregate(
        self, group_by: str | Sequence[str], metrics: str | Sequence[str] | None = None, **wanted: Any
    ) -> list[dict[str, Any]]:
        """Return a row per group, computed from the index."""
        rows = self._at_tip(lambda index: index.aggregate(group_by, metrics, **wanted))
        return super().aggregate(group_by, metrics, **wanted) if rows is None else rows

    def metric_names(self) -> list[str]:
        """Return the names of the metrics in the index."""
        return self._at_tip(lambda index: index.metric_names()) or []

    def verify(self, *, rebuild: bool = False) -> Iterator[Finding]:
        """Yield what is wrong: git's objects, documents, LFS contents, or the index, which ``rebuild`` renews."""
        from kitt_karr.verification import verify_repository

        opened = self._open()
        return iter(()) if opened is None else verify_repository(*opened, rebuild=rebuild)

    def initialize(self) -> None:
        """Create the repository with its first commit, and the index; refuse one that is not KARR's."""
        if self.schema_status().state is SchemaState.FOREIGN:
            raise self._foreign()
        self._change(lambda *_: None)

    def schema_status(self) -> SchemaStatus:
        """Return the version of the layout, and how many bytes the git directory has."""
        if (opened := self._open()) is None:
            return SchemaStatus(None, newest=1, state=SchemaState.MISSING, notes=("it does not exist yet",))
        repository, index = opened
        tip = repository.head().tip
        root = None if tip is None else repository.commit(tip).tree
        if root is not None and repository.find(root, _MARK) is None and not index.at_tip(index.count):
            return SchemaStatus(version=None, newest=1, state=SchemaState.FOREIGN, notes=(_FOREIGN,))
        return SchemaStatus(version=1, newest=1, size_bytes=size_below(repository.directory))

    def prepares_itself(self, status: SchemaStatus) -> bool:
        """Return whether the first save creates the repository: if there is none yet."""
        return status.state is SchemaState.MISSING

    def check_writable(self) -> None:
        """Raise an error if git's files can't be written, or a commit would be on no branch."""
        super().check_writable()
        if (opened := self._open()) is not None:
            opened[0].head(for_writing=True)
            for place in (opened[0].own, opened[0].directory / "objects", opened[0].directory / "refs/heads"):
                if (problem := obstacle(place, directory=True)) is not None:
                    raise StoreUnavailableError(f"{place} cannot be written: {problem[0]}", hint=problem[1])

    def close(self) -> None:
        """Close the repository and the index."""
        with self._opening:
            for part in reversed(self._opened or ()) if not self._closed else ():
                part.close()
            self._closed = True

    def _open(self) -> tuple[Repository, RunIndex] | None:
        """Return the repository and its index, None if nothing is there yet."""
        with self._opening:
            if self._closed:
                raise StoreUnavailableError(f"{self.location} is closed", hint="open it again")
            if self._opened is None and not is_free(self._path):
                repository = Repository(self._path)
                with translated(self._path):
                    self._opened = repository, RunIndex(repository)
            return self._opened

    def _made(self) -> tuple[Repository, RunIndex]:
        if self._open() is None:
            create_repository(self._path, work_tree=self._work_tree)
        if (opened := self._open()) is None:
            raise StoreUnavailableError(f"{self.location} vanished during its creation", hint="try again")
        return opened

    def _at_tip(self, question: Callable[[RunIndex], T]) -> T | None:
        """Ask the index at the branch's tip; None if there is no repository."""
        opened = self._open()
        return None if opened is None else opened[1].at_tip(partial(question, opened[1]))


def _commit(repository: Repository, head: Head, root: str | None, changes: Changes, message: str) -> str | None:
    """Make a commit, move the branch to it and update a work tree; None if git was faster."""
    tree = repository.changed_tree(root, changes)
    commit = repository.add_commit(tree, head.tip, message)
    advance = partial(repository.advance, head, commit, message.partition("\n")[0])
    if repository.work_tree is None:
        return commit if advance() else None
    with translated(repository.path, "cannot be written"):
        return commit if WorkTree(repository).follow(root, tree, changes, advance) else None
