"""How runs are written: one statement for one run, COPY for many.

One statement with an array per column is one round trip, and a transaction of its own. COPY takes a few more
round trips, and less time for each row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, get_args

import attrs
from attrs import asdict, astuple
from psycopg.types.json import Jsonb

from kitt_core.runs import CheckedRun, HardwareRow, RunRow, RunRows
from kitt_postgres.server import Driver
from kitt_sql.rollup import Summary, measured_in, summaries_of

__all__ = ["copy_rollup", "copy_runs", "insert_derived", "insert_run", "metrics_of", "name_ids"]

Values = dict[str, Any]

_TYPES: Final = {str: "text", int: "int4", bool: "bool", float: "float8", datetime: "timestamptz"}


def _columns(row: type[Any]) -> dict[str, str]:
    """Return the columns of a row's class with their types in the database."""
    attrs.resolve_types(row)
    return {attribute.name: _TYPES[get_args(attribute.type)[0]] for attribute in attrs.fields(row)}


_RUN: Final = _columns(RunRow)
_BENCHMARK: Final = {
    "test_name": "text",
    "test_version": "text",
    "run_number": "int4",
    "passed": "bool",
    "timestamp": "timestamptz",
}
_HARDWARE: Final = _columns(HardwareRow)
_SUMMARY: Final = {
    "name_id": "int4",
    "entries": "int4",
    **dict.fromkeys(("total", "least", "greatest", "mean"), "float8"),
    "numbers": "bytea",
}
_NEXT: Final = "SELECT nextval(%s)::int4 FROM generate_series(1, %s)"


def _unnested(prefix: str, columns: dict[str, str]) -> str:
    return "unnest(" + ", ".join(f"%({prefix}_{name})b::{kind}[]" for name, kind in columns.items()) + ")"


def _names(columns: Iterable[str], prefix: str = "") -> str:
    return ", ".join(prefix + name for name in columns)


# Numbers are drawn and rows are inserted in the order of the document.
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
    FROM unnest(%(metric_entry)b::int4[], %(metric_name)b::text[], %(metric_value)b::float8[])
        WITH ORDINALITY AS given (entry, name, value, place)
    JOIN numbered ON numbered.place = given.entry ORDER BY given.place
), machine AS (
    INSERT INTO hardware (run_id, {_names(_HARDWARE)})
    SELECT %(id)s::text, * FROM {_unnested("machine", _HARDWARE)}
), label AS (
    INSERT INTO run_labels (run_id, key, value)
    SELECT %(id)s::text, * FROM unnest(%(label_key)b::text[], %(label_value)b::text[])
), rolled AS (
    INSERT INTO rolled_runs (run_id, name_ids, last_metric_id)
    SELECT %(id)s::text, %(name_ids)s::text, 0 WHERE %(entries)s > 0 RETURNING id
), summary AS (
    INSERT INTO metric_rollup (rolled_id, {_names(_SUMMARY)})
    SELECT rolled.id, {_names(_SUMMARY, "given.")}
    FROM rolled, {_unnested("summary", _SUMMARY)} AS given ({_names(_SUMMARY)})
)
SELECT"""  # noqa: S608  # the names are ours

_INSERT_DERIVED: Final = f"WITH {_DERIVED}"
_INSERT_RUN: Final = f"""
WITH run AS (
    INSERT INTO runs (id, {_names(_RUN)}, raw_json, created_at)
    VALUES (%(id)s, {", ".join(f"%({name})s" for name in _RUN)}, %(raw_json)s::jsonb, %(created_at)s)
), document AS (
    INSERT INTO run_documents (run_id, sha256, document) VALUES (%(id)s, %(sha256)s, %(document)b)
), {_DERIVED}"""  # noqa: S608  # ours


def metrics_of(runs: Iterable[RunRows]) -> set[str]:
    """Return the names of the metrics that some runs have."""
    return {name for rows in runs for entry in rows.benchmarks for name, _ in entry.metrics}


def name_ids(driver: Driver, names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of metrics, and give one to each that has none, inside a transaction of its own.

    It must be committed before the runs are written: others that wait for the same new names would wait for those.
    """
    ordered = sorted(names)  # so that no two wait for each other
    driver.execute("INSERT INTO metric_names (name) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", [ordered])
    found = driver.execute("SELECT name, id FROM metric_names WHERE name = ANY(%s)", [ordered])
    return {row[0]: row[1] for row in found}


def insert_run(driver: Driver, run: CheckedRun, raw_json: str | None, names: Mapping[str, int]) -> None:
    """Insert a run with all its rows by one statement.

    Args:
        driver: If a transaction is open, the statement joins it; else it is its own.
        run: The run to store.
        raw_json: The document as JSONB accepts it, None if it accepts none.
        names: What `name_ids` returned for its metrics, at least.

    Raises:
        psycopg.Error: Whatever the server refuses; an id that exists violates ``runs_pkey``.
    """
    values = asdict(run.rows.run) | _derived_values(run.id, run.rows, run.created_at, names)
    driver.execute(_INSERT_RUN, values | {"raw_json": raw_json, "sha256": run.sha256, "document": run.document})


def insert_derived(
    driver: Driver, run_id: str, rows: RunRows, created_at: datetime, names: Mapping[str, int]
) -> None:
    """Insert the rows below an existing run: benchmarks, metrics, hardware, labels and the rollup."""
    driver.execute(_INSERT_DERIVED, _derived_values(run_id, rows, created_at, names))


def _derived_values(run_id: str, rows: RunRows, created_at: datetime, names: Mapping[str, int]) -> Values:
    measured = [
        (place, name, value) for place, entry in enumerate(rows.benchmarks, 1) for name, value in entry.metrics
    ]
    machines = [] if rows.hardware is None else [astuple(rows.hardware)]
    summaries = _numbered(summaries_of(measured_in(rows.benchmarks)), names)
    return {
        "id": run_id,
        "created_at": created_at,
        "entries": len(rows.benchmarks),
        **_arrays("entry", _BENCHMARK, [entry[:5] for entry in rows.benchmarks]),
        **_arrays("metric", ("entry", "name", "value"), measured),
        **_arrays("machine", _HARDWARE, machines),
        **_arrays("label", ("key", "value"), rows.labels),
        "name_ids": json.dumps([row[0] for row in summaries]),
        **_arrays("summary", _SUMMARY, summaries),
    }


def _numbered(summaries: Iterable[Summary], names: Mapping[str, int]) -> list[tuple[Any, ...]]:
    return [(names[each.name], *each[1:]) for each in summaries]


def _arrays(prefix: str, names: Iterable[str], rows: Sequence[tuple[Any, ...]]) -> Values:
    columns = zip(*rows, strict=True) if rows else ((),) * len(tuple(names))
    return {f"{prefix}_{name}": list(column) for name, column in zip(names, columns, strict=True)}


def copy_runs(driver: Driver, given: Sequence[tuple[CheckedRun, str | None]], names: Mapping[str, int]) -> None:
    """Insert several runs, each with its JSONB text, by COPY; inside a transaction.

    Raises:
        psycopg.Error: Whatever the server refuses; an id that exists violates ``runs_pkey``.
    """
    runs = [run for run, _ in given]
    entries = [(run, entry) for run in runs for entry in run.rows.benchmarks]
    numbers = _drawn(driver, "benchmarks_id_seq", len(entries))
    _copy(
        driver,
        "runs",
        {"id": "text", **_RUN, "raw_json": "jsonb", "created_at": "timestamptz"},
        ((run.id, *astuple(run.rows.run), _as_it_is(raw_json), run.created_at) for run, raw_json in given),
    )
    _copy(
        driver,
        "run_documents",
        {"run_id": "text", "sha256": "text", "document": "bytea"},
        ((run.id, run.sha256, run.document) for run in runs),
    )
    _copy(
        driver,
        "benchmarks",
        {"id": "int4", "run_id": "text", **_BENCHMARK, "created_at": "timestamptz"},
        (
            (number, run.id, *entry[:5], run.created_at)
            for number, (run, entry) in zip(numbers, entries, strict=True)
        ),
    )
    _copy(
        driver,
        "metrics",
        {"benchmark_id": "int4", "metric_name": "text", "metric_value": "float8"},
        (
            (number, *metric)
            for number, (_, entry) in zip(numbers, entries, strict=True)
            for metric in entry.metrics
        ),
    )
    _copy(
        driver,
        "hardware",
        {"run_id": "text", **_HARDWARE},
        ((run.id, *astuple(run.rows.hardware)) for run in runs if run.rows.hardware is not None),
    )
    _copy(
        driver,
        "run_labels",
        {"run_id": "text", "key": "text", "value": "text"},
        ((run.id, key, value) for run in runs for key, value in run.rows.labels),
    )
    measured = ((run.id, summaries_of(measured_in(run.rows.benchmarks))) for run in runs if run.rows.benchmarks)
    copy_rollup(driver, list(measured), names)


def copy_rollup(driver: Driver, runs: Sequence[tuple[str, list[Summary]]], names: Mapping[str, int]) -> None:
    """Insert the summaries of stored runs that are not rolled up; inside a transaction."""
    rolled = [
        (number, run_id, _numbered(summaries, names))
        for number, (run_id, summaries) in zip(_drawn(driver, "rolled_runs_id_seq", len(runs)), runs, strict=True)
    ]
    _copy(
        driver,
        "rolled_runs",
        {"id": "int4", "run_id": "text", "name_ids": "text", "last_metric_id": "int4"},
        ((number, run_id, json.dumps([row[0] for row in rows]), 0) for number, run_id, rows in rolled),
    )
    _copy(
        driver,
        "metric_rollup",
        {"rolled_id": "int4", **_SUMMARY},
        ((number, *row) for number, _, rows in rolled for row in rows),
    )


def _copy(driver: Driver, table: str, columns: Mapping[str, str], rows: Iterable[tuple[Any, ...]]) -> None:
    statement = f"COPY {table} ({_names(columns)}) FROM STDIN (FORMAT BINARY)".encode()
    with driver.cursor() as cursor, cursor.copy(statement) as writer:
        writer.set_types(list(columns.values()))
        for row in rows:
            writer.write_row(row)


def _drawn(driver: Driver, sequence: str, count: int) -> list[int]:
    return [row[0] for row in driver.execute(_NEXT, [sequence, count])]


def _as_it_is(text: str | None) -> Jsonb | None:
    return None if text is None else Jsonb(text, dumps=str)
