"""The store of runs over relational tables: what both databases share.

A subclass writes runs and reads their documents; all other reading, deleting and verifying is here.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, delete, update

from kitt_core.errors import StoreUnavailableError
from kitt_core.runs import (
    Aggregation,
    Cursor,
    Filters,
    Finding,
    Order,
    OrderKey,
    Page,
    Progress,
    RunFilter,
    RunRows,
    RunSummary,
    SchemaStatus,
    Severity,
    Statistic,
    StoredRun,
    check_page,
    format_utc,
    parse_timestamp,
    sought_id,
)
from kitt_core.runs.statistics import compute
from kitt_core.storage import DocumentCheck, ResultStore
from kitt_core.storage.fallbacks import MOST_NAMES, group_order
from kitt_sql import queries
from kitt_sql.conditions import Shape, Values, name_values, read_filter
from kitt_sql.database import SqlDatabase
from kitt_sql.queries import Phase
from kitt_sql.rollup import count_left, forget_run, remove_left, values_of
from kitt_sql.schema.tables import metric_rollup, quick_tests, runs
from kitt_sql.verification import differences, stored_rows

__all__ = ["SqlResultStore"]

_SCAN_PAGE: Final = 200
_SCAN_BYTES: Final = 1 << 20
_DEEP: Final = 1000
"""From this offset on, where it leads is looked up in an index before rows are read."""


class SqlResultStore(ResultStore):
    """Runs in the tables of a database.

    Args:
        database: Closed with the store.

    Attributes:
        database: As given.
    """

    def __init__(self, database: SqlDatabase) -> None:
        self.database = database
        self._dialect = database.dialect

    # What a subclass provides.

    @abc.abstractmethod
    def document_of(self, connection: Connection, run_id: str) -> bytes | None:
        """Return the verbatim bytes of a run, None if there is no such run."""

    @abc.abstractmethod
    def rewrite_rows(self, run: StoredRun, rows: RunRows) -> None:
        """Replace all rows that are derived from a run's document by ``rows``, in one transaction."""

    @abc.abstractmethod
    def integrity_findings(self) -> Iterator[Finding]:
        """Yield what the database itself finds: damaged pages, broken references, runs without a document."""

    # Reading.

    def get_document(self, run_id: str) -> bytes | None:
        """Return the bytes that were saved, None if there is no such run."""
        wanted_id = sought_id(run_id)
        return self.database.read(lambda connection: self.document_of(connection, wanted_id))

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        """Yield the runs that match, in the order they were saved, up to the last one stored at the start."""
        shape, values = self._read_filter(filters)
        return self._scan(shape, values)

    def _scan(self, shape: Shape, values: Values) -> Iterator[StoredRun]:
        statement = queries.scan_page(shape, self._dialect)
        last = self.database.read(lambda c: c.execute(queries.last_position(self._dialect)).scalar())
        bounds = {"after": -1, "last": last, "limit": _SCAN_PAGE}
        while last is not None:
            page = self.database.read(lambda c: c.execute(statement, values | bounds).all())
            if not page:
                return
            bounds["after"] = page[-1][0]
            done = 0
            while done < len(page):
                runs, done = self._next_runs(page, done)
                yield from runs

    def _next_runs(self, page: Sequence[Any], start: int) -> tuple[list[StoredRun], int]:
        """Return runs of a page with their documents, few enough to hold in memory, and where the next begin."""

        def work(connection: Connection) -> tuple[list[StoredRun], int]:
            runs: list[StoredRun] = []
            size, done = 0, start
            while done < len(page) and size < _SCAN_BYTES:
                _, run_id, created_at, sha256 = page[done]
                done += 1
                document = self.document_of(connection, run_id)
                if document is not None:
                    runs.append(StoredRun(run_id, document, created_at, sha256 or ""))
                    size += len(document)
            return runs, done

        return self.database.read(work)

    def list_results(
        self,
        filters: Filters = None,
        *,
        order_by: str = "-timestamp",
        limit: int | None = None,
        offset: int = 0,
        after: str | None = None,
    ) -> Page[RunSummary]:
        """Return one page of summaries, read from rows alone."""
        shape, values = self._read_filter(filters)
        order = Order.parse(order_by)
        check_page(limit, offset)
        start = None if after is None else Cursor.decode(after, order)
        if order.metric is not None:
            values |= {f"order{suffix}": value for suffix, value in name_values(order.metric).items()}
        wanted = None if limit is None else limit + 1
        rows = self.database.read(lambda c: self._page_rows(c, shape, values, order, start, wanted, offset))
        lines = rows if limit is None else rows[:limit]
        cursor = None
        if lines and len(rows) > len(lines):
            cursor = Cursor(str(order), _cursor_key(lines[-1][-1]), lines[-1][0]).encode()
        return Page([RunSummary(*line[:-1]) for line in lines], cursor)

    def _page_rows(
        self,
        connection: Connection,
        shape: Shape,
        values: Values,
        order: Order,
        start: Cursor | None,
        limit: int | None,
        offset: int,
    ) -> list[Any]:
        ordered = queries.order_shape(order)
        cursor: Values = {} if start is None else {"key": _bound_key(start.key, order), "key_id": start.run_id}

        def read(phase: Phase, limit: int | None, offset: int) -> list[Any]:
            parts = queries.order_means(ordered, phase, self._dialect)
            # Of each part as much as if there were no other.
            first, most = (offset, limit) if len(parts) == 1 else (0, None if limit is None else limit + offset)
            bounds = {"limit": self._dialect.no_limit if most is None else most, "offset": first}
            statements = (queries.list_page(shape, ordered, phase, self._dialect, part) for part in parts)
            found = [list(connection.execute(each, values | cursor | bounds).all()) for each in statements]
            if len(found) == 1:
                return found[0]
            rows = sorted(chain(*found), key=lambda row: (row[-1], row[0]), reverse=order.descending)[offset:]
            return rows if limit is None else rows[:limit]

        if start is not None and start.key is None:
            return read(Phase.AFTER_MISSING, limit, offset)
        having_key = Phase.PRESENT if start is None else Phase.AFTER_KEY
        if start is None and offset >= _DEEP and order.metric is None:
            key = connection.execute(
                queries.key_at(shape, ordered, self._dialect), values | {"offset": offset}
            ).scalar()
            if key is not None:
                cursor = {"key": key}
                before = queries.count_before(shape, ordered, self._dialect)
                offset -= connection.execute(before, values | cursor).scalar_one()
                having_key = Phase.FROM_KEY
        rows = read(having_key, limit, offset)
        if len(rows) == limit:
            return rows
        # An offset beyond the runs that have the key goes on among the others.
        beyond = offset - len(read(having_key, offset, 0)) if offset and not rows else 0
        return rows + read(Phase.MISSING, None if limit is None else limit - len(rows), beyond)

    def count(self, filters: Filters = None) -> int:
        """Return how many runs match."""
        shape, values = self._read_filter(filters)
        statement = queries.count_runs(shape, self._dialect)
        return int(self.database.read(lambda c: c.execute(statement, values).scalar_one()))

    def aggregate(
        self,
        group_by: str | Sequence[str],
        metrics: str | Sequence[str] | None = None,
        *,
        statistics: str | Sequence[str] = ("avg",),
        filters: Filters = None,
    ) -> list[dict[str, Any]]:
        """Return a row per group, computed from rows alone."""
        shape, values = self._read_filter(filters)
        wanted = Aggregation.of(group_by, metrics, statistics)
        values |= queries.group_values(wanted.group_by)
        groups = queries.group_counts(shape, queries.group_shape(wanted.group_by), self._dialect)

        def read(connection: Connection) -> tuple[Sequence[Any], list[dict[tuple[Any, ...], dict[str, Any]]]]:
            return connection.execute(groups, values).all(), [
                self._metric_column(connection, shape, values, wanted, name) for name in wanted.metrics
            ]

        counted, columns = self.database.read(read)
        return [
            dict(zip(wanted.group_by, group, strict=True))
            | {"count": number}
            | {
                f"{name}_{statistic}": column.get(tuple(group), {}).get(
                    statistic, 0 if statistic == "count" else None
                )
                for name, column in zip(wanted.metrics, columns, strict=True)
                for statistic in wanted.statistics
            }
            for *group, number in sorted(counted, key=lambda row: group_order(tuple(row[:-1])))
        ]

    def _metric_column(
        self, connection: Connection, shape: Shape, values: Values, wanted: Aggregation, name: str
    ) -> dict[tuple[Any, ...], dict[str, Any]]:
        """Return one metric's statistics by group."""
        bound = values | {f"metric{suffix}": value for suffix, value in name_values(name).items()}
        simple = set(wanted.statistics) <= set(queries.SIMPLE_STATISTICS)
        group_by, splits = queries.group_shape(wanted.group_by), name.count("/")
        width = len(wanted.group_by)
        rolled_up = queries.reads_rollup(group_by, splits)
        if simple:
            if rolled_up:
                parts = queries.group_rollup(shape, group_by, self._dialect, summed_up=True)
                found = _summed_up(chain.from_iterable(connection.execute(part, bound) for part in parts), width)
            else:
                statement = queries.group_metric(shape, group_by, splits, wanted.statistics, self._dialect)
                found = {
                    tuple(row[:width]): dict(zip(wanted.statistics, row[width:], strict=True))
                    for row in connection.execute(statement, bound)
                }
            # A sum may overflow a double; the mean does not.
            if all(math.isfinite(each[statistic]) for each in found.values() for statistic in wanted.statistics):
                # Adding 0 makes 0.0 of -0.0, and leaves a count an integer.
                return {group: {name: value + 0 for name, value in each.items()} for group, each in found.items()}
        grouped: dict[tuple[Any, ...], list[float]] = {}
        if rolled_up:
            parts = queries.group_rollup(shape, group_by, self._dialect, summed_up=False)
            rows = chain.from_iterable(connection.execute(part, bound) for part in parts)
            for *group, entries, least, greatest, numbers in rows:
                grouped.setdefault(tuple(group), []).extend(values_of(entries, least, greatest, numbers))
        else:
            statement = queries.group_metric(shape, group_by, splits, (), self._dialect)
            for row in connection.execute(statement, bound):
                grouped.setdefault(tuple(row[:width]), []).append(row[width])
        return {
            group: {statistic: compute(statistic, numbers) for statistic in wanted.statistics}
            for group, numbers in grouped.items()
        }

    def metric_names(self) -> list[str]:
        """Return the names of the metrics, found in the index on them one by one."""
        limit = {"limit": MOST_NAMES}
        return sorted(self.database.read(lambda c: c.execute(queries.METRIC_NAMES, limit).scalars()))

    # Deleting and verifying.

    def delete_result(self, run_id: str) -> bool:
        """Remove a run with its rows, and the references of quick tests to it."""
        run_id = sought_id(run_id)
        found = False

        def work(connection: Connection) -> None:
            nonlocal found
            connection.execute(update(quick_tests).where(quick_tests.c.result_id == run_id).values(result_id=None))
            connection.execute(forget_run(self._dialect), {"run_id": run_id})
            # Found once is enough: if the answer to COMMIT was lost, a second attempt finds nothing.
            found |= connection.execute(delete(runs).where(runs.c.id == run_id)).rowcount > 0

        self.database.write(work)
        return found

    def verify(self, *, rebuild: bool = False) -> Iterator[Finding]:
        """Yield what is wrong with the database as a whole, with documents, and with the rows derived from them.

        Only an intact document is trusted: the rows of a damaged one may be all that is left of the run.
        ``rebuild`` derives such rows again from their documents.
        """
        self.schema_status()  # what can't even be opened is unavailable, not damaged
        check = DocumentCheck()
        try:
            yield from self.integrity_findings()
            yield from self._left_summaries(rebuild=rebuild)
            for run in self.scan():
                yield from check(run)
                if check.rows is not None:
                    yield from self.compare_rows(run, check.rows, rebuild=rebuild)
        except StoreUnavailableError as error:
            yield Finding(None, Severity.DAMAGE, f"not all of it can be read: {error.message}")

    def _left_summaries(self, *, rebuild: bool) -> Iterator[Finding]:
        """Yield a notice if summaries of runs are left that another program deleted; ``rebuild`` removes them."""
        number = self.database.read(lambda c: c.execute(count_left()).scalar_one())
        if number:
            what = f"rows of {metric_rollup.name} whose runs are gone, which nothing reads: {number}"
            if rebuild:
                self.database.write(lambda c: c.execute(remove_left()))
            yield Finding(None, Severity.NOTICE, f"{what}{', removed' if rebuild else ''}")

    def compare_rows(self, run: StoredRun, derived: RunRows, *, rebuild: bool) -> Iterator[Finding]:
        """Yield how the stored rows of a run differ from its document's; ``rebuild`` replaces them."""
        found = self.database.read(lambda connection: stored_rows(connection, run.id, self._dialect))
        if found is None:  # deleted meanwhile
            return
        for what in differences(run, *found, derived):
            if rebuild:
                self.rewrite_rows(run, derived)
                yield Finding(run.id, Severity.NOTICE, f"rebuilt from the document: {what}")
                return
            yield Finding(run.id, Severity.DAMAGE, what)

    # The database.

    @property
    def location(self) -> str:
        """Where the database is, without secrets."""
        return self.database.location

    @property
    def paths(self) -> tuple[Path, ...]:
        """The database's files."""
        return self.database.paths

    def initialize(self) -> None:
        """Create the tables, or upgrade them."""
        self.database.migrate()

    def migrate(
        self, *, dry_run: bool = False, backup: bool = True, progress: Progress | None = None
    ) -> list[str]:
        """Create or upgrade the tables in one transaction; an old database is copied first if it is a file."""
        return self.database.migrate(dry_run=dry_run, backup=backup, progress=progress)

    def schema_status(self) -> SchemaStatus:
        """Return the schema's version and state; changes nothing."""
        return self.database.schema_status()

    def prepares_itself(self, status: SchemaStatus) -> bool:
        """Return whether a save creates the tables or upgrades them."""
        return self.database.prepares_itself(status)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def _read_filter(self, filters: Filters) -> tuple[Shape, Values]:
        return read_filter(RunFilter.of(filters), self._dialect)


def _summed_up(rows: Iterable[Any], width: int) -> dict[tuple[Any, ...], dict[Statistic, Any]]:
    """Return the statistics by group of rows that may have a group in common: number, sum, least and greatest."""
    sums: dict[tuple[Any, ...], tuple[int, float, float, float]] = {}
    for row in rows:
        group, (number, total, least, greatest) = tuple(row[:width]), row[width:]
        if total is None:  # to SQLite, infinity minus infinity is NULL
            total = math.nan
        known = sums.get(group)
        if known is not None:
            number, total = number + known[0], total + known[1]
            least, greatest = min(least, known[2]), max(greatest, known[3])
        sums[group] = number, total, least, greatest
    return {
        group: {"count": number, "sum": total, "avg": total / number, "min": least, "max": greatest}
        for group, (number, total, least, greatest) in sums.items()
    }


def _cursor_key(key: Any) -> OrderKey:
    return format_utc(key) if isinstance(key, datetime) else key


def _bound_key(key: OrderKey, order: Order) -> Any:
    if isinstance(key, str) and order.field in {"timestamp", "created_at"}:
        return parse_timestamp(key)
    return key
