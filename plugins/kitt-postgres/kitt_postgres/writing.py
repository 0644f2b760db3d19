"""How runs are written: one statement for one run, COPY for many.

One statement with an array per column is one round trip, and a transaction of its own. COPY takes a few round
trips more, and less time for each row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import psycopg
from attrs import asdict, astuple, fields

from kitt_core.model import BenchmarkRow, CheckedRun, HardwareRow, RunRow, RunRows

__all__ = ["copy_runs", "insert_derived", "insert_run"]

Driver = psycopg.Connection[tuple[Any, ...]]
Values = dict[str, Any]

_RUN: Final = tuple(attribute.name for attribute in fields(RunRow))
_BENCHMARK: Final = {
    "test_name": "text",
    "test_version": "text",
    "run_number": "int4",
    "passed": "bool",
    "timestamp": "timestamptz",
}
_HARDWARE: Final = {
    attribute.name: "int4" if attribute.name in {"gpu_vram_gb", "gpu_count", "cpu_cores", "ram_gb"} else "text"
    for attribute in fields(HardwareRow)
}
_NEXT_BENCHMARK: Final = "SELECT nextval('benchmarks_id_seq')::int4 FROM generate_series(1, %s)"


def _unnested(prefix: str, columns: dict[str, str]) -> str:
    return "unnest(" + ", ".join(f"%({prefix}_{name})s::{kind}[]" for name, kind in columns.items()) + ")"


def _names(columns: Iterable[str], prefix: str = "") -> str:
    return ", ".join(prefix + name for name in columns)


# Numbers are drawn in the order of the document, and rows go in in that order, too.
_DERIVED: Final = f"""
numbered AS MATERIALIZED (
    SELECT place, nextval('benchmarks_id_seq')::int4 AS id FROM generate_series(1, %(entries)s) AS place
), entry AS (
    INSERT INTO benchmarks (id, run_id, {_names(_BENCHMARK)}, created_at)
    SELECT numbered.id, %(id)s::text, {_names(_BENCHMARK, "given.")}, %(created_at)s::timestamptz
    FROM {_unnested("entry", _BENCHMARK)} WITH ORDINALITY AS given ({_names(_BENCHMARK)}, place)
    JOIN numbered USING (place) ORDER BY place
), measured AS (
    INSERT INTO metrics (benchmark_id, metric_name, metric_value)
    SELECT numbered.id, given.name, given.value
    FROM unnest(%(metric_entry)s::int4[], %(metric_name)s::text[], %(metric_value)s::float8[])
        WITH ORDINALITY AS given (entry, name, value, place)
    JOIN numbered ON numbered.place = given.entry ORDER BY given.place
), machine AS (
    INSERT INTO hardware (run_id, {_names(_HARDWARE)})
    SELECT %(id)s::text, * FROM {_unnested("machine", _HARDWARE)}
), label AS (
    INSERT INTO run_labels (run_id, key, value)
    SELECT %(id)s::text, * FROM unnest(%(label_key)s::text[], %(label_value)s::text[])
)
SELECT"""  # noqa: S608  # the names are ours

_INSERT_DERIVED: Final = f"WITH {_DERIVED}"
_INSERT_RUN: Final = f"""
WITH run AS (
    INSERT INTO runs (id, {_names(_RUN)}, raw_json, created_at)
    VALUES (%(id)s, {", ".join(f"%({name})s" for name in _RUN)}, %(raw_json)s::jsonb, %(created_at)s)
), document AS (
    INSERT INTO run_documents (run_id, sha256, document) VALUES (%(id)s, %(sha256)s, %(document)b)
), {_DERIVED}"""  # noqa: S608  # ours, too


def insert_run(driver: Driver, run: CheckedRun, raw_json: str | None) -> None:
    """Insert a run with all its rows by one statement.

    Args:
        driver: Its transaction if one is open; else the statement is one.
        run: What is stored.
        raw_json: The document as JSONB takes it; None where it takes none.

    Raises:
        psycopg.Error: Whatever the server refuses; a run of this id breaks ``runs_pkey``.
    """
    values = asdict(run.rows.run) | _derived_values(run.id, run.rows, run.created_at)
    driver.execute(_INSERT_RUN, values | {"raw_json": raw_json, "sha256": run.sha256, "document": run.document})


def insert_derived(driver: Driver, run_id: str, rows: RunRows, created_at: datetime) -> None:
    """Insert the rows below a run that is there: benchmarks, metrics, hardware and labels."""
    driver.execute(_INSERT_DERIVED, _derived_values(run_id, rows, created_at))


def _derived_values(run_id: str, rows: RunRows, created_at: datetime) -> Values:
    measured = [
        (place, name, value) for place, entry in enumerate(rows.benchmarks, 1) for name, value in entry.metrics
    ]
    machines = [] if rows.hardware is None else [astuple(rows.hardware)]
    return {
        "id": run_id,
        "created_at": created_at,
        "entries": len(rows.benchmarks),
        **_arrays("entry", _BENCHMARK, [entry[:5] for entry in rows.benchmarks]),
        **_arrays("metric", ("entry", "name", "value"), measured),
        **_arrays("machine", _HARDWARE, machines),
        **_arrays("label", ("key", "value"), rows.labels),
    }


def _arrays(prefix: str, names: Iterable[str], rows: Sequence[tuple[Any, ...]]) -> Values:
    columns = zip(*rows, strict=True) if rows else ((),) * len(tuple(names))
    return {f"{prefix}_{name}": list(column) for name, column in zip(names, columns, strict=True)}


def copy_runs(driver: Driver, given: Sequence[tuple[CheckedRun, str | None]]) -> None:
    """Insert several runs, each with its JSONB text, by COPY; inside a transaction.

    Raises:
        psycopg.Error: Whatever the server refuses; a run of an id that is there breaks ``runs_pkey``.
    """
    runs = [run for run, _ in given]
    entries = [(run, entry) for run in runs for entry in run.rows.benchmarks]
    ids = [row[0] for row in driver.execute(_NEXT_BENCHMARK, [len(entries)])]
    _copy(
        driver,
        "runs",
        ("id", *_RUN, "raw_json", "created_at"),
        ((run.id, *astuple(run.rows.run), raw_json, run.created_at) for run, raw_json in given),
    )
    _copy(
        driver,
        "run_documents",
        ("run_id", "sha256", "document"),
        ((run.id, run.sha256, run.document) for run in runs),
    )
    _copy(
        driver,
        "benchmarks",
        ("id", "run_id", *_BENCHMARK, "created_at"),
        ((number, run.id, *entry[:5], run.created_at) for number, (run, entry) in zip(ids, entries, strict=True)),
    )
    _copy(driver, "metrics", ("benchmark_id", "metric_name", "metric_value"), _measured(ids, entries))
    _copy(
        driver,
        "hardware",
        ("run_id", *_HARDWARE),
        ((run.id, *astuple(run.rows.hardware)) for run in runs if run.rows.hardware is not None),
    )
    _copy(
        driver,
        "run_labels",
        ("run_id", "key", "value"),
        ((run.id, key, value) for run in runs for key, value in run.rows.labels),
    )


def _measured(
    ids: Iterable[int], entries: Iterable[tuple[CheckedRun, BenchmarkRow]]
) -> Iterator[tuple[int, str, float | None]]:
    for number, (_, entry) in zip(ids, entries, strict=True):
        for name, value in entry.metrics:
            yield number, name, value


def _copy(driver: Driver, table: str, columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({_names(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
