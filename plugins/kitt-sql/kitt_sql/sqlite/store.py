"""The store of runs in a SQLite file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, LargeBinary, Text, bindparam, cast, select

from kitt_core.runs import CheckedRun, Finding, RunRows, Severity, StoredRun
from kitt_sql.schema.tables import runs
from kitt_sql.sqlite.database import SQLiteDatabase
from kitt_sql.sqlite.rolling import FreshRun
from kitt_sql.sqlite.writing import insert_runs, records_of, rewrite_run
from kitt_sql.store import SqlResultStore

__all__ = ["SQLiteStore"]

# As bytes whatever is stored, so that a damaged document can be read and reported.
_DOCUMENT: Final = select(cast(runs.c.raw_json, LargeBinary)).where(runs.c.id == bindparam("run_id", type_=Text))
_PRESENT: Final = "SELECT sha256, run_id FROM run_documents WHERE sha256 IN (SELECT value FROM json_each(?))"


class SQLiteStore(SqlResultStore):
    """Runs in a SQLite file; ``runs.raw_json`` is the document.

    Args:
        database: The file; closed with the store.
    """

    database: SQLiteDatabase

    def __init__(self, database: SQLiteDatabase) -> None:
        super().__init__(database)

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        """Store checked runs in one transaction."""
        records = [records_of(run) for run in checked]
        with self.database.raw_writing() as driver:
            inserted = insert_runs(driver, records, self.database.rolling, self.location)
        self.database.rolling.note(inserted)

    def write_unless_stored(self, checked: Sequence[CheckedRun]) -> dict[str, str]:
        """Store those runs whose bytes are not stored yet; the transaction that looks for them stores them."""
        digests = json.dumps([run.sha256 for run in checked])
        inserted: list[FreshRun] = []
        with self.database.raw_writing() as driver:
            present: dict[str, str] = dict(driver.execute(_PRESENT, (digests,)).fetchall())
            records = [records_of(run) for run in checked if run.sha256 not in present]
            if records:
                inserted = insert_runs(driver, records, self.database.rolling, self.location)
        self.database.rolling.note(inserted)
        return present

    def rewrite_rows(self, run: StoredRun, rows: RunRows) -> None:
        """Replace what is derived from a run's document."""
        with self.database.raw_writing() as driver:
            rewrite_run(driver, run, rows)

    def integrity_findings(self) -> Iterator[Finding]:
        """Yield what SQLite's own checks find, and runs without a document."""
        with self.database.reading() as connection:
            problems = [row[0] for row in connection.exec_driver_sql("PRAGMA integrity_check(20)")]
            broken = list(connection.exec_driver_sql("PRAGMA foreign_key_check"))
            missing = [row[0] for row in connection.execute(select(runs.c.id).where(runs.c.raw_json.is_(None)))]
        for problem in problems:
            if problem != "ok":
                yield Finding(None, Severity.DAMAGE, f"integrity check: {problem}")
        for table, rowid, parent, _ in broken:
            yield Finding(None, Severity.DAMAGE, f"row {rowid} of {table} refers to a missing row of {parent}")
        for run_id in missing:
            yield Finding(run_id, Severity.DAMAGE, "its document is missing")

    def document_of(self, connection: Connection, run_id: str) -> bytes | None:
        """Return the verbatim bytes of a run."""
        document = connection.execute(_DOCUMENT, {"run_id": run_id}).scalar()
        return None if document is None else bytes(document)
