"""An upgrade from version 12: the published tables answer as before, and the rollup is complete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg

from kitt_core.runs import Severity
from kitt_core.testing.documents import HOSTILE, STANDARD, as_bytes, small
from kitt_sql.schema.migrate import migration_names
from kitt_sql.testing.recounting import answers_about_metrics

if TYPE_CHECKING:
    from kitt_postgres.testing import Database

QUERIES: Final = [
    statement
    for statement in (Path(__file__).parents[2] / "kitt-sql/tests/reference_queries.sql")
    .read_text(encoding="utf-8")
    .split(";\n")
    if statement.strip()
]
METRICS: Final = ("avg_tps", "ttft_ms.p99", "peak_memory_gb")


def test_an_upgrade_changes_no_answer(new_database: Callable[[], Database]) -> None:
    database = new_database()
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        if schema := database.options.get("schema"):
            connection.execute("SELECT set_config('search_path', %s, false)", [schema])

        def answers() -> list[Any]:
            return [connection.execute(query.encode()).fetchall() for query in QUERIES]

        with database.open() as store:
            store.initialize()
            for document in [STANDARD, *HOSTILE.values(), *(as_bytes(small(n)) for n in range(20))]:
                store.save_result(document)
            before, rows = answers_about_metrics(store, METRICS), answers()
        connection.execute("DROP TABLE metric_names, rolled_runs, metric_rollup")
        connection.execute("DROP INDEX idx_runs_model_engine_passed_timestamp")
        connection.execute("DELETE FROM schema_version WHERE version > 12")
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = ANY(%s)", [migration_names()[12:]])
        assert answers() == rows
        with database.open() as store:
            assert store.migrate() == migration_names()[12:]
            assert [finding for finding in store.verify() if finding.severity is Severity.DAMAGE] == []
            assert answers_about_metrics(store, METRICS) == before
        assert answers() == rows
