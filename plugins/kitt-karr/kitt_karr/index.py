"""The index: the rows of the branch's runs in a SQLite file inside the git directory.

It is derived, and may be deleted at any time. It knows the commit that it was made from; before each answer that
is compared with the branch, and what changed in between is read from git. Documents are not in it: they are read
from git by the id that is noted, so that git's bytes are the only ones there are.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import define, frozen
from sqlalchemy import Connection

from kitt_core import codec
from kitt_core.errors import InvalidDocumentError, SchemaError, StoreUnavailableError
from kitt_core.model import CheckedRun, RunRows
from kitt_core.rows import clean_text, derive_rows
from kitt_core.rundir.identity import Identity
from kitt_core.timestamps import format_utc, parse_timestamp
from kitt_karr.git.branch import Head
from kitt_karr.git.repository import Repository
from kitt_karr.git.trees import Place
from kitt_karr.runs import RunTree, changed_runs, identify, times_of_arrival
from kitt_sql.schema.tables import SCHEMA_VERSION
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore
from kitt_sql.sqlite.writing import insert_runs, records_of

__all__ = ["INDEX_NAME", "IndexChange", "IndexedRun", "RunIndex"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

_LAYOUT: Final = 2
INDEX_NAME: Final = f"index-{SCHEMA_VERSION}.{_LAYOUT}.db"
"""Another KITT with another schema has a file of its own, and neither upgrades the other's."""

_BATCH: Final = 100
_PATIENCE_SECONDS: Final = 300.0  # a whole rebuild by another process
_MOST_RENEWALS: Final = 3
_COLUMNS: Final = "place, run_id, tree, document, identity, sha256, created_at, problem, readable, unread"
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS karr_state (id INTEGER PRIMARY KEY CHECK (id = 1), tip TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS karr_runs (
        place BLOB PRIMARY KEY, run_id TEXT NOT NULL, tree TEXT NOT NULL, document TEXT NOT NULL, identity TEXT,
        sha256 TEXT NOT NULL, created_at TEXT NOT NULL, problem TEXT,
        readable INTEGER NOT NULL, unread INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS karr_runs_run_id ON karr_runs (run_id)",
    "CREATE INDEX IF NOT EXISTS karr_runs_sha256 ON karr_runs (sha256)",
    "CREATE INDEX IF NOT EXISTS karr_runs_unread ON karr_runs (unread) WHERE unread",
)
# Those below ``runs`` by name, too: rows of runs that somebody took out by hand would stay.
_DERIVED: Final = (
    *("karr_state", "karr_runs", "metrics", "benchmarks", "hardware"),
    *("run_documents", "run_labels", "runs"),
)
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
_PRIVATE: Final = "kitt-karr-"


@frozen
class IndexedRun:
    """What the index knows of a directory that is a run.

    Attributes:
        run: The directory.
        identity: Who it says it is.
        readable: Whether its document can be parsed; those that can't are not listed.
        unread: Whether its document or ``run.json`` could not be read. That is tried again with every question,
            because a failed read says nothing of what is there.
    """

    run: RunTree
    identity: Identity
    readable: bool
    unread: bool = False


@define
class IndexChange:
    """The index inside one transaction, at the commit that ``head`` names.

    Attributes:
        head: Where the branch stood as it began.
        commit: The commit that was taken over, None before.
    """

    head: Head
    _driver: sqlite3.Connection
    _location: str
    commit: str | None = None

    def find(self, run_id: str) -> list[IndexedRun]:
        """Return the directories that say they are this run."""
        return _select(self._driver, "run_id = ?", (clean_text(run_id),))

    def ids_by_digest(self, runs: Iterable[CheckedRun]) -> dict[str, str]:
        """Return the ids of runs that have the same bytes as some others, by digest."""
        found = ((run.sha256, _select(self._driver, "sha256 = ?", (run.sha256,))) for run in runs)
        return {digest: same[0].identity.id for digest, same in found if same}

    def holds_runs(self) -> bool:
        """Whether there is any run."""
        return bool(_select(self._driver, "readable", (), 1))

    def holds_below(self, place: Place) -> bool:
        """Whether other runs are in the directory of a run."""
        start = _joined(place) + b"/"
        return bool(_select(self._driver, "place >= ? AND place < ?", (start, start[:-1] + b"0"), 1))

    def add(self, commit: str, runs: Sequence[tuple[RunTree, CheckedRun]]) -> None:
        """Take over a commit that added runs."""
        self.commit = commit
        _add_places(
            self._driver, [IndexedRun(tree, Identity(r.id, r.created_at, r.sha256), True) for tree, r in runs]
        )
        _add_rows(self._driver, [(r.id, r.created_at, r.sha256, r.rows) for _, r in runs], self._location)
        _set_tip(self._driver, commit)

    def remove(self, commit: str, run_id: str) -> None:
        """Take over a commit that removed a run."""
        self.commit = commit
        self._driver.execute("DELETE FROM karr_runs WHERE run_id = ?", (run_id,))
        self._driver.execute("DELETE FROM runs WHERE id = ?", (run_id,))
        _set_tip(self._driver, commit)


class RunIndex(SQLiteStore):
    """The rows of the runs at the tip of a repository's branch.

    What it answers as a store is what it holds; `at_tip` brings it up first.

    Args:
        repository: What it is made from. Where that may only be read, the index is in a temporary directory.

    Raises:
        OSError: It can't be made.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._path = _directory_for(repository) / INDEX_NAME
        self._changing = threading.RLock()
        self._renewals = 0
        self._has_tables = False
        super().__init__(self._new_database())

    def _new_database(self) -> SQLiteDatabase:
        # A power cut may take back the last changes, never tear one: then the commit that it knows is older.
        return SQLiteDatabase(SQLiteFile(self._path, synchronous="NORMAL", busy_timeout=_PATIENCE_SECONDS))

    # Following the branch.

    def at_tip(self, question: Callable[[], T]) -> T:
        """Answer a question when the index is at the branch's tip; a damaged file is made anew first."""
        database = self.database
        try:
            self._follow()
            return question()
        except (SchemaError, StoreUnavailableError) as error:
            self._renew(database, error)
        self._follow()
        return question()

    @contextmanager
    def changing(self) -> Iterator[IndexChange]:
        """Lend the index at the branch's tip for one save or deletion; the caller holds the repository's lock.

        What fails after a commit was taken over is no concern of the save's: the commit is there, and the next
        question brings the index up to it. After a damage `IndexChange.commit` is None, and it is tried again.
        """
        self.at_tip(self._has_rows)
        database = self.database
        change: IndexChange | None = None
        try:
            with database.raw_writing() as driver:
                head = self._repository.head()
                self._move(driver, head.tip)
                change = IndexChange(head, driver, self.location)
                yield change
        except (SchemaError, StoreUnavailableError) as error:
            if change is None:
                raise
            if change.commit is None:
                self._renew(database, error)
            else:
                logger.debug("the index of %s is behind: %s", self._repository.path, error)

    def rebuild(self) -> None:
        """Forget everything and read the whole tree anew."""
        with self.database.raw_writing() as driver:
            _forget(driver)
            self._move(driver, self._repository.head().tip)

    def _has_rows(self) -> bool:
        with self.database.raw_connection() as driver:
            return driver.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is not None

    def _follow(self) -> None:
        tip = self._repository.head().tip
        if not self._has_tables:
            with self._changing, self.database.raw_writing() as driver:
                for statement in _TABLES:
                    driver.execute(statement)
            self._has_tables = True
        with self.database.raw_connection() as driver:
            known = _tip(driver)
            unread = _select(driver, "unread", ())
        if known != tip or any(not self._is_unread(indexed.run) for indexed in unread):
            with self.database.raw_writing() as driver:
                # Only under the write lock, so that nobody moves the index back to an older tip.
                self._move(driver, self._repository.head().tip)

    def _renew(self, database: SQLiteDatabase, error: Exception) -> None:
        """Begin with an empty file if an error says that this is no sound database; raise it otherwise."""
        if not _is_damaged(error) or self._renewals >= _MOST_RENEWALS:
            raise error
        with self._changing:
            if self.database is database:  # no other thread was faster
                logger.warning("the index of %s is damaged and is made anew", self._repository.path)
                self._renewals += 1
                self.close()
                for path in self.paths:
                    path.unlink(missing_ok=True)
                self.database, self._has_tables = self._new_database(), False

    def close(self) -> None:
        """Close the file; one in a temporary directory is removed."""
        super().close()
        if self._path.parent.name.startswith(_PRIVATE):
            shutil.rmtree(self._path.parent, ignore_errors=True)

    # What a store asks besides rows.

    def find(self, run_id: str) -> list[IndexedRun]:
        """Return the directories that say they are this run; the first one counts, the others are copies."""
        with self.database.raw_connection() as driver:
            return _select(driver, "run_id = ?", (clean_text(run_id),))

    def all_places(self) -> list[IndexedRun]:
        """Return all directories that are runs, copies and unreadable ones too, in the order of their paths."""
        with self.database.raw_connection() as driver:
            return _select(driver, "1", ())

    def tip(self) -> str | None:
        """Return the commit that the index was made from, None if it is empty."""
        with self.database.raw_connection() as driver:
            return _tip(driver)

    def document_of(self, _: Connection, run_id: str) -> bytes | None:
        """Return the verbatim bytes from git: the index has no documents."""
        found = self.find(run_id)
        return self._repository.blob(found[0].run.document) if found else None

    # Reading what changed.

    def _move(self, driver: sqlite3.Connection, tip: str | None) -> None:
        """Change the rows from those of one commit to those of another, and read again what could not be read."""
        known = _tip(driver)
        unread = [(indexed.run.place, indexed.run) for indexed in _select(driver, "unread", ())]
        if known == tip and not unread:
            return
        old = None
        if known is not None and tip is not None and self._repository.has(known):
            old = self._repository.commit(known).tree
        if old is None:
            _forget(driver)
        if tip is None:
            return
        commit = self._repository.commit(tip)
        changes: dict[Place, RunTree | None] = dict(unread if old is not None else ())
        changes |= dict(changed_runs(self._repository, old, commit.tree))
        runs = [run for run in changes.values() if run is not None]
        arrived = times_of_arrival(self._repository, commit, [run.place for run in runs if run.identity is None])
        items = list(changes.items())
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            read = [self._read(run, arrived.get(place, commit.time)) for place, run in batch if run is not None]
            self._apply(driver, [place for place, _ in batch], read)
        _set_tip(driver, tip)

    def _read(self, run: RunTree, arrived: datetime) -> tuple[IndexedRun, RunRows | None]:
        document, rows = b"", None
        try:
            document = self._repository.blob(run.document)
            rows = derive_rows(codec.parse(document), strict=False)
        except (InvalidDocumentError, StoreUnavailableError):  # not listed; `verify` says what is wrong with it
            pass
        identity = identify(self._repository, run, document, arrived)
        unread = (rows is None or identity.problem is not None) and self._is_unread(run)
        return IndexedRun(run, identity, rows is not None, unread), rows

    def _is_unread(self, run: RunTree) -> bool:
        try:
            self._repository.blob(run.document)
            if run.identity is not None:
                self._repository.blob(run.identity)
        except StoreUnavailableError:
            return True
        return False

    def _apply(
        self,
        driver: sqlite3.Connection,
        places: Iterable[Place],
        read: Sequence[tuple[IndexedRun, RunRows | None]],
    ) -> None:
        """Replace what is known of some places, and the rows of all runs that are or were there."""
        affected = {indexed.identity.id for indexed, _ in read}
        for place in places:
            where = (_joined(place),)
            affected |= {row[0] for row in driver.execute("SELECT run_id FROM karr_runs WHERE place = ?", where)}
            driver.execute("DELETE FROM karr_runs WHERE place = ?", where)
        _add_places(driver, [indexed for indexed, _ in read])
        derived = {indexed.run.place: rows for indexed, rows in read}
        new = []
        for run_id in affected:  # its rows are those of the first directory that has it
            driver.execute("DELETE FROM runs WHERE id = ?", (run_id,))
            for first in _select(driver, "run_id = ?", (run_id,), 1):
                rows = derived.get(first.run.place)
                if rows is None and first.readable:
                    rows = derive_rows(codec.parse(self._repository.blob(first.run.document)), strict=False)
                if rows is not None:
                    new.append((run_id, first.identity.created_at, first.identity.sha256, rows))
        _add_rows(driver, new, self.location)


def _directory_for(repository: Repository) -> Path:
    directory = repository.own
    try:
        directory.mkdir(exist_ok=True)
        if os.access(directory, os.W_OK):
            return directory
    except OSError as error:
        if not isinstance(error, PermissionError) and error.errno != errno.EROFS:
            raise
    # It is made anew each time the store is opened: slow for many runs, but everything can be read.
    return Path(tempfile.mkdtemp(prefix=_PRIVATE))


def _is_damaged(error: BaseException | None) -> bool:
    """Whether an error says that the file is no sound database, so that making it anew is the cure."""
    while error is not None:
        if isinstance(error, SchemaError) or getattr(error, "sqlite_errorcode", -1) & 0xFF in _DAMAGE:
            return True
        error = error.__cause__ or error.__context__ or getattr(error, "orig", None)
    return False


def _forget(driver: sqlite3.Connection) -> None:
    for table in _DERIVED:
        driver.execute(f"DELETE FROM {table}")  # noqa: S608  # ours


def _tip(driver: sqlite3.Connection) -> str | None:
    row = driver.execute("SELECT tip FROM karr_state").fetchone()
    return None if row is None else str(row[0])


def _set_tip(driver: sqlite3.Connection, tip: str) -> None:
    driver.execute("INSERT OR REPLACE INTO karr_state (id, tip) VALUES (1, ?)", (tip,))


def _select(driver: sqlite3.Connection, where: str, values: tuple[Any, ...], limit: int = -1) -> list[IndexedRun]:
    statement = f"SELECT {_COLUMNS} FROM karr_runs WHERE {where} ORDER BY place LIMIT {limit}"  # noqa: S608  # ours
    found = []
    for row in driver.execute(statement, values):
        place, run_id, tree, document, identity, sha256, created_at, problem, readable, unread = row
        run = RunTree(tuple(place.split(b"/")) if place else (), tree, document, identity)
        known = Identity(run_id, parse_timestamp(created_at), sha256, problem)
        found.append(IndexedRun(run, known, bool(readable), bool(unread)))
    return found


def _add_places(driver: sqlite3.Connection, runs: Iterable[IndexedRun]) -> None:
    statement = f"INSERT INTO karr_runs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # ours
    for indexed in runs:
        run, known = indexed.run, indexed.identity
        where = (_joined(run.place), known.id, run.tree, run.document, run.identity)
        moment = format_utc(known.created_at)
        driver.execute(statement, (*where, known.sha256, moment, known.problem, indexed.readable, indexed.unread))


def _add_rows(
    driver: sqlite3.Connection, runs: Iterable[tuple[str, datetime, str, RunRows]], location: str
) -> None:
    # Without the document: git has it.
    records = [records_of(CheckedRun(run_id, b"", moment, digest, rows)) for run_id, moment, digest, rows in runs]
    insert_runs(driver, records, location)


def _joined(place: Place) -> bytes:
    return b"/".join(place)
