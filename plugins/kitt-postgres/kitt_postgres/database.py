"""A PostgreSQL database: its connections, its migration in one transaction, and calls that outlast a restart."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import ClassVar, Final, TypeVar

import psycopg
from attrs import evolve
from psycopg import sql
from sqlalchemy import Connection

from kitt_core.errors import StoreUnavailableError
from kitt_core.runs import SchemaStatus
from kitt_postgres.dialect import PostgresDialect
from kitt_postgres.errors import Loss, loss_of, translated
from kitt_postgres.options import PostgresOptions
from kitt_postgres.server import Driver, PostgresServer, make_engine, writing
from kitt_sql.adoption.old_tables import OldTables
from kitt_sql.database import SqlDatabase
from kitt_sql.schema.tables import metadata

__all__ = ["PostgresDatabase"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

_NOTICE_AFTER: Final = 2.0
_BETWEEN: Final = (0.02, 0.2)
"""Seconds between two attempts. Not all at the same moment: many clients may have lost the same server."""
_MIGRATION_LOCK: Final = 0x4B495454_00000001
_SIZE: Final = """SELECT sum(pg_catalog.pg_total_relation_size(oid))::bigint FROM pg_catalog.pg_class
    WHERE relname = ANY(%s) AND pg_catalog.pg_table_is_visible(oid)"""


class PostgresDatabase(SqlDatabase):
    """A database on a PostgreSQL server, with KITT's tables.

    Tables are created on request, not by the first write.

    Args:
        options: The server, and how to connect to it.

    Raises:
        ConfigurationError: libpq can't read the DSN.
    """

    driver: ClassVar[str] = "psycopg"

    def __init__(self, options: PostgresOptions) -> None:
        self._server = PostgresServer(options)
        self._server.check()
        engine = make_engine(self._server)
        super().__init__(engine, writing(engine, self._server), PostgresDialect())

    @property
    def location(self) -> str:
        """Server and database, without user and password."""
        return self._server.location

    def translated(self) -> AbstractContextManager[None]:
        """Return a context that raises the errors of server, driver and pool as KITT's."""
        return translated(self.location)

    # Calls that outlast a restart.

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` makes of a connection; called again while its connection is lost."""
        self.require_schema(for_writing=False)  # outside: it waits by itself
        return self._outlasting(lambda _: super(PostgresDatabase, self).read(work))

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` makes of a connection; called again while its connection is lost."""
        self.require_schema(for_writing=True)
        return self._outlasting(lambda _: super(PostgresDatabase, self).write(work))

    def repeated(self, write: Callable[[bool], T]) -> T:
        """Call ``write``, and again while its connection is lost.

        Args:
            write: Called with whether this is a retry; what it wrote before may have been stored. It may raise
                the driver's errors.

        Raises:
            SchemaError: The schema is not the current one.
        """
        self.require_schema(for_writing=True)

        def attempt(again: bool) -> T:
            with self.translated():
                return write(again)

        return self._outlasting(attempt)

    def _outlasting(self, call: Callable[[bool], T]) -> T:
        """Call ``call``, with whether this is a retry, until it does not lose its connection.

        After a restart it is called again for up to ``restart_timeout`` seconds, after a conflict with others for
        up to ``connect_timeout`` seconds. A server that never answered this process is not waited for, unless it
        says that it is starting.
        """
        begin: float | None = None
        announced = False
        while True:
            try:
                return call(begin is not None)
            except StoreUnavailableError as error:
                loss = loss_of(error.__cause__)
                if loss is None or (loss is Loss.NOT_LISTENING and not self._server.answered):
                    raise
                options = self._server.options
                limit = options.connect_timeout if loss is Loss.CONFLICT else options.restart_timeout
                now = time.monotonic()
                begin = now if begin is None else begin
                if now - begin >= limit:
                    raise
                if now - begin > _NOTICE_AFTER and not announced:
                    announced = True
                    logger.warning("%s; waiting for it, for up to %g s", error.message, limit)
            time.sleep(random.uniform(*_BETWEEN))  # noqa: S311  # not a secret

    # The driver's own connection. Its errors are not translated here: `repeated` does that.

    @contextmanager
    def raw_connection(self) -> Iterator[Driver]:
        """Lend the driver's connection outside of any transaction: each statement is its own.

        Raises:
            psycopg.Error: Whatever the server refuses.
        """
        with closing(self.engine.raw_connection()) as pooled:
            driver = pooled.driver_connection
            assert isinstance(driver, psycopg.Connection)
            try:
                yield driver
            except BaseException as error:
                if driver.closed:
                    pooled.invalidate(error)
                raise

    @contextmanager
    def raw_writing(self, *, keep: bool = True) -> Iterator[Driver]:
        """Lend the driver's connection inside a transaction; without ``keep`` it is rolled back at the end.

        Raises:
            psycopg.Error: Whatever the server refuses.
        """
        with self.raw_connection() as driver:
            driver.execute(self._server.begin_write(), prepare=False)
            yield driver
            if keep:
                driver.commit()
            else:
                driver.rollback()

    def single_statement(self) -> AbstractContextManager[Driver]:
        """Lend the driver's connection for a single write, its own transaction if it needs no settings."""
        return self.raw_writing() if self._server.has_settings else self.raw_connection()

    # The schema.

    def schema_status(self) -> SchemaStatus:
        """Return the schema's version and state, and the bytes of its tables and indexes."""

        def attempt(_: bool) -> SchemaStatus:
            status = super(PostgresDatabase, self).schema_status()
            with self.translated(), self.engine.connect() as connection:
                size = connection.exec_driver_sql(_SIZE, (list(metadata.tables),)).scalar()
            return evolve(status, size_bytes=size or 0)

        return self._outlasting(attempt)

    @contextmanager
    def migrating(self, *, dry_run: bool) -> Iterator[Driver]:
        """Lend a connection inside the one transaction of a migration, one migrator at a time."""
        with self.translated(), self.raw_writing(keep=not dry_run) as driver:
            driver.execute("SET LOCAL statement_timeout = 0")
            driver.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
            self._create_schema(driver)
            yield driver

    def _create_schema(self, driver: Driver) -> None:
        # Checked first: IF NOT EXISTS needs the permission to create even if there is nothing to do.
        name = self._server.options.schema
        if name and not driver.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [name]).fetchone():
            driver.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))

    def complete_rollup(self, connection: Driver) -> None:
        """Roll up the metrics of the runs that are not: those of an older database."""
        from kitt_postgres.rolling import roll_up

        roll_up(connection)

    def old_tables(self, connection: Driver) -> OldTables:
        """Return the tables of KITT 1.x."""
        from kitt_postgres.old_tables import PostgresOldTables  # only an adoption needs it

        return PostgresOldTables(connection)
