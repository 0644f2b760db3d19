"""The store that the backend ``postgres`` opens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Final

import psycopg
from attrs import asdict
from sqlalchemy import Connection, ForeignKey, Select, Text, bindparam, exists, func, select
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import SQLAlchemyError

from kitt_core.errors import RunExistsError
from kitt_core.runs import CheckedRun, Finding, RunRows, Severity, StoredRun, check_run
from kitt_core.storage import Capability
from kitt_postgres.database import PostgresDatabase
from kitt_postgres.dialect import PostgresDialect
from kitt_postgres.errors import is_collision, is_refused_value
from kitt_postgres.options import CAPABILITIES, PostgresOptions
from kitt_postgres.projection import projected
from kitt_postgres.server import Driver
from kitt_postgres.writing import copy_runs, insert_derived, insert_run, metrics_of, name_ids
from kitt_sql.rollup import forget_run
from kitt_sql.schema.tables import benchmarks, hardware, metadata, rolled_runs, run_documents, run_labels, runs
from kitt_sql.store import SqlResultStore

__all__ = ["PostgresResultStore"]

logger = logging.getLogger(__name__)

Given = Sequence[tuple[CheckedRun, str | None]]

_TRIAL: Final = {
    "model": "-",
    "engine": "-",
    "labels": {"-": "-"},
    "system_info": {"ram_gb": 1},
    "results": [{"test_name": "-", "metrics": {"-": 0}}],
}
"""A document with a row in every table that a save writes to."""
_MOST_NAMES: Final = 10_000
_IMPORT_LOCK: Final = 0x4B495454_00000002
_DOCUMENT: Final = select(run_documents.c.document).where(
    run_documents.c.run_id == bindparam("run_id", type_=Text)
)
_FORGET: Final = str(forget_run(PostgresDialect()).compile(dialect=PGDialect_psycopg()))  # type: ignore[no-untyped-call]  # SQLAlchemy has no types there
_PRESENT: Final = "SELECT sha256, run_id FROM run_documents WHERE sha256 = ANY(%s)"
_WITHOUT_DOCUMENT: Final = (
    select(runs.c.id)
    .outerjoin(run_documents, run_documents.c.run_id == runs.c.id)
    .where(run_documents.c.document.is_(None))
)


class PostgresResultStore(SqlResultStore):
    """Runs in PostgreSQL; ``run_documents.document`` is the document, ``runs.raw_json`` a queryable projection.

    A call whose connection is lost is repeated until the server is back, for up to ``restart_timeout`` seconds;
    its id keeps a run from being stored twice.

    Args:
        options: The server, and how to connect to it.

    Raises:
        ConfigurationError: libpq can't read the DSN.
    """

    capabilities: ClassVar[frozenset[Capability]] = CAPABILITIES
    database: PostgresDatabase

    def __init__(self, options: PostgresOptions) -> None:
        super().__init__(PostgresDatabase(options))
        self._names: dict[str, int] = {}

    # Writing.

    def check_writable(self) -> None:
        """Store a run with a row in each table, and roll it back: the server knows best what it would refuse."""
        trial = check_run(_TRIAL)

        def attempt(_: bool) -> None:
            with self.database.raw_writing(keep=False) as driver:
                insert_run(driver, trial, None, name_ids(driver, metrics_of([trial.rows])))

        self.database.repeated(attempt)

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        """Store checked runs in one transaction; a single run takes one statement."""
        lend = self.database.single_statement if len(checked) == 1 else self.database.raw_writing

        def write(given: Given, names: Mapping[str, int]) -> None:
            with lend() as driver:
                _insert(driver, given, names)

        self.database.repeated(lambda _: self._with_projections(checked, write))

    def write_unless_stored(self, checked: Sequence[CheckedRun]) -> dict[str, str]:
        """Store those runs whose bytes are not stored yet; imports by several machines take turns."""
        digests = [run.sha256 for run in checked]
        ids = {run.id for run in checked}

        def attempt(again: bool) -> dict[str, str]:
            present: dict[str, str] = {}

            def write(given: Given, names: Mapping[str, int]) -> None:
                present.clear()
                with self.database.raw_writing() as driver:
                    driver.execute("SELECT pg_advisory_xact_lock(%s)", [_IMPORT_LOCK])
                    present.update(driver.execute(_PRESENT, [digests]).fetchall())
                    _insert(driver, [(run, text) for run, text in given if run.sha256 not in present], names)

            self._with_projections(checked, write)
            # What an earlier attempt stored before it lost its connection is new all the same.
            return {digest: run_id for digest, run_id in present.items() if not (again and run_id in ids)}

        return self.database.repeated(attempt)

    def rewrite_rows(self, run: StoredRun, rows: RunRows) -> None:
        """Replace what is derived from a run's document."""
        derived = asdict(rows.run)
        assignments = ", ".join(f"{name} = %({name})s" for name in derived)
        statement = f"UPDATE runs SET {assignments}, raw_json = %(raw_json)s::jsonb WHERE id = %(id)s"  # noqa: S608  # names are ours

        def write(text: str | None) -> None:
            names = self._numbered([rows])
            with self.database.raw_writing() as driver:
                driver.execute(statement, derived | {"raw_json": text, "id": run.id})
                driver.execute(_FORGET, {"run_id": run.id})
                for table in (benchmarks, hardware, run_labels, rolled_runs):
                    driver.execute(f"DELETE FROM {table.name} WHERE run_id = %s", [run.id])  # noqa: S608  # ours
                insert_derived(driver, run.id, rows, run.created_at, names)

        self.database.repeated(lambda _: write(self._accepted(run.id, projected(run.document))))

    def _numbered(self, runs: Iterable[RunRows]) -> Mapping[str, int]:
        """Return the numbers of at least the metrics that some runs have."""
        known = self._names  # only replaced: several threads may be here
        if unknown := metrics_of(runs) - known.keys():
            with self.database.raw_writing() as driver:
                found = name_ids(driver, unknown)
            known = known | found
            self._names = known if len(known) <= _MOST_NAMES else {}
        return known

    def _with_projections(
        self, checked: Sequence[CheckedRun], write: Callable[[Given, Mapping[str, int]], None]
    ) -> None:
        """Call ``write`` with each run's JSONB text; None where the server turns out to refuse it."""
        names = self._numbered(run.rows for run in checked)
        given = [(run, projected(run.document)) for run in checked]
        try:
            write(given, names)
        except (SQLAlchemyError, psycopg.Error) as error:
            if is_collision(error):
                raise RunExistsError(f"a run with this id is in {self.location} already") from error
            if not is_refused_value(error):
                raise
            write([(run, self._accepted(run.id, text)) for run, text in given], names)

    def _accepted(self, run_id: str, text: str) -> str | None:
        try:
            with self.database.raw_connection() as driver:
                driver.execute("SELECT %s::jsonb IS NULL", [text])
        except psycopg.Error as error:
            if not is_refused_value(error):
                raise
            logger.warning("run %s is stored, but not in runs.raw_json: JSONB can't hold its document", run_id)
            return None
        return text

    # Verifying.

    def integrity_findings(self) -> Iterator[Finding]:
        """Yield references to missing rows, and runs without a document."""

        def read(connection: Connection) -> tuple[list[str], list[tuple[ForeignKey, int]]]:
            return list(connection.execute(_WITHOUT_DOCUMENT).scalars()), [
                (key, number)
                for table in metadata.sorted_tables
                for key in table.foreign_keys
                if (number := connection.execute(_orphans(key)).scalar_one())
            ]

        missing, broken = self.database.read(read)
        for key, number in broken:
            child, parent = key.parent.table.name, key.column.table.name
            yield Finding(None, Severity.DAMAGE, f"rows of {child} that refer to missing {parent}: {number}")
        for run_id in missing:
            yield Finding(run_id, Severity.DAMAGE, "its document is missing")

    def document_of(self, connection: Connection, run_id: str) -> bytes | None:
        """Return the verbatim bytes of a run."""
        document = connection.execute(_DOCUMENT, {"run_id": run_id}).scalar()
        return None if document is None else bytes(document)


def _insert(driver: Driver, given: Given, names: Mapping[str, int]) -> None:
    if len(given) == 1:
        ((run, raw_json),) = given
        insert_run(driver, run, raw_json, names)
    elif given:
        copy_runs(driver, given, names)


def _orphans(key: ForeignKey) -> Select[int]:
    """Return a statement that counts the rows whose reference is broken."""
    child, parent = key.parent.table, key.column.table.alias()
    there = exists().where(parent.c[key.column.name] == key.parent)
    return select(func.count()).select_from(child).where(key.parent.is_not(None), ~there)
