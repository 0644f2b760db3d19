"""What the two databases do differently while rows move from the old tables into the new ones."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

from attrs import field, frozen

from kitt_core.runs import RunRows

__all__ = ["ASIDE", "AdoptedRun", "OldRun", "OldTables", "Remark"]

ASIDE: Final = "_kitt1_"
"""The prefix of an old table's name while the new one is filled."""

Remark = Callable[[str, object], None]
"""Adds to the report of the adoption: what was odd or changed, and the row that it was seen in."""


@frozen
class OldRun:
    """A row of the old ``runs``.

    Attributes:
        place: Where the row is, for the database's own use.
        id: Its id; None if it has none, which SQLite allows in a text key.
        document: The bytes of ``raw_json``, None if there are none.
        columns: The other columns that are there.
    """

    place: Any
    id: str | None
    document: bytes | None = field(repr=False)
    columns: Mapping[str, Any] = field(repr=False)


@frozen
class AdoptedRun:
    """A run on its way into the new tables."""

    old: OldRun
    id: str
    created_at: datetime
    sha256: str | None
    rows: RunRows = field(repr=False)


class OldTables(abc.ABC):
    """The tables of KITT 1.x, inside the transaction that adopts them.

    Attributes:
        mark: The placeholder of a parameter.
    """

    mark: ClassVar[str]

    @abc.abstractmethod
    def set_aside(self, tables: Iterable[str]) -> None:
        """Rename the tables, and free every name that a migration needs."""

    @abc.abstractmethod
    def discard(self, tables: Iterable[str]) -> None:
        """Drop what was set aside, leaving nothing of its secrets behind."""

    @abc.abstractmethod
    def continue_numbers(self, tables: Iterable[str]) -> None:
        """Make the new tables continue the numbers of the old ones, so that none is used twice."""

    @abc.abstractmethod
    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows, if it has any."""

    @abc.abstractmethod
    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once per row."""

    @abc.abstractmethod
    def stream(self, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of an old table in the order in which they were made."""

    @abc.abstractmethod
    def new_columns(self, table: str) -> list[str]:
        """Return the columns of a new table, in order."""

    @abc.abstractmethod
    def created_value(self, value: Any, moment: datetime | None) -> Any:
        """Return the value for a column that says when its row was made; ``value`` is the old one."""

    @abc.abstractmethod
    def time_value(self, moment: datetime | None) -> Any:
        """Return the value for a column with an optional time."""

    @abc.abstractmethod
    def json_value(self, text: Any) -> Any:
        """Return the value for a JSON column."""

    @abc.abstractmethod
    def runs(self, columns: Sequence[str]) -> Iterator[list[OldRun]]:
        """Yield the old runs in the order in which they were saved, in portions that fit into memory."""

    @abc.abstractmethod
    def write_runs(self, runs: Sequence[AdoptedRun]) -> None:
        """Insert runs with all their rows; the old rows may go at once."""

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows into a new table."""
        values = ", ".join([self.mark] * len(columns))
        self.execute_many(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})", rows)  # noqa: S608  # ours

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        return int(self.execute(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608  # ours
