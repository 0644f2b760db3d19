"""The index: the rows of the branch's runs in a SQLite file inside the git directory.

It is derived, and may be deleted at any time. It knows the commit that it was made from; before each answer that
is compared with the branch, and what changed in between is read from git. Documents are not in it: they are read
from git by the id that is noted, so that git's bytes are the only ones there are.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from sqlalchemy import Connection

from kitt_core.errors import InvalidDocumentError, SchemaError, StoreUnavailableError
from kitt_core.rundir import Identity
from kitt_core.runs import CheckedRun, RunRows, clean_text, codec, derive_rows, format_utc, parse_timestamp
from kitt_karr.history import times_of_arrival
from kitt_karr.objects import Commit
from kitt_karr.repository import Repository
from kitt_karr.runs import Place, RunTree, changed_runs, identify
from kitt_sql.schema.tables import SCHEMA_VERSION
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore
from kitt_sql.sqlite.writing import insert_runs, records_of

__all__ = ["INDEX_NAME", "IndexedRun", "RunIndex", "is_damaged"]

_LAYOUT: Final = 1
INDEX_NAME: Final = f"index-{SCHEMA_VERSION}.{_LAYOUT}.db"
"""Another KITT with another schema has a file of its own, and neither upgrades the other's."""

_BATCH: Final = 100
_PATIENCE_SECONDS: Final = 300.0  # a whole rebuild by another process
_COLUMNS: Final = "place, run_id, tree, document, identity, sha256, created_at, problem, readable"
_PLACES: Final = """
CREATE TABLE IF NOT EXISTS karr_runs (
    place BLOB PRIMARY KEY, run_id TEXT NOT NULL, tree TEXT NOT NULL, document TEXT NOT NULL, identity TEXT,
    sha256 TEXT NOT NULL, created_at TEXT NOT NULL, problem TEXT, readable INTEGER NOT NULL
) WITHOUT ROWID
"""
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS karr_state (id INTEGER PRIMARY KEY CHECK (id = 1), tip TEXT NOT NULL)",
    _PLACES,
    "CREATE INDEX IF NOT EXISTS karr_runs_run_id ON karr_runs (run_id)",
    "CREATE INDEX IF NOT EXISTS karr_runs_sha256 ON karr_runs (sha256)",
)
# Those below ``runs`` by name, too: rows of runs that somebody took out by hand would stay.
_DERIVED: Final = (
    *("karr_state", "karr_runs", "metrics", "benchmarks", "hardware"),
    *("run_documents", "run_labels", "runs"),
)
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})


@frozen
class IndexedRun:
    """What the index knows of a directory that is a run.

    Attributes:
        run: The directory.
        identity: Who it says it is.
        readable: Whether its document can be parsed; those that can't are not listed.
    """

    run: RunTree
    identity: Identity
    readable: bool


class RunIndex(SQLiteStore):
    """The rows of the runs at the tip of a repository's branch.

    Args:
        path: The database file.
        repository: What it is made from.
    """

    def __init__(self, path: Path, repository: Repository) -> None:
        # A power cut may take back the last changes, never tear one: then the commit that it knows is older.
        super().__init__(SQLiteDatabase(SQLiteFile(path, synchronous="NORMAL", busy_timeout=_PATIENCE_SECONDS)))
        self._repository = repository
        self._tables_made = False
        self._making = threading.Lock()

    # Following the branch.

    def follow(self) -> str | None:
        """Bring the index to the branch's tip and return that commit, None if there is none yet."""
        tip = self._repository.head().tip
        if self.tip() != tip:
            with self._changing() as driver:
                # Again: only under the write lock, so that nobody moves the index back to an older tip.
                tip = self._repository.head().tip
                known = _tip(driver)
                if known != tip:
                    self._move(driver, known, tip)
        return tip

    def tip(self) -> str | None:
        """Return the commit that the index was made from, None if it is empty."""
        self._make_tables()
        with self.database.raw_connection() as driver:
            return _tip(driver)

    def note_saved(self, before: str | None, commit: str, runs: Sequence[tuple[RunTree, CheckedRun]]) -> None:
        """Take over what a commit of ours added, if the index stands where that began."""
        with self._changing() as driver:
            if _tip(driver) != before:
                return  # others were faster; the next reader brings it up
            indexed = [
                IndexedRun(tree, Identity(run.id, run.created_at, run.sha256), readable=True) for tree, run in runs
            ]
            _add_places(driver, indexed)
            self._add_rows(driver, [(run.id, run.created_at, run.sha256, run.rows) for _, run in runs])
            _set_tip(driver, commit)

    def note_deleted(self, before: str | None, commit: str, run_id: str) -> None:
        """Take over that a commit of ours removed a run."""
        with self._changing() as driver:
            if _tip(driver) == before:
                driver.execute("DELETE FROM karr_runs WHERE run_id = ?", (run_id,))
                driver.execute("DELETE FROM runs WHERE id = ?", (run_id,))
                _set_tip(driver, commit)

    def rebuild(self) -> None:
        """Forget everything and read the whole tree anew."""
        with self._changing() as driver:
            self._move(driver, None, self._repository.head().tip)

    # What a store asks besides rows.

    def find(self, run_id: str) -> list[IndexedRun]:
        """Return the directories that say they are this run; the first one counts, the others are copies."""
        return self._select("run_id = ?", (clean_text(run_id),))

    def find_any(self, run_ids: Iterable[str]) -> str | None:
        """Return one of the ids that is there."""
        return next((run_id for run_id in run_ids if self.find(run_id)), None)

    def ids_by_digest(self, digests: Iterable[str]) -> dict[str, str]:
        """Return the ids of runs that have the digests."""
        found = ((digest, self._select("sha256 = ?", (digest,))) for digest in digests)
        return {digest: runs[0].identity.id for digest, runs in found if runs}

    def all_places(self) -> Iterator[IndexedRun]:
        """Yield all directories that are runs, copies and unreadable ones too, in the order of their paths."""
        last = b""
        page = self._select("place >= ? ", (last,), _BATCH)
        while page:
            yield from page
            page = self._select("place > ?", (_joined(page[-1].run.place),), _BATCH)

    def holds_below(self, place: Place) -> bool:
        """Whether other runs are in the directory of a run."""
        start = _joined(place) + b"/"
        return bool(self._select("place >= ? AND place < ?", (start, start[:-1] + b"0"), 1))

    def document_of(self, _: Connection, run_id: str) -> bytes | None:
        """Return the verbatim bytes from git: the index has no documents."""
        found = self.find(run_id)
        return self._repository.blob(found[0].run.document) if found else None

    def _select(self, condition: str, values: tuple[Any, ...], limit: int = -1) -> list[IndexedRun]:
        self._make_tables()
        statement = f"SELECT {_COLUMNS} FROM karr_runs WHERE {condition} ORDER BY place LIMIT {limit}"  # noqa: S608  # ours
        with self.database.raw_connection() as driver:
            return [_indexed(row) for row in driver.execute(statement, values)]

    # Changing.

    def _make_tables(self) -> None:
        if self._tables_made:
            return
        with self._making, self.database.raw_writing() as driver:
            for statement in _TABLES:
                driver.execute(statement)
        self._tables_made = True

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        self._make_tables()
        with self.database.raw_writing() as driver:
            yield driver

    def _move(self, driver: sqlite3.Connection, known: str | None, tip: str | None) -> None:
        """Change the rows from those of one commit to those of another."""
        old = None
        if known is not None and tip is not None and self._repository.has(known):
            old = self._repository.commit(known).tree
        if old is None:
            for table in _DERIVED:
                driver.execute(f"DELETE FROM {table}")  # noqa: S608  # ours
        if tip is None:
            driver.execute("DELETE FROM karr_state")
            return
        commit = self._repository.commit(tip)
        changes = list(changed_runs(self._repository, old, commit.tree))
        without = [run.place for _, run in changes if run is not None and run.identity is None]
        arrived = times_of_arrival(self._repository, commit, without)
        for start in range(0, len(changes), _BATCH):
            self._apply(driver, commit, changes[start : start + _BATCH], arrived)
        _set_tip(driver, tip)

    def _apply(
        self,
        driver: sqlite3.Connection,
        commit: Commit,
        changes: Sequence[tuple[Place, RunTree | None]],
        arrived: Mapping[Place, datetime],
    ) -> None:
        """Replace what is known of some places, and the rows of all runs that are or were there."""
        places = [(_joined(place),) for place, _ in changes]
        affected: set[str] = set()
        for place in places:
            affected |= {row[0] for row in driver.execute("SELECT run_id FROM karr_runs WHERE place = ?", place)}
        driver.executemany("DELETE FROM karr_runs WHERE place = ?", places)
        read: dict[Place, RunRows] = {}
        for _, run in changes:
            if run is not None:
                indexed, rows = self._read_run(run, commit, arrived)
                _add_places(driver, [indexed])
                affected.add(indexed.identity.id)
                if rows is not None:
                    read[run.place] = rows
        self._renew_rows(driver, affected, read)

    def _read_run(
        self, run: RunTree, commit: Commit, arrived: Mapping[Place, datetime]
    ) -> tuple[IndexedRun, RunRows | None]:
        rows = None
        try:
            document = self._repository.blob(run.document)
            rows = derive_rows(codec.parse(document), strict=False)
        except InvalidDocumentError:  # not listed; `verify` says what is wrong with it
            pass
        except StoreUnavailableError:
            document = b""
        identity = identify(self._repository, run, document, arrived.get(run.place, commit.time))
        return IndexedRun(run, identity, readable=rows is not None), rows

    def _renew_rows(self, driver: sqlite3.Connection, affected: set[str], read: dict[Place, RunRows]) -> None:
        """Make the rows of some ids those of the first directory that has each."""
        new = []
        for run_id in affected:
            driver.execute("DELETE FROM runs WHERE id = ?", (run_id,))
            statement = f"SELECT {_COLUMNS} FROM karr_runs WHERE run_id = ? ORDER BY place LIMIT 1"  # noqa: S608  # ours
            found = driver.execute(statement, (run_id,)).fetchone()
            if found is None or not (first := _indexed(found)).readable:
                continue
            rows = read.get(first.run.place)
            if rows is None:
                rows = derive_rows(codec.parse(self._repository.blob(first.run.document)), strict=False)
            new.append((run_id, first.identity.created_at, first.identity.sha256, rows))
        self._add_rows(driver, new)

    def _add_rows(self, driver: sqlite3.Connection, runs: Sequence[tuple[str, datetime, str, RunRows]]) -> None:
        # Without the document: git has it.
        records = [
            records_of(CheckedRun(run_id, b"", moment, digest, rows)) for run_id, moment, digest, rows in runs
        ]
        insert_runs(driver, records, self.location)


def is_damaged(error: BaseException) -> bool:
    """Whether an error says that the file is no sound database, so that making it anew is the cure."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, SchemaError) or getattr(link, "sqlite_errorcode", -1) & 0xFF in _DAMAGE:
            return True
        link = link.__cause__ or link.__context__ or getattr(link, "orig", None)
    return False


def _tip(driver: Any) -> str | None:
    row = driver.execute("SELECT tip FROM karr_state").fetchone()
    return None if row is None else str(row[0])


def _set_tip(driver: sqlite3.Connection, tip: str) -> None:
    driver.execute("INSERT OR REPLACE INTO karr_state (id, tip) VALUES (1, ?)", (tip,))


def _add_places(driver: sqlite3.Connection, runs: Iterable[IndexedRun]) -> None:
    marks = ", ".join("?" * len(_COLUMNS.split(",")))
    driver.executemany(
        f"INSERT INTO karr_runs ({_COLUMNS}) VALUES ({marks})",  # noqa: S608  # ours
        (
            (
                _joined(indexed.run.place),
                indexed.identity.id,
                indexed.run.tree,
                indexed.run.document,
                indexed.run.identity,
                indexed.identity.sha256,
                format_utc(indexed.identity.created_at),
                indexed.identity.problem,
                int(indexed.readable),
            )
            for indexed in runs
        ),
    )


def _indexed(row: Sequence[Any]) -> IndexedRun:
    place, run_id, tree, document, identity, sha256, created_at, problem, readable = row
    run = RunTree(tuple(place.split(b"/")) if place else (), tree, document, identity)
    return IndexedRun(run, Identity(run_id, parse_timestamp(created_at), sha256, problem), readable=bool(readable))


def _joined(place: Place) -> bytes:
    return b"/".join(place)
