"""Old tables in PostgreSQL: renamed with every index, constraint and sequence whose name the new tables need."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from psycopg.types.json import Jsonb

from kitt_core.errors import InvalidDocumentError
from kitt_core.runs import CheckedRun
from kitt_postgres.projection import projected
from kitt_postgres.server import Driver
from kitt_postgres.writing import copy_runs, metrics_of, name_ids
from kitt_sql.adoption.old_tables import ASIDE, AdoptedRun, OldRun, OldTables

__all__ = ["PostgresOldTables"]

_PORTION: Final = 32
_ROWS: Final = 500
_LOCK_TIMEOUT: Final = "30s"

_HOME: Final = """SELECT nspname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
    WHERE pg_class.oid = to_regclass(%s)"""
_CONSTRAINTS: Final = """SELECT quote_ident(conname), oid::text FROM pg_catalog.pg_constraint
    WHERE conrelid = to_regclass(%s)"""
_INDEXES: Final = "SELECT indexrelid::regclass::text FROM pg_catalog.pg_index WHERE indrelid = to_regclass(%s)"
_SEQUENCES: Final = """SELECT s.oid::regclass::text FROM pg_catalog.pg_class s WHERE s.relkind = 'S' AND (
    s.oid = to_regclass(%s) OR EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = s.oid
        AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjid = to_regclass(%s)))"""
_GRANTS: Final = """SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
        string_agg(privilege_type, ', '), is_grantable
    FROM pg_catalog.pg_class, pg_catalog.aclexplode(relacl)
    WHERE pg_class.oid = to_regclass(%s) AND grantee <> relowner AND privilege_type = ANY(%s) GROUP BY 1, 3"""
_PRIVILEGES: Final = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]
_COLUMNS: Final = """SELECT attname FROM pg_catalog.pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""


class PostgresOldTables(OldTables):
    """Old tables behind a connection that is inside a write transaction."""

    mark = "%s"

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._sequences: dict[str, list[str]] = {}
        self._grants: dict[str, list[tuple[Any, ...]]] = {}

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows, if it has any."""
        # Without parameters a percent sign is literal.
        cursor = self._driver.execute(statement.encode(), parameters or None, prepare=False)
        return cursor.fetchall() if cursor.description else []

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once per row."""
        with self._driver.cursor() as cursor:
            cursor.executemany(statement.encode(), rows)

    def set_aside(self, tables: Iterable[str]) -> None:
        """Rename the tables and what belongs to them; the new ones are made in the same schema."""
        names = list(tables)
        # KITT 1.x leaves its connections inside a transaction after a read: one of them would block this forever.
        self.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        ((home,),) = self.execute(_HOME, [names[0]])
        self.execute("SELECT set_config('search_path', quote_ident(%s), true)", [home])
        for name in names:
            self._grants[name] = self.execute(_GRANTS, [name, _PRIVILEGES])
            # Renaming a key's constraint renames its index; the server would add a number to a name in use.
            for constraint, number in self.execute(_CONSTRAINTS, [name]):
                self.execute(f"ALTER TABLE {name} RENAME CONSTRAINT {constraint} TO {ASIDE}{number}")
            for (index,) in self.execute(_INDEXES, [name]):
                self._rename("INDEX", index)
            found = self.execute(_SEQUENCES, [f"{name}_id_seq", name])
            self._sequences[name] = [self._rename("SEQUENCE", sequence) for (sequence,) in found]
            self.execute(f"ALTER TABLE {name} RENAME TO {ASIDE}{name}")

    def _rename(self, kind: str, name: str) -> str:
        """Rename to the object's OID: with a prefix the name could become too long."""
        ((number,),) = self.execute("SELECT to_regclass(%s)::oid::text", [name])
        self.execute(f"ALTER {kind} {name} RENAME TO {ASIDE}{number}")
        return f"{ASIDE}{number}"

    def continue_numbers(self, tables: Iterable[str]) -> None:
        """Make the new sequences continue after the old numbers."""
        for name in tables:
            ((greatest,),) = self.execute(f"SELECT max(id) FROM {ASIDE}{name}")  # noqa: S608  # ours
            last = max([greatest or 0, *self._given(name)])
            if last:
                self.execute("SELECT setval(%s, %s)", [f"{name}_id_seq", last])

    def _given(self, name: str) -> Iterator[int]:
        """Yield the last numbers of the old sequences that were used."""
        for sequence in self._sequences[name]:
            yield from (row[0] for row in self.execute(f"SELECT last_value FROM {sequence} WHERE is_called"))  # noqa: S608  # ours

    def new_columns(self, table: str) -> list[str]:
        """Ask the catalogue."""
        return [row[0] for row in self.execute(_COLUMNS, [table])]

    def stream(self, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield rows through a server-side cursor, in the order of their first column, the key."""
        yield from self._streamed(f"SELECT {', '.join(columns)} FROM {ASIDE}{table} ORDER BY 1", _ROWS)  # noqa: S608  # ours

    def _streamed(self, statement: str, portion: int) -> Iterator[tuple[Any, ...]]:
        with self._driver.cursor(name=f"{ASIDE}rows") as cursor:
            cursor.itersize = portion
            cursor.execute(statement.encode())
            yield from cursor

    def created_value(self, _: Any, moment: datetime | None) -> datetime:
        """Return the instant."""
        return moment or datetime.now(UTC)

    def time_value(self, moment: datetime | None) -> datetime | None:
        """Return the instant."""
        return moment

    def json_value(self, text: Any) -> Jsonb:
        """Make JSONB of a text; what is not JSON becomes a JSON string."""
        if not isinstance(text, str):
            return Jsonb(text)
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        # The rules for documents apply here as well; they expect an object.
        return Jsonb(json.loads(projected(json.dumps({"": value}).encode()))[""])

    def runs(self, columns: Sequence[str]) -> Iterator[list[OldRun]]:
        """Yield runs by the time they were saved: rows have no order here."""
        selected = ", ".join(("id", "raw_json::text", *columns))
        order = ("created_at", "id") if "created_at" in columns else ("id",)
        statement = f"SELECT {selected} FROM {ASIDE}runs ORDER BY {', '.join(order)}"  # noqa: S608  # ours
        portion: list[OldRun] = []
        for run_id, document, *values in self._streamed(statement, _PORTION):
            data = None if document is None else document.encode()
            portion.append(OldRun(None, run_id, data, dict(zip(columns, values, strict=True))))
            if len(portion) == _PORTION:
                yield portion
                portion = []
        if portion:
            yield portion

    def write_runs(self, runs: Sequence[AdoptedRun]) -> None:
        """Copy the runs in; JSONB's own text is their document from now on."""
        copy_runs(
            self._driver,
            [
                (
                    CheckedRun(run.id, run.old.document or b"", run.created_at, run.sha256 or "", run.rows),
                    self._projection(run.old.document),
                )
                for run in runs
            ],
            name_ids(self._driver, metrics_of(run.rows for run in runs)),
        )
        missing = [run.id for run in runs if run.old.document is None]
        if missing:
            self.execute("DELETE FROM run_documents WHERE run_id = ANY(%s)", [missing])

    @staticmethod
    def _projection(document: bytes | None) -> str | None:
        if document is None:
            return None
        try:
            return projected(document)
        except InvalidDocumentError:  # not an object; JSONB held it, and can do so again
            return document.decode()

    def discard(self, tables: Iterable[str]) -> None:
        """Drop the old tables, and grant on the new ones what was granted on the old."""
        names = list(tables)
        # In one statement: they refer to each other, and their order is not known.
        together = ", ".join(f"{ASIDE}{name}" for name in names)
        self.execute(f"DROP TABLE {together}")
        for sequence in (sequence for name in names for sequence in self._sequences[name]):
            self.execute(f"DROP SEQUENCE IF EXISTS {sequence}")
        for name in names:
            for grantee, privileges, grantable in self._grants[name]:
                option = " WITH GRANT OPTION" if grantable else ""
                self.execute(f"GRANT {privileges} ON {name} TO {grantee}{option}")
