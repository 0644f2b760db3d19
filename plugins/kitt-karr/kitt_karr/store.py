"""The store: a git repository behind the storage contract.

Git's tree at the tip of the branch is what is stored; `kitt_karr.index` answers questions about it, and is brought
up to the tip before each answer. Every change is one commit that is moved to from the tip that was looked at, so
that what was found out about the tip holds when the branch moves.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from kitt_core.errors import RunExistsError, SchemaError, StoreUnavailableError
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
from kitt_karr.commits import PreparedRun, prepare, removal, run_changes
from kitt_karr.creation import FIRST_MESSAGE, create_repository, first_changes, is_free
from kitt_karr.errors import translated
from kitt_karr.index import RunIndex, is_damaged
from kitt_karr.indexing import discard_index, open_index
from kitt_karr.layout import FINGERPRINT, message_of
from kitt_karr.outputs import attachments_at_hand, large_files_of
from kitt_karr.repository import Repository
from kitt_karr.trees import Entry
from kitt_karr.trees import Path as TreePath
from kitt_karr.worktree import WorkTree

__all__ = ["KarrResultStore"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

_LONGEST_PAUSE_SECONDS: Final = 0.1
_FOREIGN: Final = f"is a git repository, but not KARR's: it has neither {FINGERPRINT} nor runs"


class KarrResultStore(ResultStore):
    """Keeps runs as directories in the commits of a git repository; reads those of older KITTs too.

    Args:
        path: The repository, bare or with a work tree. It need not exist: the first save makes it, bare.
        lfs_threshold: Attachments of more bytes than this are LFS pointers.
        fingerprint: The machine's, for ``hardware_fingerprint.txt`` of a new repository.

    Raises:
        StoreUnavailableError: The path is relative to a directory that was removed.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.DELETE,
            Capability.ATOMIC_BATCH,
            Capability.CONCURRENT,
            Capability.ATTACHMENTS,
            Capability.HISTORY,
        }
    )

    def __init__(
        self, path: str | os.PathLike[str], *, lfs_threshold: int = 1 << 20, fingerprint: str = ""
    ) -> None:
        try:
            self._path = Path(path).absolute()
        except FileNotFoundError as error:
            raise StoreUnavailableError(
                f"{path} is relative, and the current directory is not there any longer",
                hint="change to another one, or give the whole path",
            ) from error
        self._threshold = lfs_threshold
        self._fingerprint = fingerprint
        self._repository: Repository | None = None
        self._index: RunIndex | None = None
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

    # Saving.

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        """Store checked runs as one commit."""
        self._save(checked, by_content=False)

    def write_unless_stored(self, checked: Sequence[CheckedRun]) -> dict[str, str]:
        """Store those runs whose bytes are not there as one commit, which follows the one that was looked at."""
        return self._save(checked, by_content=True)

    def _save(self, checked: Sequence[CheckedRun], *, by_content: bool) -> dict[str, str]:
        repository = self._for_writing()
        # Looked at twice: now, so that nothing is written for a run that is there, and again under the lock.
        self._ask(RunIndex.follow)
        _, wanted = self._missing(checked, by_content=by_content)
        prepared = prepare(repository, large_files_of(repository), wanted, self._threshold)
        saved: list[PreparedRun] = []
        present: dict[str, str] = {}

        def plan(index: RunIndex, tree: str | None) -> tuple[dict[TreePath, Entry | None], str]:
            nonlocal saved, present
            del index
            present, wanted = self._missing(checked, by_content=by_content)
            saved = run_changes(repository, tree, [prepared[run.id] for run in wanted if run.id in prepared])
            message = message_of("Add", [run.tree.path for run in saved])
            return {run.tree.place: run.entry for run in saved}, message

        moved = self._commit(repository, plan)
        if moved is not None:
            runs = [(run.tree, run.run) for run in saved]
            self._note(lambda index: index.note_saved(*moved, runs))
        return present

    def _missing(
        self, checked: Sequence[CheckedRun], *, by_content: bool
    ) -> tuple[dict[str, str], list[CheckedRun]]:
        """Return the ids of runs with the same bytes, by digest, and the runs to be stored."""
        present = self._ask(lambda index: index.ids_by_digest(run.sha256 for run in checked)) if by_content else {}
        wanted = [run for run in checked if run.sha256 not in present]
        taken = self._ask(lambda index: index.find_any(run.id for run in wanted))
        if taken is not None:
            raise RunExistsError(f"run {taken} is in {self.location} already")
        return present, wanted

    def delete_result(self, run_id: str) -> bool:
        """Remove the run with a commit; the commits before it still have it."""
        repository = self._open_repository()
        if repository is None or not self._followed(lambda index: index.find(run_id)):
            return False

        def plan(index: RunIndex, tree: str | None) -> tuple[dict[TreePath, Entry | None], str]:
            del tree
            runs = [found.run for found in index.find(run_id)]
            return removal(index, runs), message_of("Delete", [run.path for run in runs])

        moved = self._commit(repository, plan)
        if moved is not None:
            self._note(lambda index: index.note_deleted(*moved, run_id))
        return moved is not None

    def _commit(
        self,
        repository: Repository,
        plan: Callable[[RunIndex, str | None], tuple[dict[TreePath, Entry | None], str]],
    ) -> tuple[str | None, str] | None:
        """Make one commit of what ``plan`` finds to be changed at the tip; again where others were faster.

        Returns:
            The commit before and the new one; None if there was nothing to change.
        """
        pause = 0.001
        with repository.exclusive():
            while True:
                head = repository.head()
                repository.refuse_detached(head)
                if self._ask(RunIndex.follow) == head.tip:
                    tree = None if head.tip is None else repository.commit(head.tip).tree
                    self._refuse_foreign(repository, tree)
                    changes, message = self._ask(lambda index: plan(index, tree))  # noqa: B023 - called at once
                    if not changes:
                        return None
                    parents = () if head.tip is None else (head.tip,)
                    changed = repository.changed_tree(tree, changes)
                    commit = repository.add_commit(changed, parents, message)
                    advance = partial(repository.advance, head, commit, message.partition("\n")[0])
                    if self._followed_by_files(repository, tree, changed, changes, advance):
                        return head.tip, commit
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _followed_by_files(
        self,
        repository: Repository,
        old: str | None,
        new: str,
        changes: Mapping[TreePath, Entry | None],
        advance: Callable[[], bool],
    ) -> bool:
        if repository.work_tree is None:
            return advance()
        with translated(self._path, "cannot be written"):
            return WorkTree(repository, large_files_of(repository)).follow(old, new, changes, advance)

    def _refuse_foreign(self, repository: Repository, tree: str | None) -> None:
        """Somebody's source code is no place for results, even where its path was given."""
        if self._is_foreign(repository, tree):
            raise self._foreign()

    def _foreign(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"{self.location} {_FOREIGN}", hint=f"name another directory, or add an empty {FINGERPRINT} to it"
        )

    def refuse_foreign(self) -> None:
        """Raise the error that a save would, if the repository is somebody else's.

        Raises:
            StoreUnavailableError: It is, or it can't be read.
        """
        if self.schema_status().state is SchemaState.FOREIGN:
            raise self._foreign()

    def _is_foreign(self, repository: Repository, tree: str | None) -> bool:
        if tree is None or repository.listing(tree).find(FINGERPRINT.encode()) is not None:
            return False
        return not self._ask(lambda index: index.count())

    def _note(self, taken_over: Callable[[RunIndex], None]) -> None:
        try:
            self._ask(taken_over)
        except (
            SchemaError,
            StoreUnavailableError,
        ) as error:  # the commit is there: the next reader brings the index up to it
            logger.debug("the index of %s is behind: %s", self.location, error)

    # Reading.

    def get_document(self, run_id: str) -> bytes | None:
        """Return the bytes that were saved, None if there is no such run."""
        return self._followed(lambda index: index.get_document(run_id))

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        """Yield the runs that match, of those that were there when the scan began."""
        wanted = RunFilter.of(filters)
        return self._followed(lambda index: index.scan(wanted)) or iter(())

    def attachments(self, run_id: str) -> Iterator[Attachment]:
        """Yield the run's outputs; those whose LFS content is not on this machine are left out with a warning."""
        found = self._followed(lambda index: index.find(run_id))
        repository = self._repository
        if not found or repository is None:
            return iter(())
        return attachments_at_hand(repository, large_files_of(repository), found[0].run.tree, f"run {run_id}")

    def list_results(
        self,
        filters: Filters = None,
        *,
        order_by: str = "-timestamp",
        limit: int | None = None,
        offset: int = 0,
        after: str | None = None,
    ) -> Page[RunSummary]:
        """Return one page of summaries, read from the index."""
        page = self._followed(
            lambda index: index.list_results(filters, order_by=order_by, limit=limit, offset=offset, after=after)
        )
        if page is None:
            return super().list_results(filters, order_by=order_by, limit=limit, offset=offset, after=after)
        return page

    def count(self, filters: Filters = None) -> int:
        """Return how many runs match."""
        RunFilter.of(filters)
        return self._followed(lambda index: index.count(filters)) or 0

    def aggregate(
        self,
        group_by: str | Sequence[str],
        metrics: str | Sequence[str] | None = None,
        *,
        statistics: str | Sequence[str] = ("avg",),
        filters: Filters = None,
    ) -> list[dict[str, Any]]:
        """Return a row per group, computed from the index."""
        rows = self._followed(
            lambda index: index.aggregate(group_by, metrics, statistics=statistics, filters=filters)
        )
        if rows is None:
            return super().aggregate(group_by, metrics, statistics=statistics, filters=filters)
        return rows

    # Looking after.

    def verify(self, *, rebuild: bool = False) -> Iterator[Finding]:
        """Yield what is wrong: git's objects, documents, LFS contents, the index; ``rebuild`` makes that anew."""
        from kitt_karr.verifying import verify_repository

        repository = self._open_repository()
        if repository is None:
            return iter(())
        return verify_repository(repository, large_files_of(repository), self._ask, rebuild=rebuild)

    def initialize(self) -> None:
        """Make the repository with its first commit, and the index."""
        self._for_writing()
        self._ask(RunIndex.follow)

    def schema_status(self) -> SchemaStatus:
        """Return the version of the layout, and how many bytes the git directory has."""
        repository = self._open_repository()
        if repository is None:
            return SchemaStatus(
                version=None, newest=1, state=SchemaState.MISSING, notes=("it does not exist yet",)
            )
        head = repository.head()
        if head.tip is not None:
            self._ask(RunIndex.follow)
            if self._is_foreign(repository, repository.commit(head.tip).tree):
                return SchemaStatus(version=None, newest=1, state=SchemaState.FOREIGN, notes=(_FOREIGN,))
        return SchemaStatus(version=1, newest=1, size_bytes=sum(_sizes(repository.directory)))

    def prepares_itself(self, status: SchemaStatus) -> bool:
        """Return whether the first save makes the repository: wherever none is yet."""
        return status.state is SchemaState.MISSING

    def close(self) -> None:
        """Close the repository and the index."""
        with self._opening:
            self._closed = True
            if self._index is not None:
                discard_index(self._index, damaged=False)
                self._index = None
            if self._repository is not None:
                self._repository.close()
                self._repository = None

    # What is open.

    def _open_repository(self) -> Repository | None:
        """Return the repository, None if nothing is there yet."""
        with self._opening:
            if self._closed:
                raise StoreUnavailableError(f"{self.location} is closed", hint="open it again")
            if self._repository is None:
                if is_free(self._path):
                    return None
                self._repository = Repository(self._path)
            return self._repository

    def _for_writing(self) -> Repository:
        repository = self._open_repository()
        if repository is None:
            create_repository(self._path, self._fingerprint)
            repository = self._open_repository()
        if repository is None:
            raise StoreUnavailableError(f"{self.location} vanished as it was made", hint="try again")
        if repository.head().tip is None:
            self._commit(repository, partial(self._first, repository))
        return repository

    def _first(
        self, repository: Repository, index: RunIndex, tree: str | None
    ) -> tuple[dict[TreePath, Entry | None], str]:
        """Plan the first commit of a repository that somebody else made."""
        del index
        return ({} if tree is not None else first_changes(repository, self._fingerprint)), FIRST_MESSAGE

    def _followed(self, question: Callable[[RunIndex], T]) -> T | None:
        """Ask the index at the branch's tip; None if there is no repository."""

        def asked(index: RunIndex) -> T:
            index.follow()
            return question(index)

        return None if self._open_repository() is None else self._ask(asked)

    def _ask(self, question: Callable[[RunIndex], T]) -> T:
        """Ask the index as it stands; a damaged one is made anew, once."""
        index = self._open_index()
        try:
            return question(index)
        except (SchemaError, StoreUnavailableError) as error:
            if not is_damaged(error):
                raise
        with self._opening:
            if self._index is index:
                logger.warning("the index of %s is damaged and is made anew", self.location)
                discard_index(index, damaged=True)
                self._index = None
        index = self._open_index()
        index.follow()
        return question(index)

    def _open_index(self) -> RunIndex:
        with self._opening:
            repository = self._open_repository()
            if repository is None:
                raise StoreUnavailableError(f"{self.location} is not there any longer", hint="was it moved away?")
            if self._index is None:
                with translated(self._path):
                    self._index = open_index(repository)
            return self._index


def _sizes(directory: Path) -> Iterator[int]:
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                yield Path(folder, name).lstat().st_size
            except OSError:  # removed since
                continue
