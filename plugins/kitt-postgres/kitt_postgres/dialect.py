"""How PostgreSQL compares text and takes lists, so that it answers as every other backend does."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by
from sqlalchemy.types import Double

from kitt_sql.dialect import QueryDialect
from kitt_sql.schema.released import POSTGRESQL_MACROS
from kitt_sql.schema.tables import run_documents, runs

__all__ = ["PostgresDialect"]

_CODE_POINTS: Final = "C"
_SUMMABLE: Final = 1e290
"""Sums of numbers below it stay below the largest double, however many there are."""
_SQUARABLE: Final = 1e140
"""The same for sums of squares: ``avg`` computes them as well, and fails if they overflow."""
_SCALE: Final = 2.0**-600


@cache
def _casefold_table() -> dict[str, str]:
    characters = map(chr, range(0x80, sys.maxunicode + 1))
    return {character: folded for character in characters if (folded := character.casefold()) != character}


_CASEFOLD_TABLE: Final = bindparam("casefold_table", type_=JSONB, callable_=_casefold_table)


class PostgresDialect(QueryDialect):
    """PostgreSQL 13 and newer, whatever the database's collation."""

    macros = POSTGRESQL_MACROS
    list_tables = (
        "SELECT relname FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')"
        " AND pg_catalog.pg_table_is_visible(oid)"
        " AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
    )
    adoption_note = (
        "KITT 1.x kept its documents only as JSONB, whose text becomes the document; the order of keys and the"
        " spelling of numbers were lost before"
    )
    no_limit = None
    rolls_up_later = False
    positioned: Table = run_documents

    def list_columns(self, tables: Iterable[str]) -> str:
        """Ask the catalogue."""
        names = ", ".join(f"'{name}'" for name in tables)
        return (
            "SELECT relname::text, coalesce(attname::text, '') FROM pg_catalog.pg_class"  # noqa: S608  # names are ours
            " LEFT JOIN pg_catalog.pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped"
            " AND relkind IN ('r', 'p')"
            " WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_catalog.pg_table_is_visible(pg_class.oid)"
            f" AND relname IN ({names})"
        )

    def among(self, text: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Use an array."""
        return text == any_(bindparam(name, type_=ARRAY(Text)))

    def list_value(self, values: Sequence[str]) -> list[str]:
        """Return a list: the driver makes an array of it."""
        return list(values)

    def like(self, text: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Use LIKE, which is case-sensitive here."""
        return text.like(bindparam(name, type_=Text))

    def pattern_value(self, pattern: str) -> str:
        r"""Escape LIKE's own special characters with its default escape, a backslash."""
        escaped = pattern.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        return escaped.replace("*", "%")

    def folded(self, text: ColumnElement[Any]) -> ColumnElement[str]:
        """Fold ASCII by ``lower``; any other text character by character, by Python's own table.

        The server's ``lower`` is not case folding (``ß`` is ``ss``) and depends on its locale.
        """
        lowered = func.lower(text.collate(_CODE_POINTS))  # ASCII, whatever the locale
        characters = (
            func.regexp_split_to_table(lowered, "")
            .table_valued(column("character", Text), with_ordinality="place")
            .render_derived()
        )
        character = characters.c.character
        folded = func.coalesce(_CASEFOLD_TABLE.op("->>")(character), character)
        separator = aggregate_order_by(literal(""), characters.c.place.asc())
        whole = select(func.string_agg(folded, separator)).scalar_subquery()
        ascii_only = func.octet_length(text) == func.char_length(text)
        return case((ascii_only, lowered), else_=whole)

    def contains(self, text: ColumnElement[str], name: str) -> ColumnElement[bool]:
        """Use ``strpos``."""
        return func.strpos(text, bindparam(name, type_=Text)) > 0

    def code_points(self, text: ColumnElement[Any]) -> ColumnElement[Any]:
        """Use the collation ``C``: in UTF-8 the order of bytes is that of code points."""
        return text.collate(_CODE_POINTS)

    def total(self, number: ColumnElement[float]) -> ColumnElement[float]:
        """Use ``sum`` where it can't overflow, which would be an error; elsewhere return infinity."""
        size = func.abs(number)
        small = func.sum(case((size < _SUMMABLE, number)))
        return case((func.max(size) < _SUMMABLE, small), else_=literal(math.inf, Double))

    def average(self, number: ColumnElement[float]) -> ColumnElement[float]:
        """Use ``avg`` where it can't overflow, elsewhere the average of the numbers scaled down."""
        size = func.abs(number)
        small = func.avg(case((size < _SQUARABLE, number)))
        scaled = func.avg(case((size >= 1, number * literal(_SCALE, Double)), else_=literal(0.0, Double)))
        return case((func.max(size) < _SQUARABLE, small), else_=scaled / literal(_SCALE, Double))

    def numbers_in(self, text: ColumnElement[str]) -> Select[int]:
        """Use ``jsonb_array_elements_text``."""
        rows = func.jsonb_array_elements_text(cast(text, JSONB)).table_valued(column("value", Text))
        return select(cast(rows.c.value, Integer))

    def same_run(self, run_id: ColumnElement[str]) -> ColumnElement[bool]:
        """Compare: documents do not lie in the rows."""
        return runs.c.id == run_id

    def scan_position(self) -> ColumnElement[int]:
        """Use a column that ``run_documents`` has only in this database: PostgreSQL's rows have no number."""
        return literal_column(f"{run_documents.name}.position", BigInteger)

    def period(self, moment: ColumnElement[Any], name: str) -> ColumnElement[Any]:
        """Use ``date_trunc``, whose weeks begin on Monday."""
        # Literals: parameters would make the expressions of SELECT and GROUP BY different ones.
        start = func.date_trunc(literal_column(f"'{name}'"), func.timezone(literal_column("'UTC'"), moment))
        return func.to_char(start, literal_column("'YYYY-MM'" if name == "month" else "'YYYY-MM-DD'"))
