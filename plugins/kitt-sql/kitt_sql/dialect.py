"""Where the two databases differ in a query, one strategy object each."""

from __future__ import annotations

import abc
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Table,
    Text,
    bindparam,
    case,
    column,
    func,
    literal,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.types import Double

from kitt_sql.schema.released import SQLITE_MACROS
from kitt_sql.schema.tables import runs

__all__ = ["QueryDialect", "SQLiteDialect"]

_SCALE: Final = 2.0**-600


class QueryDialect(abc.ABC):
    """How one database compares text and takes lists.

    Attributes:
        macros: Replace the macros of the migrations.
        list_tables: A statement whose rows name the tables and views that an unqualified name can mean.
        own_tables: Those of them that are the database's own, or a migration tool's.
        adoption_note: What to know before a database of KITT 1.x is adopted; None if there is nothing.
        no_limit: The value of LIMIT that means no limit.
        rolls_up_later: Whether `kitt_sql.rollup` lacks the runs that were saved last.
        positioned: The table whose rows `scan_position` numbers.
    """

    macros: Mapping[str, str]
    list_tables: str
    own_tables: AbstractSet[str] = frozenset({"_yoyo_migration", "_yoyo_log", "_yoyo_version", "yoyo_lock"})
    adoption_note: str | None = None
    no_limit: int | None
    rolls_up_later: bool
    positioned: Table

    @abc.abstractmethod
    def list_columns(self, tables: Iterable[str]) -> str:
        """Return a statement whose rows are table and column, for those ``tables`` that exist.

        A view has no columns here: it may be broken, and it is not a table of ours.
        """

    @abc.abstractmethod
    def among(self, text: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Return the test whether ``text`` is in the list bound as ``name``: one parameter, however long it is."""

    @abc.abstractmethod
    def list_value(self, values: Sequence[str]) -> Any:
        """Return the list in the form that `among` binds."""

    @abc.abstractmethod
    def like(self, text: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Return the test whether ``text`` matches the pattern bound as ``name``, case-sensitively."""

    @abc.abstractmethod
    def pattern_value(self, pattern: str) -> str:
        """Return a pattern in which only ``*`` is special, in the form that `like` binds."""

    @abc.abstractmethod
    def folded(self, text: ColumnElement[Any]) -> ColumnElement[str]:
        """Return ``text`` as `str.casefold` gives it."""

    @abc.abstractmethod
    def contains(self, text: ColumnElement[str], name: str) -> ColumnElement[bool]:
        """Return the test whether ``text`` contains the text bound as ``name``."""

    @abc.abstractmethod
    def code_points(self, text: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return ``text`` so that it sorts and compares by code point."""

    @abc.abstractmethod
    def total(self, number: ColumnElement[float]) -> ColumnElement[float]:
        """Return the sum of finite numbers; infinite where it is beyond a double, or may be."""

    @abc.abstractmethod
    def average(self, number: ColumnElement[float]) -> ColumnElement[float]:
        """Return the mean of finite numbers."""

    @abc.abstractmethod
    def numbers_in(self, text: ColumnElement[str]) -> Select[int]:
        """Return the integers in a JSON array."""

    @abc.abstractmethod
    def same_run(self, run_id: ColumnElement[str]) -> ColumnElement[bool]:
        """Return the join of ``runs`` with ``run_id`` that looks up many runs and none of their documents."""

    @abc.abstractmethod
    def scan_position(self) -> ColumnElement[int]:
        """Return the number of each run; a run that is inserted gets one above all others."""

    @abc.abstractmethod
    def period(self, moment: ColumnElement[Any], name: str) -> ColumnElement[Any]:
        """Return the day, the Monday of the week, or the month of a time in UTC: one of `PERIODS`, as text."""

    def instant(self, moment: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return a time in a form that can be sorted, even if a column's default has written it."""
        return moment


class SQLiteDialect(QueryDialect):
    """SQLite: binary collation is code-point order already; ``kitt_casefold`` is defined by the engine."""

    macros = SQLITE_MACROS
    list_tables = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
    own_tables = QueryDialect.own_tables | {"sqlite_sequence", "sqlite_stat1", "sqlite_stat4"}
    no_limit = -1
    rolls_up_later = True
    positioned = runs

    def list_columns(self, tables: Iterable[str]) -> str:
        """Ask ``pragma_table_info``."""
        names = ", ".join(f"'{name}'" for name in tables)
        return (
            "SELECT m.name, coalesce(c.name, '') FROM sqlite_master AS m LEFT JOIN"  # noqa: S608  # names are ours
            " pragma_table_info(CASE WHEN m.type = 'table' AND m.sql NOT LIKE 'CREATE VIRTUAL%' THEN m.name END)"
            f" AS c WHERE m.type IN ('table', 'view') AND m.name IN ({names})"
        )

    def among(self, text: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Use the rows of a JSON array."""
        rows = func.json_each(bindparam(name, type_=Text)).table_valued(column("value", Text))
        return text.in_(select(rows.c.value))

    def list_value(self, values: Sequence[str]) -> str:
        """Return a JSON array."""
        return json.dumps(list(values), ensure_ascii=False)

    def like(self, text: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Use GLOB: LIKE ignores case."""
        return text.op("GLOB", is_comparison=True)(bindparam(name, type_=Text))

    def pattern_value(self, pattern: str) -> str:
        """Put GLOB's other special characters into brackets."""
        return pattern.replace("[", "[[]").replace("?", "[?]")

    def folded(self, text: ColumnElement[Any]) -> ColumnElement[str]:
        """Use the engine's own function: SQLite's ``lower`` knows ASCII only."""
        return func.kitt_casefold(text, type_=Text)

    def contains(self, text: ColumnElement[str], name: str) -> ColumnElement[bool]:
        """Use ``instr``."""
        return func.instr(text, bindparam(name, type_=Text)) > 0

    def code_points(self, text: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return it unchanged."""
        return text

    def total(self, number: ColumnElement[float]) -> ColumnElement[float]:
        """Use ``sum``, which overflows to infinity."""
        return func.sum(number)

    def average(self, number: ColumnElement[float]) -> ColumnElement[float]:
        """Use ``avg``; where its sum overflows, the average of the numbers scaled down."""
        plain = func.avg(number)
        scaled = func.avg(number * literal(_SCALE, Double)) / literal(_SCALE, Double)
        return case((func.abs(plain) <= literal(sys.float_info.max, Double), plain), else_=scaled)

    def numbers_in(self, text: ColumnElement[str]) -> Select[int]:
        """Use ``json_each``."""
        rows = func.json_each(text).table_valued(column("value", Integer))
        return select(rows.c.value)

    def same_run(self, run_id: ColumnElement[str]) -> ColumnElement[bool]:
        """Ask for a range: for one id SQLite would not use the index that has the columns, but read each row."""
        return runs.c.id.between(run_id, run_id)

    def scan_position(self) -> ColumnElement[int]:
        """Use the row number."""
        return literal_column(f"{runs.name}.rowid", Integer)

    def period(self, moment: ColumnElement[Any], name: str) -> ColumnElement[Any]:
        """Cut the text, whose offset is always zero."""
        day = func.substr(type_coerce(moment, Text), 1, literal_column("7" if name == "month" else "10"))
        if name != "week":
            return day
        # From six days before to the next Monday: SQLite knows no day after 9999-12-31.
        return func.date(day, literal_column("'-6 days'"), literal_column("'weekday 1'"))

    def instant(self, moment: ColumnElement[Any]) -> ColumnElement[Any]:
        """Extend the texts that adoption keeps, ``datetime('now')`` or no offset, to the fixed width."""
        text = func.replace(type_coerce(moment, Text), " ", "T")
        rest = case((func.length(text) == literal(19), literal(".000000+00:00")), else_=literal("+00:00"))
        return type_coerce(func.substr(text.concat(rest), 1, 32), moment.type)
