"""How runs are written: as tuples in column order, by one statement for many rows of a table.

Tuples go to the driver's ``executemany`` as they are: SQLAlchemy's handling of one dictionary per row would
cost half as much again as the insert itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain, islice
from typing import Any, Final

from attrs import astuple, frozen
from sqlalchemy import Column, Table, insert
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from kitt_core.errors import RunExistsError
from kitt_core.runs import CheckedRun, RunRows, StoredRun, format_utc
from kitt_core.runs.codec import digest
from kitt_sql.rollup import summaries_of
from kitt_sql.schema.tables import benchmarks, hardware, metrics, run_documents, run_labels, runs
from kitt_sql.sqlite.rolling import FreshRun, Rolling, forget

__all__ = [
    "RunRecords",
    "columns_of",
    "delete_run",
    "derived_records",
    "insert_derived",
    "insert_runs",
    "records_of",
    "rewrite_run",
    "run_columns",
]

_DIALECT: Final = SQLiteDialect_pysqlite()
_NEXT_BENCHMARK: Final = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'benchmarks'), 0) + 1"
_LAST_METRIC: Final = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'metrics'), 0)"
_GENERATED: Final = {(metrics.name, "id"), (hardware.name, "id")}

_TOGETHER: Final = 96

Record = tuple[Any, ...]


@frozen
class RunRecords:
    """The tuples of one run, in the order of `columns_of` each table.

    A benchmark's tuple begins with its run id: its own id is put before it inside the transaction. A metric's
    is (position of its benchmark, name, value). The document is a row of ``run_documents``, None for no row.
    """

    run: Record
    benchmarks: Sequence[Record]
    metrics: Sequence[tuple[int, str, float | None]]
    hardware: Sequence[Record]
    document: Record | None
    labels: Sequence[Record]


def columns_of(table: Table) -> list[Column[Any]]:
    """Return the columns that an insert names: all but the ids that the database gives."""
    return [column for column in table.columns if (table.name, column.name) not in _GENERATED]


def records_of(run: CheckedRun) -> RunRecords:
    """Return the tuples of ``run`` as SQLite stores them: times as text, truth values as integers."""
    created_at = format_utc(run.created_at)
    return RunRecords(
        run=(run.id, *run_columns(run.rows), run.document.decode(), created_at),
        **derived_records(run.id, run.rows, created_at),
        document=(run.id, run.sha256, None),
    )


def derived_records(run_id: str, rows: RunRows, created_at: str) -> dict[str, Any]:
    """Return the tuples below a run: benchmarks, metrics, hardware and labels."""
    return {
        "benchmarks": [
            (
                run_id,
                entry.test_name,
                entry.test_version,
                entry.run_number,
                _flag(entry.passed),
                None if entry.timestamp is None else format_utc(entry.timestamp),
                created_at,
            )
            for entry in rows.benchmarks
        ],
        "metrics": [
            (position, name, value)
            for position, entry in enumerate(rows.benchmarks)
            for name, value in entry.metrics
        ],
        "hardware": [] if rows.hardware is None else [(run_id, *astuple(rows.hardware, recurse=False))],
        "labels": [(run_id, key, value) for key, value in rows.labels],
    }


def run_columns(rows: RunRows) -> Record:
    """Return the derived columns of ``runs``, those between its id and its document."""
    run = rows.run
    return (
        run.model,
        run.engine,
        run.suite_name,
        None if run.timestamp is None else format_utc(run.timestamp),
        _flag(run.passed),
        run.total_benchmarks,
        run.passed_count,
        run.failed_count,
        run.total_time_seconds,
        run.kitt_version,
    )


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)


def insert_runs(
    driver: sqlite3.Connection, records: Sequence[RunRecords], rolling: Rolling, location: str
) -> list[FreshRun]:
    """Insert runs with all their rows, inside the caller's transaction; it may also roll up some.

    Args:
        driver: The driver's connection.
        records: What `records_of` gives.
        rolling: What rolls up the database's runs.
        location: The database, for the message.

    Returns:
        What `Rolling.note` may be told of once the transaction is committed.

    Raises:
        RunExistsError: A run with one of the ids exists.
        sqlite3.Error: Whatever else SQLite refuses.
    """
    try:
        _insert(driver, runs, [record.run for record in records])
    except sqlite3.IntegrityError as error:
        raise RunExistsError(f"a run with this id is in {location} already") from error
    insert_derived(driver, records, driver.execute(_NEXT_BENCHMARK).fetchone()[0])
    inserted = list(_fresh(records, driver.execute(_LAST_METRIC).fetchone()[0]))
    rolling.step(driver, inserted)
    return inserted


def _fresh(records: Sequence[RunRecords], last: int) -> Iterator[FreshRun]:
    end = last - sum(len(record.metrics) for record in records)
    for record in records:
        if record.metrics:
            start, end = end + 1, end + len(record.metrics)
            summaries = summaries_of((name, value) for _, name, value in record.metrics)
            yield FreshRun(record.run[0], start, end, summaries)


def insert_derived(driver: sqlite3.Connection, records: Sequence[RunRecords], first: int) -> int:
    """Insert the rows below existing runs, number their benchmarks from ``first``, and return the next number."""
    starts = [first]
    for record in records:
        starts.append(starts[-1] + len(record.benchmarks))
    # Streamed: a run may have hundreds of thousands of numbers.
    _insert(
        driver,
        benchmarks,
        (
            (start + position, *row)
            for start, record in zip(starts, records, strict=False)
            for position, row in enumerate(record.benchmarks)
        ),
    )
    _insert(
        driver,
        metrics,
        (
            (start + position, name, value)
            for start, record in zip(starts, records, strict=False)
            for position, name, value in record.metrics
        ),
    )
    _insert(driver, hardware, [row for record in records for row in record.hardware])
    _insert(driver, run_documents, [record.document for record in records if record.document is not None])
    _insert(driver, run_labels, [row for record in records for row in record.labels])
    return starts[-1]


def delete_run(driver: sqlite3.Connection, run_id: str) -> None:
    """Delete a run with all its rows, if there is one, inside the caller's transaction."""
    forget(driver, run_id)
    driver.execute("DELETE FROM runs WHERE id = ?", (run_id,))


def rewrite_run(driver: sqlite3.Connection, run: StoredRun, rows: RunRows) -> None:
    """Replace what is derived from a run's document, inside the caller's transaction."""
    columns = run_columns(rows)
    names = [column.name for column in columns_of(runs)[1:-2]]
    driver.execute(
        f"UPDATE runs SET {', '.join(f'{name} = ?' for name in names)} WHERE id = ?",  # noqa: S608  # names are ours
        (*columns, run.id),
    )
    forget(driver, run.id)
    for table in (benchmarks, hardware, run_labels):
        driver.execute(f"DELETE FROM {table.name} WHERE run_id = ?", (run.id,))  # noqa: S608  # ours
    known = driver.execute("SELECT 1 FROM run_documents WHERE run_id = ?", (run.id,)).fetchone()
    record = RunRecords(
        run=(run.id, *columns),
        **derived_records(run.id, rows, format_utc(run.created_at)),
        document=None if known else (run.id, digest(run.document), None),
    )
    insert_derived(driver, [record], driver.execute(_NEXT_BENCHMARK).fetchone()[0])


def _insert(driver: sqlite3.Connection, table: Table, rows: Iterable[Record]) -> None:
    # Many rows by one statement: each statement updates the table's last id.
    rows = iter(rows)
    while len(together := list(islice(rows, _TOGETHER))) == _TOGETHER:
        driver.execute(_insert_statement(table, _TOGETHER), list(chain.from_iterable(together)))
    driver.executemany(_insert_statement(table), together)


@cache
def _insert_statement(table: Table, number: int = 1) -> str:
    """Return the INSERT of some tuples in the order of `columns_of`, with positional parameters."""
    values = {column.name: None for column in columns_of(table)}
    head, separator, row = str(insert(table).values(values).compile(dialect=_DIALECT)).partition(" VALUES ")
    return head + separator + ", ".join([row] * number)
