"""An open database with KITT's tables, for the store of runs and for whatever else keeps rows in them.

A subclass provides the engine, the translation of the driver's errors and the transaction of a migration;
connections, the check of the schema and the order of an upgrade are here.
"""

from __future__ import annotations

import abc
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

from sqlalchemy import Connection, Engine, event, exc

from kitt_core.errors import SchemaMissingError, SchemaTooNewError, SchemaTooOldError, StoreUnavailableError
from kitt_core.runs import Progress, SchemaState, SchemaStatus
from kitt_sql.adoption.old_tables import OldTables
from kitt_sql.dialect import QueryDialect
from kitt_sql.schema import status as schema
from kitt_sql.schema.tables import SCHEMA_VERSION

__all__ = ["SqlDatabase"]

T = TypeVar("T")

logger = logging.getLogger(__name__)


class SqlDatabase(abc.ABC):
    """A database with the tables of `kitt_sql.schema.tables`; it connects when it is first used.

    Each call has its own short transaction. It is a context manager and safe to use from several threads; after a
    fork the child opens its own connections. Unless stated otherwise, every method raises `StoreUnavailableError`
    if the database can't be reached or is closed.

    Args:
        engine: Its transactions are reads.
        write_engine: Its transactions are writes that exclude other writers from the start.
        dialect: How the database compares text and takes lists.

    Attributes:
        driver: The name of the driver's module.
        engine: For connections outside of `reading` and `writing`; the caller closes them.
        dialect: As given.
    """

    driver: ClassVar[str]

    def __init__(self, engine: Engine, write_engine: Engine, dialect: QueryDialect) -> None:
        self.engine = engine
        self.dialect = dialect
        self._write_engine = write_engine
        self._closed = False
        self._schema_checked = False
        self._schema_lock = threading.Lock()
        _forbid_inheriting(engine)

    # What a subclass provides.

    @property
    @abc.abstractmethod
    def location(self) -> str:
        """Where the database is, for messages, without secrets."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The database's files; empty if it is not kept in files."""
        return ()

    @abc.abstractmethod
    def translated(self) -> AbstractContextManager[None]:
        """Return a context that raises the driver's errors as KITT's."""

    @abc.abstractmethod
    def migrating(self, *, dry_run: bool) -> AbstractContextManager[Any]:
        """Lend the driver's connection inside the transaction of a migration, which excludes every other writer.

        It is committed at the end, or rolled back if ``dry_run`` is true or after an error.
        """

    @abc.abstractmethod
    def old_tables(self, connection: Any) -> OldTables:
        """Return the tables of KITT 1.x behind a connection that `migrating` lent."""

    @abc.abstractmethod
    def complete_rollup(self, connection: Any) -> None:
        """Roll up the metrics of all runs, inside the transaction of a migration."""

    def backed_up(self, _status: SchemaStatus, /) -> AbstractContextManager[None]:
        """Return a context around an upgrade that copies the database first, and keeps the copy if it succeeds.

        Does nothing by default: a server has its own tools for backups.
        """
        return nullcontext()

    def prepares_itself(self, _status: SchemaStatus, /) -> bool:
        """Return whether a write creates the tables or upgrades them, given what `schema_status` says."""
        return False

    # Connections.

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend a connection inside a transaction that sees one state and changes nothing.

        Raises:
            SchemaError: The schema is not the current one.
        """
        self.require_schema(for_writing=False)
        with self.translated(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Lend a connection inside a transaction that is committed at the end, or rolled back after an error.

        Raises:
            SchemaError: The schema is not the current one and is not upgraded automatically.
        """
        self.require_schema(for_writing=True)
        with self.translated(), self._write_engine.begin() as connection:
            yield connection

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` makes of a connection that `reading` lends.

        A database may call it again, from the start, if it lost the connection.
        """
        with self.reading() as connection:
            return work(connection)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` makes of a connection that `writing` lends, perhaps again, as in `read`."""
        with self.writing() as connection:
            return work(connection)

    def close(self) -> None:
        """Close all connections; may be called twice."""
        self._closed = True
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailableError(f"{self.location} is closed", hint="open it again")

    # The schema.

    def require_schema(self, *, for_writing: bool) -> None:
        """Check the schema, once, and create or upgrade it where `prepares_itself` says so.

        Raises:
            SchemaError: It is not the current one.
        """
        self._check_open()
        if self._schema_checked:
            return
        with self._schema_lock:
            if self._schema_checked:
                return
            status = self.schema_status()
            # A read creates the tables of an empty database, and finds nothing in them, but upgrades none.
            if self.prepares_itself(status) and (for_writing or status.state is SchemaState.MISSING):
                self.migrate()
            elif status.state is not SchemaState.CURRENT:
                status = self.schema_status()  # another process may have made the tables in between
                if status.state is not SchemaState.CURRENT:
                    raise self._refusal(status)
            self._schema_checked = True

    def schema_status(self) -> SchemaStatus:
        """Return the schema's version and state; changes nothing."""
        self._check_open()
        with self.translated(), self.engine.connect() as connection:
            return schema.examine(lambda sql: connection.exec_driver_sql(sql).all(), self.dialect).status

    def migrate(
        self, *, dry_run: bool = False, backup: bool = True, progress: Progress | None = None
    ) -> list[str]:
        """Create or upgrade the tables in one transaction and return the names of the migrations, in order.

        Args:
            dry_run: Roll everything back at the end.
            backup: Copy an old database first, if `backed_up` does so.
            progress: Called after each step.

        Raises:
            SchemaError: The database is newer than this KITT, or somebody else's; it is left as it is.
            MigrationError: The upgrade failed; the database is as it was.
        """
        self._refuse_unusable(self.schema_status())
        with ExitStack() as after, self.migrating(dry_run=dry_run) as connection:
            # Examined again: another process may have upgraded it while this one waited.
            found = schema.examine(lambda sql: connection.execute(sql).fetchall(), self.dialect)
            self._refuse_unusable(found.status)
            if found.status.state is SchemaState.OLD and backup and not dry_run:
                # Entered under the lock, so that no other process's save is missing from the copy; left after
                # the commit, because that may fail as well.
                after.enter_context(self.backed_up(found.status))
            return self._upgrade(connection, found, progress)

    def _upgrade(self, connection: Any, found: schema.Found, progress: Progress | None) -> list[str]:
        if found.status.state is SchemaState.CURRENT:  # another process was first; others wait for this lock
            return []
        from kitt_sql.schema.migrate import apply_pending  # yoyo and sqlparse are needed here only

        if found.legacy is None:
            applied = apply_pending(connection, self.driver, self.dialect, progress)
            self.complete_rollup(connection)
            return applied
        from kitt_sql.adoption.adopting import adopt

        def apply(until: int, progress: Progress | None) -> None:
            apply_pending(connection, self.driver, self.dialect, progress, until=until)

        report = adopt(self.old_tables(connection), found.legacy, SCHEMA_VERSION, apply, progress)
        self.complete_rollup(connection)
        for line in report.lines():
            logger.warning("%s: %s", self.location, line)
        return list(found.status.pending)

    def _refuse_unusable(self, status: SchemaStatus) -> None:
        if status.state in {SchemaState.NEW, SchemaState.FOREIGN}:
            raise self._refusal(status)

    def _refusal(self, status: SchemaStatus) -> Exception:
        match status.state:
            case SchemaState.NEW:
                found = "; ".join((f"has schema version {status.version}", *status.notes))
                return SchemaTooNewError(
                    f"{self.location} {found}; this KITT knows {SCHEMA_VERSION}",
                    hint="upgrade KITT; the store was left untouched",
                )
            case SchemaState.OLD:
                found = "no schema version" if status.version is None else f"schema version {status.version}"
                return SchemaTooOldError(
                    f"{self.location} has {found}; this KITT needs {SCHEMA_VERSION}",
                    hint="`kitt storage migrate` upgrades it"
                    + (", after a backup beside it" if self.paths else " in place; it makes no backup"),
                )
            case SchemaState.FOREIGN:
                return SchemaTooOldError(
                    f"{self.location} {'; '.join(status.notes)}",
                    hint="name another store, undo what was changed in this one by hand, or restore a copy of it",
                )
            case _:
                return SchemaMissingError(
                    f"{self.location} holds no KITT tables", hint="`kitt storage init` on this store creates them"
                )


def _forbid_inheriting(engine: Engine) -> None:
    """Make the engine open a connection in a child process instead of sharing its parent's connection.

    Shared, a file's locks would be lost, and two processes would talk on one socket at once.
    """
    event.listen(engine, "connect", _note_process)
    event.listen(engine, "checkout", _refuse_inherited, insert=True)  # before the connection is tested


def _note_process(_: Any, record: Any) -> None:
    record.info["pid"] = os.getpid()


def _refuse_inherited(_: Any, record: Any, proxy: Any) -> None:
    if record.info["pid"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise exc.DisconnectionError("the connection belongs to the parent process")
