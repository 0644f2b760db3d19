"""The store that the backend ``postgres`` opens."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, TypeVar

import psycopg
from attrs import asdict, evolve
from psycopg import sql
from sqlalchemy import Connection, ForeignKey, Select, Text, bindparam, exists, func, select
from sqlalchemy.exc import SQLAlchemyError

from kitt_core.errors import RunExistsError
from kitt_core.runs import (
    CheckedRun,
    Finding,
    Progress,
    RunRows,
    SchemaState,
    SchemaStatus,
    Severity,
    StoredRun,
)
from kitt_postgres.dialect import PostgresDialect
from kitt_postgres.errors import is_collision, is_lost, is_refused_value, translated
from kitt_postgres.projection import projected
from kitt_postgres.server import Driver, PostgresServer, lending, make_engine, saving, writing
from kitt_postgres.writing import copy_runs, insert_derived, insert_run
from kitt_sql import schema
from kitt_sql.store import SqlResultStore
from kitt_sql.tables import SCHEMA_VERSION, benchmarks, hardware, metadata, run_documents, run_labels, runs

__all__ = ["PostgresResultStore"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Given = Sequence[tuple[CheckedRun, str | None]]

_MIGRATION_LOCK: Final = 0x4B495454_00000001
_IMPORT_LOCK: Final = 0x4B495454_00000002
_DOCUMENT: Final = select(run_documents.c.document).where(
    run_documents.c.run_id == bindparam("run_id", type_=Text)
)
_PRESENT: Final = "SELECT sha256, run_id FROM run_documents WHERE sha256 = ANY(%s)"
_WITHOUT_DOCUMENT: Final = (
    select(runs.c.id)
    .outerjoin(run_documents, run_documents.c.run_id == runs.c.id)
    .where(run_documents.c.document.is_(None))
)
_SIZE: Final = """SELECT sum(pg_catalog.pg_total_relation_size(oid))::bigint FROM pg_catalog.pg_class
    WHERE relname = ANY(%s) AND pg_catalog.pg_table_is_visible(oid)"""


class PostgresResultStore(SqlResultStore):
    """Runs in PostgreSQL; ``run_documents.document`` is the document, ``runs.raw_json`` a queryable projection.

    A write whose connection is lost is repeated until the server is back, for ``connect_timeout`` seconds: it
    goes by the run's id, so it can't be there twice.

    Args:
        dsn: What libpq takes: a URI, ``key=value`` text, or nothing for libpq's environment.
        schema: The PostgreSQL schema of the tables; the first of the search path without it.
        pool_size: The most connections that the store opens.
        application_name: Shown in ``pg_stat_activity`` unless the DSN names another.
        connect_timeout: Seconds to wait for a connection.
        statement_timeout: Seconds that a statement may take; 0 leaves it to the server.
        prepare: Whether statements are prepared; not behind a pgbouncer older than 1.21.

    Raises:
        ConfigurationError: libpq can't read the DSN.
    """

    def __init__(
        self,
        dsn: str = "",
        *,
        schema: str | None = None,
        pool_size: int = 5,
        application_name: str = "kitt",
        connect_timeout: float = 10.0,
        statement_timeout: float = 0.0,
        prepare: bool = True,
    ) -> None:
        self._server = PostgresServer(
            dsn, schema, pool_size, application_name, connect_timeout, statement_timeout, prepare
        )
        self._server.check()
        engine = make_engine(self._server)
        super().__init__(engine, writing(engine, self._server), PostgresDialect())

    @property
    def location(self) -> str:
        """Server and database, without user and password."""
        return self._server.location

    # Writing.

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        """Store checked runs in one transaction, a single one by one statement."""
        self._check_schema(for_writing=True)
        alone = len(checked) == 1 and not self._server.has_settings
        lend = self._lending if alone else self._transaction

        def write(given: Given) -> None:
            with lend() as driver:
                _insert(driver, given)

        self._repeated(lambda _: self._with_projections(checked, write))

    def write_unless_stored(self, checked: Sequence[CheckedRun]) -> dict[str, str]:
        """Store those runs whose bytes are not there; imports of several machines take their turn."""
        self._check_schema(for_writing=True)
        digests = [run.sha256 for run in checked]
        ids = {run.id for run in checked}

        def attempt(again: bool) -> dict[str, str]:
            present: dict[str, str] = {}

            def write(given: Given) -> None:
                present.clear()
                with self._transaction() as driver:
                    driver.execute("SELECT pg_advisory_xact_lock(%s)", [_IMPORT_LOCK])
                    present.update(driver.execute(_PRESENT, [digests]).fetchall())
                    _insert(driver, [(run, text) for run, text in given if run.sha256 not in present])

            self._with_projections(checked, write)
            # What an attempt had stored before its connection was lost was not there before this call.
            return {digest: run_id for digest, run_id in present.items() if not (again and run_id in ids)}

        return self._repeated(attempt)

    def rewrite_rows(self, run: StoredRun, rows: RunRows) -> None:
        """Replace what is derived from a run's document."""
        derived = asdict(rows.run)
        assignments = ", ".join(f"{name} = %({name})s" for name in derived)
        statement = f"UPDATE runs SET {assignments}, raw_json = %(raw_json)s::jsonb WHERE id = %(id)s"  # noqa: S608  # names are ours

        def write(text: str | None) -> None:
            with self._transaction() as driver:
                driver.execute(statement, derived | {"raw_json": text, "id": run.id})
                for table in (benchmarks, hardware, run_labels):
                    driver.execute(f"DELETE FROM {table.name} WHERE run_id = %s", [run.id])  # noqa: S608  # ours
                insert_derived(driver, run.id, rows, run.created_at)

        with self._translated():
            write(self._accepted(run.id, projected(run.document)))

    def _with_projections(self, checked: Sequence[CheckedRun], write: Callable[[Given], None]) -> None:
        """Call ``write`` with each run's JSONB text; None where the server turns out to refuse it."""
        given = [(run, projected(run.document)) for run in checked]
        try:
            write(given)
        except (SQLAlchemyError, psycopg.Error) as error:
            if is_collision(error):
                raise RunExistsError(f"a run of this id is in {self.location} already") from error
            if not is_refused_value(error):
                raise
            write([(run, self._accepted(run.id, text)) for run, text in given])

    def _accepted(self, run_id: str, text: str) -> str | None:
        try:
            with self._lending() as driver:
                driver.execute("SELECT %s::jsonb IS NULL", [text])
        except psycopg.Error as error:
            if not is_refused_value(error):
                raise
            logger.warning("run %s is stored, but not in runs.raw_json: JSONB can't hold its document", run_id)
            return None
        return text

    def _repeated(self, write: Callable[[bool], T]) -> T:
        """Call ``write`` again while its connection is lost; it is told whether it was called before."""
        deadline = None
        with self._translated():
            while True:
                try:
                    return write(deadline is not None)
                except (SQLAlchemyError, psycopg.Error) as error:
                    now = time.monotonic()
                    deadline = deadline or now + self._server.connect_timeout
                    if now > deadline or not is_lost(error):
                        raise
                # Not all at the same moment: many clients may have lost the same server.
                time.sleep(random.uniform(0.02, 0.2))  # noqa: S311  # no secret

    def _lending(self) -> AbstractContextManager[Driver]:
        return lending(self._engine)

    def _transaction(self, *, keep: bool = True) -> AbstractContextManager[Driver]:
        return saving(self._engine, self._server, keep=keep)

    # The schema.

    def migrate(
        self, *, dry_run: bool = False, backup: bool = True, progress: Progress | None = None
    ) -> list[str]:
        """Create or upgrade the tables in one transaction, one migrator at a time.

        ``backup`` means nothing here: a copy of a server's database is ``pg_dump``'s business.
        """
        del backup
        status = self.schema_status()
        if status.state in {SchemaState.NEW, SchemaState.FOREIGN}:
            raise self._refusal(status)
        with self._translated(), self._transaction(keep=not dry_run) as driver:
            driver.execute("SET LOCAL statement_timeout = 0")
            driver.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
            # Looked at again: another machine may have upgraded it while this one waited.
            found = schema.examine(lambda sql: driver.execute(sql.encode()).fetchall(), self._dialect)
            if found.status.state in {SchemaState.NEW, SchemaState.FOREIGN}:
                raise self._refusal(found.status)
            self._create_schema(driver)
            return self._upgrade(driver, found, progress)

    def _upgrade(self, driver: Driver, found: schema.Found, progress: Progress | None) -> list[str]:
        from kitt_sql.migrate import apply_pending  # yoyo and sqlparse are needed here only

        if found.legacy is None:
            return apply_pending(driver, "psycopg", self._dialect, progress)
        from kitt_postgres.old_tables import PostgresOldTables
        from kitt_sql.adoption.adopting import adopt

        def apply(until: int, progress: Progress | None) -> None:
            apply_pending(driver, "psycopg", self._dialect, progress, until=until)

        report = adopt(PostgresOldTables(driver), found.legacy, SCHEMA_VERSION, apply, progress)
        for line in report.lines():
            logger.warning("%s: %s", self.location, line)
        return list(found.status.pending)

    def _create_schema(self, driver: Driver) -> None:
        # Asked first: IF NOT EXISTS wants the permission to create even where there is nothing to do.
        name = self._server.schema
        if name and not driver.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [name]).fetchone():
            driver.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))

    def schema_status(self) -> SchemaStatus:
        """Return the schema's version and state, and the bytes of its tables and indexes."""
        status = super().schema_status()
        with self._translated(), self._engine.connect() as connection:
            size = connection.exec_driver_sql(_SIZE, (list(metadata.tables),)).scalar()
        return evolve(status, size_bytes=size or 0)

    def _prepare_schema(self, status: SchemaStatus, *, for_writing: bool) -> bool:
        # Tables in somebody's database are made when they are asked for, not by the way.
        del status, for_writing
        return False

    # Looking after.

    def integrity_findings(self) -> Iterator[Finding]:
        """Yield references to rows that are not there, and runs without a document."""
        with self.reading() as connection:
            missing = list(connection.execute(_WITHOUT_DOCUMENT).scalars())
            broken = [
                (key, number)
                for table in metadata.sorted_tables
                for key in table.foreign_keys
                if (number := connection.execute(_orphans(key)).scalar_one())
            ]
        for key, number in broken:
            child, parent = key.parent.table.name, key.column.table.name
            yield Finding(
                None,
                Severity.DAMAGE,
                f"{number} rows of {child} refer to rows of {parent} that are not there",
            )
        for run_id in missing:
            yield Finding(run_id, Severity.DAMAGE, "its document is missing")

    def _document_of(self, connection: Connection, run_id: str) -> bytes | None:
        document = connection.execute(_DOCUMENT, {"run_id": run_id}).scalar()
        return None if document is None else bytes(document)

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self.location)


def _insert(driver: Driver, given: Given) -> None:
    if len(given) == 1:
        insert_run(driver, *given[0])
    elif given:
        copy_runs(driver, given)


def _orphans(key: ForeignKey) -> Select[int]:
    """Return the number of rows whose reference leads nowhere."""
    child, parent = key.parent.table, key.column.table.alias()
    there = exists().where(parent.c[key.column.name] == key.parent)
    return select(func.count()).select_from(child).where(key.parent.is_not(None), ~there)
