"""The minimum cost of the same work: `sqlite3` and nothing else.

The tables are the result tables of schema version 10 with their indexes. A save is one immediate transaction of
``executemany``, durable (WAL, ``synchronous=FULL``), `json.dumps` included; a listing is one SELECT whose rows
stay tuples. There are no checks, no ids except counters, no digests, no objects and no sharing between threads.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.workload import Document

__all__ = ["Floor"]

Row = tuple[Any, ...]

_TABLES: Final = {
    "runs": (
        "id TEXT PRIMARY KEY, model TEXT, engine TEXT, suite_name TEXT, timestamp TEXT, passed INTEGER,"
        " total_benchmarks INTEGER, passed_count INTEGER, failed_count INTEGER, total_time_seconds REAL,"
        " kitt_version TEXT, raw_json TEXT, created_at TEXT"
    ),
    "benchmarks": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,"
        " test_name TEXT, test_version TEXT, run_number INTEGER, passed INTEGER, timestamp TEXT, created_at TEXT"
    ),
    "metrics": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " benchmark_id INTEGER NOT NULL REFERENCES benchmarks(id) ON DELETE CASCADE,"
        " metric_name TEXT NOT NULL, metric_value REAL"
    ),
    "hardware": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,"
        " gpu_model TEXT, gpu_vram_gb INTEGER, gpu_count INTEGER, cpu_model TEXT, cpu_cores INTEGER,"
        " ram_gb INTEGER, environment_type TEXT, fingerprint TEXT"
    ),
}
_INDEXES: Final = {
    "runs": ("model", "engine", "suite_name", "timestamp"),
    "benchmarks": ("run_id", "test_name"),
    "metrics": ("benchmark_id", "metric_name"),
    "hardware": ("run_id",),
}
_RUN_FIELDS: Final = (
    "model",
    "engine",
    "suite_name",
    "timestamp",
    "passed",
    "total_benchmarks",
    "passed_count",
    "failed_count",
    "total_time_seconds",
    "kitt_version",
)
_RESULT_FIELDS: Final = ("test_name", "test_version", "run_number", "passed", "timestamp")
_CREATED_AT: Final = "2026-01-01T00:00:00.000000+00:00"

_LIST: Final = (
    "SELECT runs.id, model, engine, suite_name, timestamp, passed, total_benchmarks, passed_count, failed_count,"
    " total_time_seconds, kitt_version, runs.created_at, gpu_model, fingerprint"
    " FROM runs LEFT JOIN hardware ON hardware.run_id = runs.id"
)
_NEWEST: Final = " ORDER BY timestamp DESC, runs.id DESC LIMIT 50"
_VALUES: Final = (
    " FROM runs JOIN benchmarks ON benchmarks.run_id = runs.id"
    " JOIN metrics ON metrics.benchmark_id = benchmarks.id"
    " WHERE metric_name = ?"
)


class Floor:
    """A database file with one open connection.

    Args:
        path: Where it is, or is to be created.
        synchronous: SQLite's setting; the default is durable.
    """

    def __init__(self, path: Path, *, synchronous: str = "FULL") -> None:
        is_new = not path.exists()
        self._connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        self._ids = itertools.count()
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", f"synchronous={synchronous}"):
            self._connection.execute(f"PRAGMA {pragma}")
        for table, columns in _TABLES.items() if is_new else ():
            self._connection.execute(f"CREATE TABLE {table} ({columns})")
            for column in _INDEXES[table]:
                self._connection.execute(f"CREATE INDEX idx_{table}_{column} ON {table} ({column})")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def save(self, documents: Sequence[Document]) -> str:
        """Store documents in one transaction and return the last one's id."""
        return self._insert((document, json.dumps(document)) for document in documents)

    def import_files(self, paths: Iterable[Path]) -> str:
        """Store the documents of files in one transaction."""
        texts = (path.read_text(encoding="utf-8") for path in paths)
        return self._insert((json.loads(text), text) for text in texts)

    def newest(self) -> list[Row]:
        """Return the 50 newest runs."""
        return self._connection.execute(_LIST + _NEWEST).fetchall()

    def newest_of(self, model: str, engine: str) -> list[Row]:
        """Return the 50 newest runs of a model and engine."""
        return self._connection.execute(
            f"{_LIST} WHERE model = ? AND engine = ?{_NEWEST}", (model, engine)
        ).fetchall()

    def newest_before(self, timestamp: str) -> list[Row]:
        """Return the 50 runs that come before a time."""
        return self._connection.execute(f"{_LIST} WHERE timestamp < ?{_NEWEST}", (timestamp,)).fetchall()

    def count(self, engine: str) -> int:
        """Return how many runs an engine has."""
        statement = "SELECT count(*) FROM runs WHERE engine = ?"
        return int(self._connection.execute(statement, (engine,)).fetchone()[0])

    def means(self, metric: str) -> list[Row]:
        """Return each engine's number of runs and mean of a metric."""
        counts = dict(self._connection.execute("SELECT engine, count(*) FROM runs GROUP BY engine"))
        statement = f"SELECT engine, avg(metric_value){_VALUES} GROUP BY engine"
        return [(engine, counts[engine], mean) for engine, mean in self._connection.execute(statement, (metric,))]

    def percentiles(self, metric: str) -> list[Row]:
        """Return each engine's number of runs, and the 50th and 99th percentile of a metric (nearest rank)."""
        counts = dict(self._connection.execute("SELECT engine, count(*) FROM runs GROUP BY engine"))
        grouped: dict[str, list[float]] = {}
        for engine, value in self._connection.execute(f"SELECT engine, metric_value{_VALUES}", (metric,)):
            grouped.setdefault(engine, []).append(value)
        for values in grouped.values():
            values.sort()
        return [
            (engine, counts[engine], values[len(values) // 2], values[len(values) * 99 // 100])
            for engine, values in grouped.items()
        ]

    def document(self, run_id: str) -> str:
        """Return a document's text."""
        row: tuple[str] = self._connection.execute("SELECT raw_json FROM runs WHERE id = ?", (run_id,)).fetchone()
        return row[0]

    def _insert(self, documents: Iterable[tuple[Document, str]]) -> str:
        runs: list[Row] = []
        results: list[Row] = []
        metrics: list[tuple[int, str, float]] = []
        machines: list[Row] = []
        for document, text in documents:
            run_id = f"run-{next(self._ids):012}"
            runs.append((run_id, *map(document.__getitem__, _RUN_FIELDS), text, _CREATED_AT))
            for result in document["results"]:
                metrics += ((len(results), name, value) for name, value in _numbers(result["metrics"]))
                results.append((run_id, *map(result.__getitem__, _RESULT_FIELDS), _CREATED_AT))
            machines.append((run_id, *_machine(document["system_info"])))
        self._write(runs, results, metrics, machines)
        return str(runs[-1][0])

    def _write(
        self, runs: list[Row], results: list[Row], metrics: list[tuple[int, str, float]], machines: list[Row]
    ) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(_statement("runs", len(runs[0])), runs)
            (first,) = connection.execute(
                "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'benchmarks'"
            ).fetchone()
            connection.executemany(
                _statement("benchmarks", 8), [(first + place, *row) for place, row in enumerate(results)]
            )
            connection.executemany(
                "INSERT INTO metrics (benchmark_id, metric_name, metric_value) VALUES (?, ?, ?)",
                [(first + place, name, value) for place, name, value in metrics],
            )
            connection.executemany(_statement("hardware", 10), [(None, *row) for row in machines])
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _statement(table: str, columns: int) -> str:
    return f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})"


def _numbers(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.")
        elif type(value) in (int, float):
            yield prefix + name, value


def _machine(system: Mapping[str, Any]) -> Row:
    gpu, cpu = system["gpu"], system["cpu"]
    return (
        *(gpu["model"], gpu["vram_gb"], gpu["count"], cpu["model"], cpu["cores"]),
        *(system["ram_gb"], system["environment_type"], None),
    )
