"""What a straightforward tool would do: psycopg's ``executemany``, row by row, on KITT's own tables.

The rows are those that KITT stores; KITT derives them untimed, so that only the way to the server is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from attrs import astuple

from kitt_core.runs import CheckedRun

__all__ = ["PostgresFloor"]


class PostgresFloor:
    """A connection that inserts rows with ``executemany``, in one durable transaction per run.

    Args:
        dsn: The database; it has KITT's tables.
    """

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn)

    def save(self, run: CheckedRun) -> None:
        """Insert a run with all its rows, and the document as JSONB and as bytes."""
        rows = run.rows
        with self._connection.transaction(), self._connection.cursor() as cursor:
            _insert(
                cursor,
                "runs (id, model, engine, suite_name, timestamp, passed, total_benchmarks, passed_count,"
                " failed_count, total_time_seconds, kitt_version, raw_json, created_at)",
                [(run.id, *astuple(rows.run), run.document.decode(), run.created_at)],
            )
            wanted = "SELECT nextval('benchmarks_id_seq') FROM generate_series(1, %s)"
            ids = [row[0] for row in cursor.execute(wanted, [len(rows.benchmarks)])]
            entries = list(zip(ids, rows.benchmarks, strict=True))
            _insert(
                cursor,
                "benchmarks (id, run_id, test_name, test_version, run_number, passed, timestamp, created_at)",
                [(number, run.id, *entry[:5], run.created_at) for number, entry in entries],
            )
            _insert(
                cursor,
                "metrics (benchmark_id, metric_name, metric_value)",
                [(number, *metric) for number, entry in entries for metric in entry.metrics],
            )
            if rows.hardware is not None:
                _insert(
                    cursor,
                    "hardware (run_id, gpu_model, gpu_vram_gb, gpu_count, cpu_model, cpu_cores, ram_gb,"
                    " environment_type, fingerprint)",
                    [(run.id, *astuple(rows.hardware))],
                )
            _insert(cursor, "run_documents (run_id, sha256, document)", [(run.id, run.sha256, run.document)])
            _insert(cursor, "run_labels (run_id, key, value)", [(run.id, *label) for label in rows.labels])

    def save_all(self, runs: Sequence[CheckedRun]) -> None:
        """Insert several runs, one after another."""
        for run in runs:
            self.save(run)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _insert(cursor: psycopg.Cursor[Any], table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        cursor.executemany(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(rows[0]))})".encode(), rows)
