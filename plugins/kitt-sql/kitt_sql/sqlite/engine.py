"""Connections to a SQLite file as KITT needs them, and SQLite's errors as KITT's.

WAL, foreign keys on, a busy time-out, transactions that begin where SQLAlchemy says so: ``BEGIN`` for a read
(a snapshot), ``BEGIN IMMEDIATE`` for a write (`kitt_sql.sqlite.turns`), because a read that turns into a write
fails at once with *locked* whatever the time-out.

An error is one line: the file, the cause and the cure, never the driver's text.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from attrs import frozen
from sqlalchemy import Connection, Engine, create_engine, event, exc, pool

from kitt_core.errors import InvalidDocumentError, KittError, StoreUnavailableError
from kitt_core.runs.statistics import mean
from kitt_sql.sqlite.turns import Turns, pause

__all__ = ["SQLiteFile", "Synchronous", "make_engine", "translated", "writing"]

Synchronous = Literal["FULL", "NORMAL", "EXTRA", "OFF"]

_WRITES: Final = "kitt_writes"
_LOG_PAGES: Final = 4000  # 16 MB; SQLite's default is a quarter of that
_CAUSES: Final = {
    sqlite3.SQLITE_BUSY: ("is locked by another process", "try again, or wait longer with -O busy_timeout=30"),
    sqlite3.SQLITE_LOCKED: ("is locked by another connection", "try again"),
    sqlite3.SQLITE_NOTADB: ("is not a SQLite database", "give the path of another file"),
    sqlite3.SQLITE_CORRUPT: (
        "is damaged",
        "restore it from a backup; `sqlite3 FILE .recover` saves what can be read",
    ),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk or the file's limit is full", "free some space and try again"),
    sqlite3.SQLITE_READONLY: ("is read-only", "make the file and its directory writable, or use another store"),
    sqlite3.SQLITE_PERM: ("cannot be opened: permission denied", "check its permissions"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "check that its directory exists and can be written"),
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written: input/output error",
        "check the disk, its space and its limits",
    ),
    sqlite3.SQLITE_NOMEM: ("cannot be used: out of memory", "free some memory and try again"),
}


@frozen
class SQLiteFile:
    """A database file and how it is opened.

    Attributes:
        path: The file; it and its directory are created if they are missing.
        synchronous: SQLite's setting: FULL survives a power cut, NORMAL may lose the last saves in one.
        busy_timeout: Seconds to wait for another process's write.
        patient: Wait for writes as long as others make progress, which begins ``busy_timeout`` again.
        private: Make the file readable only by its owner (and its directory, if that is created).
    """

    path: Path
    synchronous: Synchronous = "FULL"
    busy_timeout: float = 5.0
    patient: bool = False
    private: bool = False

    def is_new(self) -> bool:
        """Whether there is nothing yet, not even an empty database."""
        try:
            return self.path.stat().st_size == 0
        except FileNotFoundError:
            return True

    def is_read_only(self) -> bool:
        """Whether the file is there but may not be written."""
        return self.path.exists() and not os.access(self.path, os.W_OK)

    def size_bytes(self) -> int:
        """Return the bytes on disk, the write-ahead log included."""
        files = (self.path, *(_sibling(self.path, suffix) for suffix in ("-wal", "-shm")))
        return sum(file.stat().st_size for file in files if file.exists())

    def create(self) -> None:
        """Create the empty file with its mode, before SQLite creates it with another."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if self.private else 0o777)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600 if self.private else 0o666))

    def connect(self) -> sqlite3.Connection:
        """Open a connection with its pragmas."""
        read_only = self.is_read_only()
        if not read_only and not self.path.exists():
            self.create()
        if self.private and not read_only and stat.S_IMODE(self.path.stat().st_mode) & 0o077:
            self.path.chmod(0o600)
        connection = sqlite3.connect(
            self._uri(read_only),
            uri=True,
            timeout=self.busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            self._configure(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _uri(self, read_only: bool) -> str:
        uri = f"{self.path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
        # Where neither file nor directory can be written, SQLite can't create the shared memory that WAL needs.
        if read_only and not os.access(self.path.parent, os.W_OK) and not _sibling(self.path, "-wal").exists():
            uri += "&immutable=1"
        return uri

    def _configure(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA synchronous={self.synchronous}")
        # The pages that every save changes are moved into the file once for many saves.
        connection.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")
        connection.create_function("kitt_casefold", 1, _casefold, deterministic=True)
        connection.create_aggregate("kitt_mean", 1, _Mean)  # type: ignore[arg-type]  # typeshed wants an int result

    def use_wal(self, connection: sqlite3.Connection) -> None:
        """Switch the file to write-ahead logging, for good; to be called only for a database of ours."""
        # Changing the mode needs exclusive access, for which SQLite doesn't wait as it does for a write.
        deadline = time.monotonic() + self.busy_timeout
        while True:
            try:
                if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                    connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if (
                    getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY
                    or time.monotonic() > deadline
                ):
                    raise
                pause()

    def turns(self) -> Turns:
        """Return what begins writes; one for all connections of a process."""
        return Turns(self.busy_timeout, patient=self.patient)


def make_engine(file: SQLiteFile, turns: Turns) -> Engine:
    """Return the engine; it connects when it is first used, and ``turns`` begins its writes."""
    engine = create_engine(
        "sqlite://", creator=file.connect, poolclass=pool.QueuePool, pool_size=5, max_overflow=-1
    )

    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        # On the driver's connection: SQLAlchemy's machinery around a statement costs every read and write 20 µs.
        driver: Any = connection.connection.driver_connection
        if connection.get_execution_options().get(_WRITES):
            turns.begin_write(driver)
        else:
            driver.execute("BEGIN")

    return engine


def writing(engine: Engine) -> Engine:
    """Return the same engine with transactions that begin as writes."""
    return engine.execution_options(**{_WRITES: True})


class _Mean:
    """The aggregate function ``kitt_mean``."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def step(self, value: float) -> None:
        self._values.append(value)

    def finalize(self) -> float | None:
        return mean(self._values) if self._values else None


def _casefold(text: str | None) -> str | None:
    return None if text is None else text.casefold()


def _sibling(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise KITT's errors for what SQLite, its driver or the file system refuse."""
    try:
        yield
    except exc.StatementError as error:
        raise _translation(path, error.orig) from error
    except (sqlite3.Error, OSError, OverflowError, exc.TimeoutError) as error:
        raise _translation(path, error) from error


def _translation(path: Path, error: BaseException | None) -> KittError:
    if path.is_dir():
        return StoreUnavailableError(
            f"{path} is a directory, expected a SQLite file", hint="give the path of a file"
        )
    if isinstance(error, OSError):
        return StoreUnavailableError(
            f"{path} cannot be used: {error.strerror or type(error).__name__}",
            hint="check the path and its permissions",
        )
    error = _cause(error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code == sqlite3.SQLITE_TOOBIG or isinstance(error, OverflowError):
        return InvalidDocumentError(
            f"{path} cannot hold a document of that size: the largest is about 1 GB",
            hint="keep it in another backend",
        )
    cause, cure = _CAUSES.get(code, (f"cannot be used ({name})", "run `kitt storage verify`"))
    return StoreUnavailableError(f"{path} {cause}", hint=cure.replace("FILE", shlex.quote(str(path))))


def _cause(error: BaseException | None) -> BaseException | None:
    """Return the error that came first: a failed rollback hides the full disk that made it necessary."""
    known, link = error, error
    while link is not None:
        if getattr(link, "sqlite_errorcode", 0) & 0xFF in _CAUSES:
            known = link
        link = link.__context__
    return known
