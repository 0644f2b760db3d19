"""The index: the rows of the branch's runs in a SQLite file inside the git directory.

It is derived, and may be deleted at any time. It knows the commit that it was built from; before each answer this
is compared with the tip of the branch, and what has changed since is read from git. It holds no documents: these
are read from git by their object ids, so there is only one copy of their bytes.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import define, frozen
from sqlalchemy import Connection

from kitt_core.errors import InvalidDocumentError, SchemaError, StoreUnavailableError
from kitt_core.rundir import DOCUMENT, Identity
from kitt_core.runs import CheckedRun, RunRows, codec, derive_rows, format_utc, parse_timestamp, sought_id
from kitt_karr.git.repository import Head, Repository
from kitt_karr.git.trees import Place
from kitt_karr.runs import RunTree, changed_runs, dated_runs, identify, times_of_arrival
from kitt_sql.schema.tables import SCHEMA_VERSION
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore
from kitt_sql.sqlite.rolling import Rolling
from kitt_sql.sqlite.writing import delete_run, insert_runs, records_of

logger = logging.getLogger(__name__)
T = TypeVar("T")

_LAYOUT: Final = 4
INDEX_NAME: Final = f"index-{SCHEMA_VERSION}.{_LAYOUT}.db"
"""A KITT with another schema uses another file, so neither upgrades the other's."""

_BATCH: Final = 100
_TIMEOUT_SECONDS: Final = 300.0  # a whole rebuild by another process
_MAX_RECREATIONS: Final = 3
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS karr_state (id INTEGER PRIMARY KEY CHECK (id = 1), tip TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS karr_runs (
        place BLOB PRIMARY KEY, run_id TEXT NOT NULL, tree TEXT NOT NULL, document TEXT, identity TEXT,
        sha256 TEXT NOT NULL, created_at TEXT NOT NULL, problem TEXT, unread INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS karr_runs_run_id ON karr_runs (run_id)",
    "CREATE INDEX IF NOT EXISTS karr_runs_sha256 ON karr_runs (sha256)",
    "CREATE INDEX IF NOT EXISTS karr_runs_problem ON karr_runs (place) WHERE problem IS NOT NULL",
)
# The tables below ``runs`` are emptied by name: rows of runs that were deleted by hand would stay otherwise.
_DERIVED: Final = (
    *("karr_state", "karr_runs", "metric_rollup", "rolled_runs", "metric_names", "metrics", "benchmarks"),
    *("hardware", "run_documents", "run_labels", "runs"),
)
_LEFT_OUT: Final = "problem IS NOT NULL"
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})


@frozen
class IndexedRun:
    """What the index knows of a directory that is a run.

    Attributes:
        problem: Why it is not listed: its document or ``run.json`` can't be read or used. None if it is listed.
        unread: Whether one of them could not even be read; ``identity`` then has no id, or the one of
            ``run.json``. That may have been temporary, so it is tried again before every answer.
    """

    run: RunTree
    identity: Identity
    problem: str | None = None
    unread: bool = False


@define
class IndexChange:
    """The index inside one transaction: at ``head`` first, then at the ``commit`` that was recorded."""

    head: Head
    _driver: sqlite3.Connection
    commit: str | None = None

    def find(self, run_id: str) -> list[IndexedRun]:
        """Return the directories that have this run's id."""
        return _select(self._driver, "run_id = ?", sought_id(run_id))

    def ids_by_digest(self, runs: Iterable[CheckedRun]) -> dict[str, str]:
        """Return the ids of the runs in the index that have the same bytes as ``runs``, by digest."""
        found = ((run.sha256, _select(self._driver, "sha256 = ?", run.sha256, limit=1)) for run in runs)
        return {digest: same[0].identity.id for digest, same in found if same}

    def holds_runs(self) -> bool:
        """Whether there is any run."""
        return bool(_select(self._driver, "problem IS NULL", limit=1))

    def holds_below(self, place: Place) -> bool:
        """Whether other runs are in the directory of a run."""
        start = b"/".join(place) + b"/"
        return bool(_select(self._driver, "place >= ? AND place < ?", start, start[:-1] + b"0", limit=1))

    def add(self, runs: Sequence[tuple[RunTree, CheckedRun]], commit: str) -> None:
        """Record a commit that added runs."""
        self.commit = commit
        for tree, run in runs:
            identity = Identity(run.id, run.created_at, run.sha256)
            _add_place(self._driver, IndexedRun(tree, identity))
        _add_rows(self._driver, [(r.id, r.created_at, r.sha256, r.rows) for _, r in runs])
        _set_tip(self._driver, commit)

    def remove(self, run_id: str, commit: str) -> None:
        """Record a commit that removed a run."""
        self.commit = commit
        self._driver.execute("DELETE FROM karr_runs WHERE run_id = ?", (run_id,))
        delete_run(self._driver, run_id)
        _set_tip(self._driver, commit)


class RunIndex(SQLiteStore):
    """The rows of the runs at the tip of a repository's branch.

    As a store it answers from what it holds; `at_tip` updates it first. For a read-only repository it is kept in
    a temporary directory and rebuilt each time.

    Attributes:
        unread: What the latest answer lacks because it could not be read: each place, and why.
    """

    unread: tuple[str, ...] = ()

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        with suppress(OSError):
            repository.own.mkdir(exist_ok=True)
        writable = os.access(repository.own, os.W_OK)
        self._directory = repository.own if writable else Path(tempfile.mkdtemp(prefix="kitt-karr-"))
        # A power cut may lose the last changes but tears none: the index is then at an older commit.
        path = self._directory / INDEX_NAME
        self._file = SQLiteFile(path, synchronous="NORMAL", busy_timeout=_TIMEOUT_SECONDS)
        self._preparing = threading.Lock()
        self._recreations = 0
        self._has_tables = False
        super().__init__(SQLiteDatabase(self._file))

    def close(self) -> None:
        """Close the file; one in a temporary directory is removed."""
        super().close()
        if self._directory != self._repository.own:
            shutil.rmtree(self._directory, ignore_errors=True)

    def at_tip(self, question: Callable[[], T]) -> T:
        """Answer a question with the index at the branch's tip; a damaged file is rebuilt first."""
        database = self.database
        try:
            self._follow()
            return question()
        except (SchemaError, StoreUnavailableError) as error:
            self._recreate(database, error)
        self._follow()
        return question()

    @contextmanager
    def changing(self) -> Iterator[IndexChange]:
        """Yield the index at the branch's tip for one save or deletion; the caller holds the repository's lock.

        A failure after a commit was recorded is none of the save. A file that is damaged before that is rebuilt
        without an error, and ``commit`` stays None.
        """
        self.at_tip(self.count)
        database = self.database
        change: IndexChange | None = None
        try:
            with database.raw_writing() as driver:
                head = self._repository.head(for_writing=True)
                self._update(driver, head.tip)
                change = IndexChange(head, driver)
                yield change
        except (SchemaError, StoreUnavailableError) as error:
            if change is None:
                raise
            if change.commit is None:
                self._recreate(database, error)
            else:
                logger.debug("the index of %s is behind: %s", self._repository.path, error)

    def rebuild(self) -> None:
        """Empty the index and read the whole tree again."""
        with self.database.raw_writing() as driver:
            self._update(driver, self._repository.head().tip, from_scratch=True)

    def _follow(self) -> None:
        tip = self._repository.head().tip
        if not self._has_tables:
            with self._preparing, self.database.raw_writing() as driver:
                for statement in _TABLES:
                    driver.execute(statement)
            self._has_tables = True
        with self.database.raw_connection() as driver:
            known, left = _tip(driver), _select(driver, _LEFT_OUT)
        if known != tip or any(
            each.unread and not self._read(each.run, each.identity.created_at)[0].unread for each in left
        ):
            with self.database.raw_writing() as driver:
                # The tip is read under the write lock, so that nobody moves the index back to an older one.
                self._update(driver, self._repository.head().tip)
                left = _select(driver, _LEFT_OUT)
        before, self.unread = self.unread, tuple(f"{each.run.path}: {each.problem}" for each in left)
        if self.unread and self.unread != before:
            text = "%s: %d places cannot be read and are left out, for example %s"
            logger.warning(text, self._repository.path, len(left), self.unread[0])

    def _recreate(self, database: SQLiteDatabase, error: Exception) -> None:
        """Start with an empty file if that cures the error; raise it otherwise."""
        if not _is_damaged(error) or self._recreations >= _MAX_RECREATIONS:
            raise error
        with self._preparing:
            if self.database is database:  # no other thread was faster
                logger.warning("the index of %s is damaged and is being rebuilt", self._repository.path)
                self._recreations += 1
                database.close()
                for path in database.paths:
                    path.unlink(missing_ok=True)
                self.database, self._has_tables = SQLiteDatabase(self._file), False

    def find(self, run_id: str) -> list[IndexedRun]:
        """Return the directories that have this run's id; the first one counts, the others are copies."""
        with self.database.raw_connection() as driver:
            return _select(driver, "run_id = ?", sought_id(run_id))

    def contents(self) -> tuple[str | None, list[IndexedRun]]:
        """Return the commit that the index is at, and its runs."""
        with self.database.raw_connection() as driver:
            return _tip(driver), _select(driver, "1")

    def fresh(self, tip: str) -> Iterator[IndexedRun]:
        """Yield the runs of a commit as git has them now, whatever the index says."""
        for run, arrived in dated_runs(self._repository, self._repository.commit(tip)):
            yield self._read(run, arrived)[0]

    def get_document(self, run_id: str) -> bytes | None:
        """Return the verbatim bytes, which only git has."""
        found = self.find(run_id)
        return found[0].run.read_document(self._repository) if found else None

    def document_of(self, _: Connection, run_id: str) -> bytes | None:
        """Return the bytes for a scan, which leaves out what can't be read."""
        try:
            return self.get_document(run_id)
        except StoreUnavailableError as error:
            self.unread += (f"run {run_id}: {error.message}",)
            return None

    def _update(self, driver: sqlite3.Connection, tip: str | None, *, from_scratch: bool = False) -> None:
        """Update the rows to a commit, and try again to read what could not be read before."""
        known = None if from_scratch else _tip(driver)
        changes: dict[Place, RunTree | None] = {found.run.place: found.run for found in _select(driver, "unread")}
        if known == tip and not changes:
            return
        old = None
        if known is not None and tip is not None and self._repository.has(known):
            old = self._repository.commit(known).tree
        else:
            changes = {}
            for table in _DERIVED:
                driver.execute(f"DELETE FROM {table}")  # noqa: S608  # our own names
        if tip is None:
            return
        commit = self._repository.commit(tip)
        changes |= dict(changed_runs(self._repository, old, commit.tree))
        undated = [place for place, run in changes.items() if run is not None and run.identity is None]
        arrived = times_of_arrival(self._repository, commit, undated)
        items = list(changes.items())
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            read = [self._read(run, arrived.get(place, commit.time)) for place, run in batch if run is not None]
            self._apply(driver, [b"/".join(place) for place, _ in batch], read)
        _set_tip(driver, tip)

    def _read(self, run: RunTree, arrived: datetime) -> tuple[IndexedRun, RunRows | None]:
        identity, rows, problem, unread = Identity("", arrived, ""), None, None, True
        try:
            if run.document is not None:  # a lost run gives up its id: it can be stored again
                identity = identify(self._repository, run, arrived)
            document = run.read_document(self._repository)
            unread = False
            rows = derive_rows(codec.parse(document), strict=False)
        except StoreUnavailableError as error:
            problem = error.message
        except InvalidDocumentError as error:
            problem = f"{DOCUMENT} cannot be parsed: {error.message}"
        return IndexedRun(run, identity, problem, unread), rows

    def _apply(
        self, driver: sqlite3.Connection, places: Iterable[bytes], read: list[tuple[IndexedRun, RunRows | None]]
    ) -> None:
        """Replace what the index has of some places, and the rows of all runs that are or were there."""
        affected = {indexed.identity.id for indexed, _ in read}
        for place in places:
            affected |= {found.identity.id for found in _select(driver, "place = ?", place)}
            driver.execute("DELETE FROM karr_runs WHERE place = ?", (place,))
        for indexed, _ in read:
            _add_place(driver, indexed)
        derived = {indexed.run.place: rows for indexed, rows in read}
        new = []
        for run_id in affected:  # the first directory with this id counts
            delete_run(driver, run_id)
            for first in _select(driver, "run_id = ?", run_id, limit=1):
                rows = derived.get(first.run.place)
                if rows is None and first.problem is None:
                    rows = derive_rows(codec.parse(first.run.read_document(self._repository)), strict=False)
                if rows is not None:
                    new.append((run_id, first.identity.created_at, first.identity.sha256, rows))
        _add_rows(driver, new)


def _is_damaged(error: BaseException | None) -> bool:
    """Whether an error means that the file is damaged, so that rebuilding it helps."""
    while error is not None:
        if isinstance(error, SchemaError) or getattr(error, "sqlite_errorcode", -1) & 0xFF in _DAMAGE:
            return True
        error = error.__cause__ or error.__context__ or getattr(error, "orig", None)
    return False


def _tip(driver: sqlite3.Connection) -> str | None:
    row = driver.execute("SELECT tip FROM karr_state").fetchone()
    return None if row is None else str(row[0])


def _set_tip(driver: sqlite3.Connection, tip: str) -> None:
    driver.execute("INSERT OR REPLACE INTO karr_state (id, tip) VALUES (1, ?)", (tip,))


def _select(driver: sqlite3.Connection, where: str, *values: Any, limit: int = -1) -> list[IndexedRun]:
    found = []
    statement = f"SELECT * FROM karr_runs WHERE {where} ORDER BY unread, place LIMIT {limit}"  # noqa: S608  # our own text
    for place, run_id, tree, document, noted, sha256, created, problem, unread in driver.execute(
        statement, values
    ):
        run = RunTree(tuple(place.split(b"/")) if place else (), tree, document, noted)
        identity = Identity(run_id, parse_timestamp(created), sha256)
        found.append(IndexedRun(run, identity, problem, bool(unread)))
    return found


def _add_place(driver: sqlite3.Connection, indexed: IndexedRun) -> None:
    run, known = indexed.run, indexed.identity
    where = (b"/".join(run.place), known.id, run.tree, run.document, run.identity)
    facts = (known.sha256, format_utc(known.created_at), indexed.problem, indexed.unread)
    driver.execute("INSERT INTO karr_runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", where + facts)


def _add_rows(driver: sqlite3.Connection, runs: Iterable[tuple[Any, ...]]) -> None:
    # Without the document: git has it.
    records = [records_of(CheckedRun(run_id, b"", moment, digest, rows)) for run_id, moment, digest, rows in runs]
    insert_runs(driver, records, Rolling(), "the index")
