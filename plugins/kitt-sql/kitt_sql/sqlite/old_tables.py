"""Old tables in SQLite: renamed, read by row number, emptied as the new ones fill, so the file hardly grows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any, Final

from kitt_core.runs import format_utc
from kitt_sql.adoption.kitt1_schema import as_text
from kitt_sql.adoption.old_tables import ASIDE, AdoptedRun, OldRun, OldTables
from kitt_sql.schema.tables import benchmarks, runs
from kitt_sql.sqlite.writing import RunRecords, columns_of, derived_records, insert_derived, run_columns

__all__ = ["SQLiteOldTables"]

_PORTION: Final = 32
_BYTES: Final = 16 * 1024 * 1024
_ZEROS: Final = 16 * 1024 * 1024
_CACHE: Final = 64 * 1024
"""KiB of pages that are kept in memory: what doesn't fit is written more than once."""


class SQLiteOldTables(OldTables):
    """Old tables behind a connection that is inside a write, with foreign keys off."""

    mark = "?"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._numbers: dict[str, int] = {}
        self._next_benchmark = 1
        connection.execute(f"PRAGMA cache_size = -{_CACHE}")
        connection.text_factory = _text

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        return self._connection.execute(statement, parameters).fetchall()

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once per row."""
        self._connection.executemany(statement, rows)

    def set_aside(self, tables: Iterable[str]) -> None:
        """Drop indexes and triggers, whose names are needed, and rename the tables."""
        names = list(tables)
        if "agents" in names:
            self._overwrite_free_pages()
        if self.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"):
            self._numbers = dict(self.execute("SELECT name, seq FROM sqlite_sequence WHERE seq IS NOT NULL"))
        marks = ", ".join("?" * len(names))
        for kind, name in self.execute(
            "SELECT type, name FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"  # noqa: S608  # marks
            f" AND tbl_name IN ({marks})",
            names,
        ):
            self.execute(f"DROP {kind} {_quoted(name)}")
        for name in names:
            self.execute(f"ALTER TABLE {_quoted(name)} RENAME TO {_quoted(ASIDE + name)}")

    def _overwrite_free_pages(self) -> None:
        """Fill the free pages with zeros: tokens that KITT 1.x removed may still be readable there."""
        free = self.execute("PRAGMA freelist_count")[0][0] * self.execute("PRAGMA page_size")[0][0]
        if not free:
            return
        self.execute(f"CREATE TABLE {ASIDE}zeros (zeros BLOB)")
        while free > 0:
            self.execute(f"INSERT INTO {ASIDE}zeros VALUES (zeroblob(?))", [min(free, _ZEROS)])  # noqa: S608  # ours
            free -= _ZEROS
        self.execute(f"DROP TABLE {ASIDE}zeros")

    def continue_numbers(self, tables: Iterable[str]) -> None:
        """Enter the last number that was used into ``sqlite_sequence``."""
        for name in tables:
            (greatest,) = self.execute(f"SELECT max(rowid) FROM {ASIDE}{name}")[0]  # noqa: S608  # ours
            last = max(self._numbers.get(name, 0), greatest or 0)
            self.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", [name, last])
            if name == benchmarks.name:
                self._next_benchmark = last + 1

    def new_columns(self, table: str) -> list[str]:
        """Ask ``pragma_table_info``."""
        return [row[0] for row in self.execute("SELECT name FROM pragma_table_info(?)", [table])]

    def stream(self, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield rows in the order of their numbers; nothing else changes this table meanwhile."""
        statement = f"SELECT {', '.join(columns)} FROM {ASIDE}{table} ORDER BY rowid"  # noqa: S608  # ours
        yield from self._connection.execute(statement)

    def created_value(self, value: Any, moment: datetime | None) -> str:
        """Keep the old text if it can be sorted."""
        return as_text(value, moment)

    def time_value(self, moment: datetime | None) -> str | None:
        """Return text of fixed width."""
        return None if moment is None else format_utc(moment)

    def json_value(self, text: Any) -> Any:
        """Return it unchanged: JSON is text here."""
        return text

    def runs(self, columns: Sequence[str]) -> Iterator[list[OldRun]]:
        """Yield runs in the order of their row numbers."""
        # The document as bytes, so that even a text that isn't UTF-8 passes.
        selected = ", ".join(("rowid", "id", "CAST(raw_json AS BLOB)", *columns))
        statement = f"SELECT {selected} FROM {ASIDE}runs ORDER BY rowid LIMIT {_PORTION}"  # noqa: S608  # ours
        # What was read is deleted by `write_runs`, so the next portion is always the first.
        while portion := list(self._portion(statement, columns)):
            yield portion

    def _portion(self, statement: str, columns: Sequence[str]) -> Iterator[OldRun]:
        size = 0
        with closing(self._connection.execute(statement)) as cursor:
            for place, key, document, *values in cursor:
                run_id = None if key is None else str(key)
                yield OldRun(place, run_id, document, dict(zip(columns, values, strict=True)))
                size += len(document or b"")
                if size > _BYTES:
                    return

    def write_runs(self, given: Sequence[AdoptedRun]) -> None:
        """Insert runs; documents go from table to table without passing through Python."""
        records = [self._records(run) for run in given]
        names = [column.name for column in columns_of(runs)]
        values = ["CAST(raw_json AS TEXT)" if name == "raw_json" else "?" for name in names]
        self.execute_many(
            f"INSERT INTO runs ({', '.join(names)}) SELECT {', '.join(values)} FROM {ASIDE}runs WHERE rowid = ?",  # noqa: S608  # ours
            [(*record.run, run.old.place) for record, run in zip(records, given, strict=True)],
        )
        self._next_benchmark = insert_derived(self._connection, records, self._next_benchmark)
        self.execute(f"DELETE FROM {ASIDE}runs WHERE rowid <= ?", [given[-1].old.place])  # noqa: S608  # ours

    def _records(self, run: AdoptedRun) -> RunRecords:
        created_at = as_text(run.old.columns.get("created_at"), run.created_at)
        return RunRecords(
            run=(run.id, *run_columns(run.rows), created_at),
            **derived_records(run.id, run.rows, created_at),
            document=None if run.sha256 is None else (run.id, run.sha256, None),
        )

    def discard(self, tables: Iterable[str]) -> None:
        """Drop the old tables; the pages that held tokens become zeros."""
        (usual,) = self.execute("PRAGMA secure_delete")[0]
        for name in tables:
            self.execute(f"PRAGMA secure_delete = {'ON' if name == 'agents' else usual}")
            self.execute(f"DROP TABLE {ASIDE}{name}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
