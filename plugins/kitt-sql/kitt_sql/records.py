"""A checked run as tuples in column order, and the statements that insert them.

Tuples go to the driver's ``executemany`` as they are: SQLAlchemy's handling of one dictionary per row would
cost half as much again as the insert itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

from attrs import astuple, frozen
from sqlalchemy import Column, Dialect, Table, insert

from kitt_core.runs import CheckedRun, RunRows, format_utc
from kitt_sql.tables import hardware, metrics

__all__ = [
    "RunRecords",
    "columns_of",
    "derived_records",
    "insert_statement",
    "records_of",
    "run_columns",
    "with_benchmark_ids",
]

_GENERATED: Final = {(metrics.name, "id"), (hardware.name, "id")}

Record = tuple[Any, ...]


@frozen
class RunRecords:
    """The tuples of one run, in the order of `columns_of` each table.

    A benchmark's tuple begins with its run id: its own id is put before it inside the transaction. A metric's
    is (position of its benchmark, name, value).
    """

    run: Record
    benchmarks: Sequence[Record]
    metrics: Sequence[tuple[int, str, float | None]]
    hardware: Sequence[Record]
    document: Record
    labels: Sequence[Record]


def columns_of(table: Table) -> list[Column[Any]]:
    """Return the columns that an insert names: all but the ids that the database gives."""
    return [column for column in table.columns if (table.name, column.name) not in _GENERATED]


@cache
def insert_statement(table: Table, dialect: Dialect) -> str:
    """Return the INSERT for tuples in the order of `columns_of`, with positional parameters."""
    values = {column.name: None for column in columns_of(table)}
    return str(insert(table).values(values).compile(dialect=dialect))


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


def with_benchmark_ids(records: Iterable[RunRecords], first: int) -> tuple[list[Record], list[Record]]:
    """Return the benchmark and metric tuples of several runs, benchmarks numbered from ``first``."""
    numbered: list[Record] = []
    measured: list[Record] = []
    for record in records:
        base = first + len(numbered)
        numbered += [(base + position, *row) for position, row in enumerate(record.benchmarks)]
        measured += [(base + position, name, value) for position, name, value in record.metrics]
    return numbered, measured
