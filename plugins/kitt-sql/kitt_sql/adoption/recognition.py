"""Whether a database is one of KITT 1.x, and what is odd about it: judged by what exists, not by its version."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from kitt_sql.adoption.kitt1_schema import COLUMNS_SINCE, TABLES
from kitt_sql.schema.tables import metadata

__all__ = ["Legacy", "Read", "oddities", "recognise"]

Read = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a statement without parameters and returns its rows."""


@frozen
class Legacy:
    """A database of KITT 1.x.

    Attributes:
        columns: The columns of each table that has one of KITT's names.
        versions: The rows of ``schema_version``, as they are.
    """

    columns: Mapping[str, Collection[str]]
    versions: tuple[int, ...]

    @property
    def version(self) -> int | None:
        """The greatest positive number in ``schema_version``; None without any."""
        return max((number for number in self.versions if number > 0), default=None)

    def has(self, table: str, column: str | None = None) -> bool:
        """Whether there is such a table, or such a column."""
        return table in self.columns and (column is None or column in self.columns[table])


def recognise(
    columns: Mapping[str, Collection[str]], versions: Sequence[int], *, alone: Callable[[], bool]
) -> Legacy | None:
    """Return the database if KITT 1.x made it, None if it is somebody else's.

    Args:
        columns: Of each table that has one of our names.
        versions: The rows of ``schema_version``.
        alone: Whether the database holds no other tables. An installation that was killed while it made its
            first tables may have no ``runs`` yet, but a lone ``schema_version`` could be anybody's.
    """
    known = {name: found for name, found in columns.items() if name in TABLES}
    if not known or set(columns) - set(known):
        return None
    if not all(set(TABLES[name].shape) <= set(found) for name, found in known.items()):
        return None
    if "runs" in known and ("schema_version" in known or {"benchmarks", "metrics"} <= set(known)):
        return Legacy(known, tuple(versions))
    return Legacy(known, tuple(versions)) if "schema_version" in known and alone() else None


def oddities(legacy: Legacy, read: Read) -> Iterator[str]:
    """Yield what a user should know before an upgrade, one line each; reads few rows, however many there are."""
    yield from _of_versions(legacy)
    if legacy.version is not None:
        yield from _of_tables(legacy, legacy.version)
    strange = sorted(
        f"{name}.{column}"
        for name, found in legacy.columns.items()
        for column in set(found) - {known.name for known in metadata.tables[name].columns}
    )
    if strange:
        yield f"columns that are not KITT's will not be kept: {', '.join(strange)}"
    if legacy.has("agents", "token"):
        (tokens,) = read("SELECT count(*) FROM agents WHERE token <> ''")[0]
        if tokens:
            yield f"agents with their token in plain text, of which the upgrade keeps only the hash: {tokens}"


def _of_versions(legacy: Legacy) -> Iterator[str]:
    numbers = [number for number in legacy.versions if number > 0]
    if strange := sorted(set(legacy.versions).difference(numbers)):
        yield f"schema_version has numbers that are not versions: {', '.join(map(str, strange))}"
    if not numbers:
        yield "no version is recorded"
        return
    found = set(numbers)
    doubles = len(numbers) - len(found)
    if doubles:
        yield f"surplus rows in schema_version: {doubles}"
    missing = sorted(set(range(1, max(found) + 1)) - found)
    if missing and len(numbers) > 1:
        yield f"schema_version lacks {', '.join(map(str, missing))}"


def _of_tables(legacy: Legacy, version: int) -> Iterator[str]:
    lost = [table.name for table in TABLES.values() if table.since <= version and not legacy.has(table.name)]
    if lost:
        yield f"tables of version {version} are missing: {', '.join(lost)}"
    early = [name for name in legacy.columns if TABLES[name].since > version]
    if early:
        yield f"tables of a later version already exist: {', '.join(early)}"
    for (table, column), since in COLUMNS_SINCE.items():
        if legacy.has(table) and legacy.has(table, column) != (since <= version):
            state = "already exists" if since > version else "is missing"
            yield f"column {table}.{column} of version {since} {state}"
