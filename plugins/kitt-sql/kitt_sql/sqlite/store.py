"""The store over one SQLite file."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import evolve
from sqlalchemy import Connection, LargeBinary, Text, bindparam, cast, select

from kitt_core.errors import KittError, MigrationError, RunExistsError
from kitt_core.runs import (
    CheckedRun,
    Finding,
    Progress,
    RunRows,
    SchemaState,
    SchemaStatus,
    Severity,
    StoredRun,
    format_utc,
)
from kitt_core.runs.codec import digest
from kitt_sql import schema
from kitt_sql.dialect import SQLiteDialect
from kitt_sql.records import (
    RunRecords,
    columns_of,
    derived_records,
    insert_statement,
    records_of,
    run_columns,
    with_benchmark_ids,
)
from kitt_sql.sqlite.backup import write_backup
from kitt_sql.sqlite.engine import SQLiteFile, make_engine, saving, writing
from kitt_sql.sqlite.errors import translated
from kitt_sql.store import SqlResultStore
from kitt_sql.tables import SCHEMA_VERSION, benchmarks, hardware, metrics, run_documents, run_labels, runs

__all__ = ["SQLiteStore"]

logger = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds that a migration waits for its turn, if ``busy_timeout`` is not longer."""

# As bytes whatever is stored, so that a damaged document can be read and reported.
_DOCUMENT = select(cast(runs.c.raw_json, LargeBinary)).where(runs.c.id == bindparam("run_id", type_=Text))
_NEXT_BENCHMARK = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'benchmarks'), 0) + 1"


class SQLiteStore(SqlResultStore):
    """Runs in a SQLite file; ``runs.raw_json`` is the document.

    Args:
        file: The database file, and how it is opened.
        auto_migrate: Upgrade an older database before the first write, after a backup, with a warning.
    """

    def __init__(self, file: SQLiteFile, *, auto_migrate: bool = False) -> None:
        engine = make_engine(file)
        super().__init__(engine, writing(engine), SQLiteDialect())
        self._file = file
        self._auto_migrate = auto_migrate
        self._migrating = threading.Lock()

    @property
    def location(self) -> str:
        """The file's path."""
        return str(self._file.path)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The database and the files that SQLite keeps beside it."""
        path = self._file.path
        return (path, *(Path(f"{path}{suffix}") for suffix in ("-wal", "-shm", "-journal")))

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        """Store checked runs in one transaction."""
        records = [records_of(run) for run in checked]
        self._check_schema(for_writing=True)
        with self._translated(), saving(self._engine) as driver:
            self._insert_records(driver, records)

    def write_unless_stored(self, checked: Sequence[CheckedRun]) -> dict[str, str]:
        """Store those runs whose bytes are not there, and look for them in the transaction that stores."""
        digests = [run.sha256 for run in checked]
        wanted = select(run_documents.c.sha256, run_documents.c.run_id).where(run_documents.c.sha256.in_(digests))
        with self._writing() as connection:
            present = {row.sha256: row.run_id for row in connection.execute(wanted)}
            records = [records_of(run) for run in checked if run.sha256 not in present]
            if records:
                self._insert_records(_driver(connection), records)
        return present

    def _insert_records(self, driver: sqlite3.Connection, records: Sequence[RunRecords]) -> None:
        try:
            self._insert(driver, runs, [record.run for record in records])
        except sqlite3.IntegrityError as error:
            raise RunExistsError(f"a run of this id is in {self.location} already") from error
        first = driver.execute(_NEXT_BENCHMARK).fetchone()[0]
        numbered, measured = with_benchmark_ids(records, first)
        self._insert(driver, benchmarks, numbered)
        self._insert(driver, metrics, measured)
        self._insert(driver, hardware, [row for record in records for row in record.hardware])
        self._insert(driver, run_documents, [record.document for record in records])
        self._insert(driver, run_labels, [row for record in records for row in record.labels])

    def rewrite_rows(self, run: StoredRun, rows: RunRows) -> None:
        """Replace what is derived from a run's document."""
        derived = derived_records(run.id, rows, format_utc(run.created_at))
        names = [column.name for column in columns_of(runs)[1:-2]]
        update = f"UPDATE runs SET {', '.join(f'{name} = ?' for name in names)} WHERE id = ?"  # noqa: S608  # names are ours
        with self._writing() as connection:
            driver = _driver(connection)
            connection.exec_driver_sql(update, (*run_columns(rows), run.id))
            for table in (benchmarks, hardware, run_labels):
                connection.execute(table.delete().where(table.c.run_id == run.id))
            first = connection.exec_driver_sql(_NEXT_BENCHMARK).scalar_one()
            self._insert(driver, benchmarks, [(first + i, *row) for i, row in enumerate(derived["benchmarks"])])
            self._insert(driver, metrics, [(first + i, *row) for i, *row in derived["metrics"]])
            self._insert(driver, hardware, derived["hardware"])
            self._insert(driver, run_labels, derived["labels"])
            known = select(run_documents.c.run_id).where(run_documents.c.run_id == run.id)
            if connection.execute(known).first() is None:
                self._insert(driver, run_documents, [(run.id, digest(run.document), None)])

    def integrity_findings(self) -> Iterator[Finding]:
        """Yield what SQLite's own checks find, and runs without a document."""
        with self.reading() as connection:
            problems = [row[0] for row in connection.exec_driver_sql("PRAGMA integrity_check(20)")]
            broken = list(connection.exec_driver_sql("PRAGMA foreign_key_check"))
            missing = [row[0] for row in connection.execute(select(runs.c.id).where(runs.c.raw_json.is_(None)))]
        for problem in problems:
            if problem != "ok":
                yield Finding(None, Severity.DAMAGE, f"integrity check: {problem}")
        for table, rowid, parent, _ in broken:
            yield Finding(
                None, Severity.DAMAGE, f"row {rowid} of {table} refers to a row of {parent} that is not there"
            )
        for run_id in missing:
            yield Finding(run_id, Severity.DAMAGE, "its document is missing")

    def migrate(
        self, *, dry_run: bool = False, backup: bool = True, progress: Progress | None = None
    ) -> list[str]:
        """Create or upgrade the tables in one transaction; a database with runs is copied beside itself first."""
        status = self.schema_status()
        if status.state in {SchemaState.NEW, SchemaState.FOREIGN}:
            raise self._refusal(status)
        if dry_run and status.version is None and not self._file.path.exists():
            return list(status.pending)  # trying it out would leave a file behind
        with ExitStack() as after, self._exclusive(dry_run=dry_run) as connection:
            # Looked at again: another process may have upgraded it while this one waited.
            found = schema.examine(lambda sql: connection.execute(sql).fetchall(), self._dialect)
            if found.status.state in {SchemaState.NEW, SchemaState.FOREIGN}:
                raise self._refusal(found.status)
            if found.status.state is SchemaState.OLD and backup and not dry_run:
                # Made under the lock, so that no other process's save is missing from it; looked at when all is
                # over, because the commit may fail, too.
                after.push(self._removal(self._backed_up(found.status)))
            return self._upgrade(connection, found, progress)

    def _upgrade(
        self, connection: sqlite3.Connection, found: schema.Found, progress: Progress | None
    ) -> list[str]:
        from kitt_sql.migrate import apply_pending  # yoyo and sqlparse are needed here only

        if found.legacy is None:
            return apply_pending(connection, "sqlite3", self._dialect, progress)
        from kitt_sql.adoption.adopting import adopt
        from kitt_sql.sqlite.old_tables import SQLiteOldTables

        def apply(until: int, progress: Progress | None) -> None:
            apply_pending(connection, "sqlite3", self._dialect, progress, until=until)

        report = adopt(SQLiteOldTables(connection), found.legacy, SCHEMA_VERSION, apply, progress)
        for line in report.lines():
            logger.warning("%s: %s", self.location, line)
        return list(found.status.pending)

    def _backed_up(self, status: SchemaStatus) -> Path:
        copy = write_backup(self._file.path, status.version or 0)
        version = "no version" if status.version is None else f"schema version {status.version}"
        logger.warning("%s is upgraded from %s; its copy is %s", self.location, version, copy)
        return copy

    def _removal(self, copy: Path) -> Callable[..., None]:
        """Return what removes the copy if an error turns out to have left the database as it was."""

        def remove(kind: type[BaseException] | None, *rest: object) -> None:
            del rest
            if kind is not None:
                with suppress(KittError):
                    if self.schema_status().state is SchemaState.OLD:
                        copy.unlink(missing_ok=True)

        return remove

    @contextmanager
    def _exclusive(self, *, dry_run: bool) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside the one transaction that a migration is."""
        # Another process's upgrade takes longer than its saves.
        file = evolve(self._file, busy_timeout=max(self._file.busy_timeout, PATIENCE))
        with self._migrating, self._translated(), closing(file.connect()) as connection:
            # Inside a transaction the pragma would be ignored, and rebuilding a table would delete its children.
            connection.execute("PRAGMA foreign_keys=OFF")
            # Views and the tables of others go on meaning the name of a table that is rebuilt.
            connection.execute("PRAGMA legacy_alter_table=ON")
            if not dry_run:
                file.use_wal(connection)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                broken = connection.execute("PRAGMA foreign_key_check").fetchall()
                if broken:
                    raise MigrationError(f"{self.location}: the upgrade would break {len(broken)} references")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            connection.execute("ROLLBACK" if dry_run else "COMMIT")
            self._empty_log(connection)

    def _empty_log(self, connection: sqlite3.Connection) -> None:
        """Bring what was committed into the file itself: nothing that the upgrade removed stays behind.

        Readers may prevent it, or a full disk; then SQLite does it later, and the upgrade is whole all the same.
        """
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA busy_timeout=1000")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def schema_status(self) -> SchemaStatus:
        """Return the schema's version and state; a missing file stays missing."""
        with self._translated():
            if not self._file.path.exists():
                return schema.missing("the file does not exist yet")
        status = super().schema_status()
        with self._translated():
            return evolve(status, size_bytes=self._file.size_bytes())

    def prepares_itself(self, status: SchemaStatus) -> bool:
        """Return whether a save creates the tables or upgrades them."""
        if status.state is SchemaState.MISSING:
            return self._is_empty()
        return status.state is SchemaState.OLD and self._auto_migrate

    def _prepare_schema(self, status: SchemaStatus, *, for_writing: bool) -> bool:
        # A read makes an empty database ready, as it finds no run in it, but upgrades nothing.
        if not self.prepares_itself(status) or (status.state is SchemaState.OLD and not for_writing):
            return False
        self.migrate()
        return True

    def _is_empty(self) -> bool:
        """Whether the database has no table at all, so that making ours can hurt nobody."""
        with self._translated():
            if self._file.is_new():
                return not self._file.is_read_only()
        with self._translated(), self._engine.connect() as connection:
            return not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()

    def _document_of(self, connection: Connection, run_id: str) -> bytes | None:
        document = connection.execute(_DOCUMENT, {"run_id": run_id}).scalar()
        return None if document is None else bytes(document)

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._file.path)

    def _insert(self, driver: sqlite3.Connection, table: Any, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            driver.executemany(insert_statement(table, self._engine.dialect), rows)


def _driver(connection: Connection) -> sqlite3.Connection:
    """Return the driver's own connection."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
