"""Listings and groups are answered from rows; the indexes that make them fast are used."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Executable

from kitt_core.runs import MetricCondition, Severity
from kitt_core.testing import documents
from kitt_sql.sqlite import reading
from kitt_sqlite.options import SQLiteOptions
from kitt_sqlite.store import SQLiteResultStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLiteResultStore]:
    with SQLiteResultStore(SQLiteOptions(tmp_path_factory.mktemp("rows") / "runs.db")) as store:
        store.save_results(documents.small(i) for i in range(200))
        yield store


@pytest.fixture
def statements(store: SQLiteResultStore) -> Iterator[list[tuple[str, object]]]:
    seen: list[tuple[str, object]] = []
    real = reading.SQLiteReader.execute

    def noting(
        self: reading.SQLiteReader, statement: Executable, values: Mapping[str, object] | None = None
    ) -> Any:
        compiled = reading._compiled(statement)
        seen.append((compiled.text, compiled.parameters(values or {})))
        return real(self, statement, values)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reading.SQLiteReader, "execute", noting)
        yield seen


def test_listing_counting_and_grouping_read_no_document(
    store: SQLiteResultStore, statements: list[tuple[str, object]]
) -> None:
    filters = {"model": "*", "metrics": ["avg_tps>0"], "since": "2000-01-01", "search": "a"}
    assert store.list_results(filters, order_by="-metric:avg_tps", limit=10)
    assert store.count(filters)
    assert store.aggregate("engine", ["avg_tps"], statistics=["avg", "p50", "p99"], filters=filters)
    assert statements
    assert not [sql for sql, _ in statements if "raw_json" in sql or "document" in sql]


def test_values_are_bound_and_never_part_of_a_statement(
    store: SQLiteResultStore, statements: list[tuple[str, object]]
) -> None:
    text = "x' OR '1'='1"
    assert store.count({"model": text, "labels": {text: text}, "search": text}) == 0
    assert (
        store.list_results({"metrics": [MetricCondition(f"{text}/{text}", ">", 1)]}, order_by=f"metric:{text}")
        == []
    )
    assert not [sql for sql, _ in statements if "OR '1'" in sql]


@pytest.mark.parametrize(
    ("filters", "order", "index"),
    [
        (None, "-timestamp", "idx_runs_timestamp"),
        ({"model": "m"}, "-timestamp", "idx_runs_model_timestamp"),
        ({"engine": "e"}, "-timestamp", "idx_runs_engine_timestamp"),
        ({"suite_name": "s"}, "created_at", "idx_runs_suite_name"),
        ({"sha256": "0"}, "created_at", "idx_run_documents_sha256"),
        ({"labels": {"k": "v"}}, "created_at", "idx_run_labels_key_value"),
        ({"metrics": "avg_tps=0"}, "created_at", "idx_metrics_name"),
        ({"metrics": "avg_tps>0"}, "created_at", "metric_rollup USING PRIMARY KEY"),
        ({"model": "m", "engine": "e", "passed": True}, "-timestamp", "idx_runs_model_engine_passed_timestamp"),
    ],
)
def test_the_index_is_used(
    store: SQLiteResultStore,
    statements: list[tuple[str, object]],
    filters: dict[str, object] | None,
    order: str,
    index: str,
) -> None:
    store.list_results(filters, order_by=order, limit=50)
    sql, parameters = statements[-1]
    with closing(sqlite3.connect(store.location)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]  # type: ignore[arg-type]
    assert any(index in step for step in plan), plan


def test_a_metrics_order_and_groups_come_from_indexes_alone(
    store: SQLiteResultStore, statements: list[tuple[str, object]]
) -> None:
    def plan(sql: str, parameters: object) -> list[str]:
        with closing(sqlite3.connect(store.location)) as connection:
            return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]  # type: ignore[arg-type]

    store.list_results(order_by="-metric:avg_tps", limit=5)
    rolled_up = plan(*statements[0])
    assert "COVERING INDEX idx_metric_rollup_mean" in rolled_up[0]
    assert not any("FOR ORDER BY" in step for step in rolled_up)
    store.aggregate("engine", "avg_tps")
    assert any("runs USING COVERING INDEX idx_runs_columns" in step for step in plan(*statements[-1]))


def test_a_metric_is_looked_up_once_and_not_for_each_run(
    store: SQLiteResultStore, statements: list[tuple[str, object]]
) -> None:
    store.count({"metrics": ["avg_tps>0", "throughput/avg_tps<0"]})
    sql, parameters = statements[-1]
    with closing(sqlite3.connect(store.location)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]  # type: ignore[arg-type]
    assert not any("CORRELATED" in step for step in plan), plan


def test_a_statement_is_built_once_for_each_shape(store: SQLiteResultStore) -> None:
    from kitt_sql import queries

    store.count({"model": ["a", "b*"], "passed": True})
    built = queries.count_runs.cache_info().misses
    store.count({"model": ["c", "d*"], "passed": False})
    assert queries.count_runs.cache_info().misses == built


def test_verify_finds_and_rebuilds_rows_that_are_not_those_of_the_document(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        ids = [store.save_result(documents.STANDARD + b" " * i) for i in range(6)]
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("UPDATE runs SET model = 'other' WHERE id = ?", ids[:1])
            connection.execute("DELETE FROM benchmarks WHERE run_id = ? AND run_number = 1", ids[1:2])
            connection.execute(
                "DELETE FROM metrics WHERE id = (SELECT max(m.id) FROM metrics m JOIN benchmarks b"
                " ON m.benchmark_id = b.id WHERE b.run_id = ?)",
                ids[2:3],
            )
            connection.execute("UPDATE hardware SET ram_gb = 1 WHERE run_id = ?", ids[3:4])
            connection.execute("INSERT INTO run_labels VALUES (?, 'k', 'v')", ids[4:5])
        damaged = {f.run_id for f in store.verify() if f.severity is Severity.DAMAGE}
        assert damaged == set(ids[:5])
        repaired = [f for f in store.verify(rebuild=True) if "rebuilt" in f.what]
        assert {f.run_id for f in repaired} == damaged
        assert {f.severity for f in repaired} == {Severity.NOTICE}
        assert list(store.verify()) == []


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE runs SET raw_json = NULL",
        "UPDATE runs SET raw_json = '{}'",
        "UPDATE runs SET raw_json = x'ff00'",
        "UPDATE runs SET raw_json = CAST(raw_json || ' ' AS BLOB)",
        "UPDATE runs SET timestamp = 'garbage'",
        "UPDATE runs SET created_at = 'garbage'",
        "DELETE FROM run_documents",
        "DELETE FROM run_labels",
        "DELETE FROM hardware",
        "INSERT INTO hardware (run_id) SELECT id FROM runs",
        "INSERT INTO hardware (run_id) VALUES ('nobody')",
    ],
)
def test_verify_finds_each_damage_and_nothing_raises(tmp_path: Path, damage: str) -> None:
    document = documents.run(
        timestamp="2025-01-01", labels={"a": "b"}, system_info={"ram_gb": 8}, results=[{"metrics": {"x": 1}}]
    )
    with SQLiteResultStore(SQLiteOptions(tmp_path / "runs.db")) as store:
        store.save_result(document)
        with closing(sqlite3.connect(tmp_path / "runs.db")) as connection, connection:
            connection.execute(damage)
        assert [f for f in store.verify() if f.severity is Severity.DAMAGE]
        assert len(store.list_results()) >= 1


def test_rows_are_not_rebuilt_from_a_damaged_document(tmp_path: Path) -> None:
    with SQLiteResultStore(SQLiteOptions(tmp_path / "runs.db")) as store:
        store.save_result(documents.STANDARD)
        before = store.list_results()
        with closing(sqlite3.connect(tmp_path / "runs.db")) as connection, connection:
            connection.execute("UPDATE runs SET raw_json = '{}'")
        assert [f for f in store.verify(rebuild=True) if f.severity is Severity.DAMAGE]
        assert store.list_results() == before


def test_what_can_be_rebuilt_is(tmp_path: Path) -> None:
    with SQLiteResultStore(SQLiteOptions(tmp_path / "runs.db")) as store:
        store.save_result(documents.STANDARD)
        with closing(sqlite3.connect(tmp_path / "runs.db")) as connection, connection:
            connection.execute("DELETE FROM run_documents")
            connection.execute("INSERT INTO hardware (run_id) SELECT id FROM runs")
        list(store.verify(rebuild=True))
        assert list(store.verify()) == []


def test_damaged_pages_are_findings(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        store.save_results(documents.STANDARD + b" " * i for i in range(20))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40_000] = b"\x55" * 40_000
    path.write_bytes(data)
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        assert [f for f in store.verify() if f.severity is Severity.DAMAGE]


def test_sums_beyond_a_double_do_not_depend_on_what_else_is_asked(tmp_path: Path) -> None:
    entries = [{"test_name": "t", "metrics": {"x": 1e308}}] * 2
    with SQLiteResultStore(SQLiteOptions(tmp_path / "runs.db")) as store:
        store.save_result(documents.run(results=entries))
        (simple,) = store.aggregate("model", ["x"], statistics=["avg", "sum"])
        (both,) = store.aggregate("model", ["x"], statistics=["avg", "sum", "p50"])
    assert (simple["x_avg"], simple["x_sum"]) == (both["x_avg"], both["x_sum"]) == (1e308, None)


def test_verify_finds_changed_documents_orphans_and_missing_digests(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        changed, undigested = (store.save_result(documents.small(i)) for i in range(2))
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE runs SET raw_json = raw_json || ' ' WHERE id = ?", (changed,))
            connection.execute("DELETE FROM run_documents WHERE run_id = ?", (undigested,))
            connection.execute("INSERT INTO hardware (run_id) VALUES ('nobody')")
        found = {(f.run_id, f.what.split()[0]) for f in store.verify() if f.severity is Severity.DAMAGE}
    assert (changed, "the") in found
    assert (undigested, "it") in found
    assert (None, "row") in found
