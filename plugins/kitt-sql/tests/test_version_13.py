"""An upgrade from version 12: the published tables answer as before, and the rollup is complete."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from kitt_core.runs import Severity
from kitt_core.testing.documents import HOSTILE, STANDARD, as_bytes, small
from kitt_sql.schema.migrate import migration_names
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore, rolling
from kitt_sql.testing.recounting import answers_about_metrics

QUERIES: Final = [
    statement
    for statement in Path(__file__).with_name("reference_queries.sql").read_text(encoding="utf-8").split(";\n")
    if statement.strip()
]
METRICS: Final = ("avg_tps", "ttft_ms.p99", "peak_memory_gb")


def _store(path: Path) -> SQLiteStore:
    return SQLiteStore(SQLiteDatabase(SQLiteFile(path, synchronous="OFF")))


def _to_version_12(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            "DROP TABLE metric_names; DROP TABLE rolled_runs; DROP TABLE metric_rollup;"
            "DROP INDEX idx_runs_model_engine_passed_timestamp; DROP INDEX idx_runs_columns;"
            "DELETE FROM schema_version WHERE version > 12"
        )
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = ?", (migration_names()[12],))


def _answers(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return [connection.execute(query).fetchall() for query in QUERIES]


@pytest.mark.parametrize("portion", [1, 7, 65_536])
def test_an_upgrade_changes_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portion: int) -> None:
    path = tmp_path / "runs.db"
    with _store(path) as store:
        for document in [STANDARD, *HOSTILE.values(), *(as_bytes(small(n)) for n in range(20))]:
            store.save_result(document)
        before = answers_about_metrics(store, METRICS)
    answers = _answers(path)
    assert len(answers) >= 30
    _to_version_12(path)
    assert _answers(path) == answers
    monkeypatch.setattr(rolling, "_PORTION", portion)
    with _store(path) as store:
        assert store.migrate() == migration_names()[12:]
        assert [finding for finding in store.verify() if finding.severity is Severity.DAMAGE] == []
        _assert_rolled_up(path)
        assert answers_about_metrics(store, METRICS) == before
    assert _answers(path) == answers


def _assert_rolled_up(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (measured,) = connection.execute(
            "SELECT count(DISTINCT run_id) FROM benchmarks JOIN metrics ON benchmark_id = benchmarks.id"
        ).fetchone()
        (rolled,) = connection.execute("SELECT count(*) FROM rolled_runs").fetchone()
    assert rolled == measured > 0
