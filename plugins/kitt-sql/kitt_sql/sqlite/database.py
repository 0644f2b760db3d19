"""A SQLite file as a database: its connections, and its migration in one transaction, after a copy was made."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final, TypeVar, cast

from attrs import evolve
from sqlalchemy import Connection, PoolProxiedConnection

from kitt_core.errors import KittError, MigrationError
from kitt_core.files import sync_directory
from kitt_core.runs import Progress, SchemaState, SchemaStatus
from kitt_sql.adoption.old_tables import OldTables
from kitt_sql.database import SqlDatabase
from kitt_sql.dialect import SQLiteDialect
from kitt_sql.schema.status import missing
from kitt_sql.sqlite.engine import SQLiteFile, make_engine, translated, writing
from kitt_sql.sqlite.reading import SQLiteReader
from kitt_sql.sqlite.rolling import Rolling, complete

__all__ = ["SQLiteDatabase"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds that a migration waits for its turn, if ``busy_timeout`` is not longer."""
_UNFINISHED: Final = ".part"


class SQLiteDatabase(SqlDatabase):
    """A SQLite file with KITT's tables.

    Args:
        file: Where it is, and how it is opened.
        auto_migrate: Upgrade an older database before the first write, after a backup, with a warning.

    Attributes:
        rolling: What rolls up its runs.
    """

    driver: ClassVar[str] = "sqlite3"

    def __init__(self, file: SQLiteFile, *, auto_migrate: bool = False) -> None:
        self._turns = file.turns()
        engine = make_engine(file, self._turns)
        super().__init__(engine, writing(engine), SQLiteDialect())
        self._file = file
        self._auto_migrate = auto_migrate
        self.rolling = Rolling()
        self._migrating = threading.Lock()

    @property
    def location(self) -> str:
        """The file's path."""
        return str(self._file.path)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The database and the files that SQLite keeps next to it."""
        path = self._file.path
        return (path, *(Path(f"{path}{suffix}") for suffix in ("-wal", "-shm", "-journal")))

    def translated(self) -> AbstractContextManager[None]:
        """Return a context that raises SQLite's errors as KITT's."""
        return translated(self._file.path)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` makes of a connection: a `SQLiteReader`."""
        self.require_schema(for_writing=False)
        with self.translated(), closing(self.engine.raw_connection()) as pooled:
            driver = _driver(pooled)
            driver.execute("BEGIN")
            try:
                return work(cast("Connection", SQLiteReader(driver)))
            finally:
                driver.rollback()

    # The driver's own connection: SQLAlchemy would slow down each of the few statements of a save.

    @contextmanager
    def raw_connection(self) -> Iterator[sqlite3.Connection]:
        """Lend the driver's connection outside of any transaction: each statement is its own.

        Raises:
            SchemaError: The schema is not the current one.
        """
        self.require_schema(for_writing=False)
        with self.translated(), closing(self.engine.raw_connection()) as pooled:
            yield _driver(pooled)

    @contextmanager
    def raw_writing(self) -> Iterator[sqlite3.Connection]:
        """Lend the driver's connection inside a transaction, as `writing` lends SQLAlchemy's."""
        self.require_schema(for_writing=True)
        with self.translated(), closing(self.engine.raw_connection()) as pooled:
            driver = _driver(pooled)
            self._turns.begin_write(driver)
            try:
                yield driver
                driver.commit()
            except BaseException:
                driver.rollback()
                raise

    # The schema.

    def schema_status(self) -> SchemaStatus:
        """Return the schema's version and state, and the bytes on disk; a missing file is not created."""
        with self.translated():
            if not self._file.path.exists():
                return missing("the file does not exist yet")
        status = super().schema_status()
        with self.translated():
            return evolve(status, size_bytes=self._file.size_bytes())

    def prepares_itself(self, status: SchemaStatus, /) -> bool:
        """Return whether a write creates the tables, in an empty database, or upgrades them."""
        if status.state is SchemaState.MISSING:
            return self._is_empty()
        return status.state is SchemaState.OLD and self._auto_migrate

    def _is_empty(self) -> bool:
        """Whether the database has no table at all, so that creating ours does no harm."""
        with self.translated():
            if self._file.is_new():
                return not self._file.is_read_only()
        with self.translated(), self.engine.connect() as connection:
            return not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()

    def migrate(
        self, *, dry_run: bool = False, backup: bool = True, progress: Progress | None = None
    ) -> list[str]:
        """Create or upgrade the tables in one transaction; a database with runs is copied first."""
        if dry_run:
            status = self.schema_status()
            if status.version is None and not self._file.path.exists():
                return list(status.pending)  # trying it out would leave a file behind
        return super().migrate(dry_run=dry_run, backup=backup, progress=progress)

    @contextmanager
    def migrating(self, *, dry_run: bool) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside the one transaction of a migration."""
        # Another process's upgrade takes longer than its saves.
        file = evolve(self._file, busy_timeout=max(self._file.busy_timeout, PATIENCE))
        with self._migrating, self.translated(), closing(file.connect()) as connection:
            # Inside a transaction the pragma would be ignored, and rebuilding a table would delete its children.
            connection.execute("PRAGMA foreign_keys=OFF")
            # Other views and tables keep referring to a rebuilt table by its name.
            connection.execute("PRAGMA legacy_alter_table=ON")
            if not dry_run:
                file.use_wal(connection)
            file.turns().begin_write(connection)
            try:
                yield connection
                broken = connection.execute("PRAGMA foreign_key_check").fetchall()
                if broken:
                    raise MigrationError(f"{self.location}: references the upgrade would break: {len(broken)}")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            connection.execute("ROLLBACK" if dry_run else "COMMIT")
            if connection.total_changes:  # else another process was first, and emptying it holds up its writes
                _empty_log(connection)

    def old_tables(self, connection: sqlite3.Connection) -> OldTables:
        """Return the tables of KITT 1.x."""
        from kitt_sql.sqlite.old_tables import SQLiteOldTables  # only an adoption needs it

        return SQLiteOldTables(connection)

    def complete_rollup(self, connection: sqlite3.Connection) -> None:
        """Roll up the metrics of all runs."""
        complete(connection)

    @contextmanager
    def backed_up(self, status: SchemaStatus, /) -> Iterator[None]:
        """Copy the database to a file next to it, which is removed if an error left the database as it was."""
        copy = _write_copy(self._file.path, status.version or 0)
        version = "no version" if status.version is None else f"schema version {status.version}"
        logger.warning("%s is upgraded from %s; the copy made before is %s", self.location, version, copy)
        try:
            yield
        except BaseException:
            with suppress(KittError):
                if self.schema_status().state is SchemaState.OLD:
                    copy.unlink(missing_ok=True)
            raise


def _driver(pooled: PoolProxiedConnection) -> sqlite3.Connection:
    driver = pooled.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _empty_log(connection: sqlite3.Connection) -> None:
    """Move what was committed from the log into the file: nothing that the upgrade removed stays behind.

    Readers or a full disk may prevent it; then SQLite does it later, and the upgrade is complete all the same.
    """
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA busy_timeout=1000")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _write_copy(path: Path, version: int) -> Path:
    """Copy the database with SQLite's backup interface and return the copy's path.

    The copy is readable only by its owner, complete (including the write-ahead log), checked and on the disk. Its
    name holds the schema version and the time; until it is finished it has another name. The caller holds the
    write lock, so an unfinished copy was left by a process that was killed, and is removed.

    Raises:
        MigrationError: The copy is damaged; it is removed.
    """
    for left in path.parent.glob(f"{_escaped(path.name)}.v*.bak{_UNFINISHED}*"):
        left.unlink(missing_ok=True)
    now = datetime.now(UTC)
    copy = path.with_name(f"{path.name}.v{version}-{now:%Y%m%dT%H%M%S%f}Z.bak")
    unfinished = copy.with_name(copy.name + _UNFINISHED)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
            sound = target.execute("PRAGMA quick_check").fetchone()[0] == "ok"
        if not sound:
            raise MigrationError(f"{path}: the copy made before the upgrade is damaged; nothing was changed")
        _flush(unfinished)
        unfinished.rename(copy)
        sync_directory(path.parent)
    except BaseException:
        for suffix in ("", "-wal", "-shm", "-journal"):
            unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
        raise
    return copy


def _flush(path: Path) -> None:
    # kitt_core.files writes content; here SQLite has written it, and need not have flushed it.
    with path.open("r+b") as file:  # Windows flushes only what is open for writing
        os.fsync(file.fileno())


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
