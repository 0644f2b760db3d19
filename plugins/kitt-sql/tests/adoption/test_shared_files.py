"""The files of ``../shared/legacy``, with the facts that its README asserts."""

from __future__ import annotations

import hashlib
import math
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from kitt_core.runs import SchemaState, Severity
from kitt_sql.schema.tables import SCHEMA_VERSION
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore

LEGACY: Final = Path(__file__).parents[5] / "shared/legacy"
FILES: Final = ("v1", "v3", "v7", "v10", "v10_from_v3", "v10_awkward", "v11")

pytestmark = pytest.mark.skipif(not LEGACY.is_dir(), reason="../shared is not next to this checkout")

RAW: Final = {
    "v1": {"29618fbad0444801": "cb6ce3c12e1b160a", "9a0f86671dbc4323": "0041e62d1b3e5490",
           "7b34998c9585412c": "084d40595e5cf6aa"},
    "v3": {"d09fbfc48b424970": "f39f5aec978f9be9", "69a77bc329ff4b04": "328efbb398c101e3",
           "8b0a8b7b92224542": "3971e06978728bfc"},
    "v7": {"9af98841ac904909": "10c4397056ebfc42", "95584e2052544f7e": "875c27a6ddfc71e4",
           "99d11cf0a6f0473e": "c08f11e1205bdb0d"},
    "v10": {"ce53131a382a4af7": "edf0f9600ba37a2c", "a00d58d778f14ce6": "3f72caad14065751",
            "5f39a93a5e434615": "68dfc7e1e5f7be44"},
    "v11": {"dc50737a69a949b2": "92b836cf6ef45c2c"},
    "v10_awkward": {"5b64c0752c7a4e55": "79bc995bc1462e0a", "255797b344e3480f": "44136fa355b3678a",
                    "1b575ddb9e9d4abc": "5e5b9dbfe991bbc5", "c75996c3024e4bee": "dc4b28e6c0aa56ab",
                    "a25036cc26e94937": "dc4b28e6c0aa56ab"},
}  # fmt: skip
SUMS: Final = {
    "v1": (71, 98.026667, 21.68, 179.42, 1282104.272),
    "v3": (68, 92.497500, 20.89, 176.04, 1396153.509),
    "v10_from_v3": (68, 92.497500, 20.89, 176.04, 1396153.509),
    "v7": (69, 105.673611, 24.08, 175.58, 1306580.513),
    "v10": (71, 97.237500, 20.74, 179.26, 1275358.466),
    "v11": (24, 98.497083, 23.78, 177.92, 466364.774),
}
"""Passed benchmarks; mean, least and greatest avg_tps; sum of the plain metrics."""
WITHOUT_FINGERPRINT: Final = {"29618fbad0444801", "d09fbfc48b424970", "99d11cf0a6f0473e", "a00d58d778f14ce6"}
RESULTS: Final = {
    "v3": "8b0a8b7b92224542",
    "v10_from_v3": "8b0a8b7b92224542",
    "v7": "95584e2052544f7e",
    "v10": "5f39a93a5e434615",
}
DGX_HASH: Final = "79175e70eb2236876b0c003be58294690c0e36b44c0947ae80f599ea9d039833"
RTX_HASH: Final = "df0790f236013511e91fa4532fb7761f62320a51a3868dabf4a13fe5f53e3263"


class Adopted:
    """A copy of a file before and after its upgrade."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.source = LEGACY / f"kitt_{name}.db"
        self.path = folder / f"{name}.db"
        shutil.copyfile(self.source, self.path)
        self.before = sqlite3.connect(f"file:{self.source}?mode=ro&immutable=1", uri=True)
        with SQLiteDatabase(SQLiteFile(self.path)) as database:
            assert database.schema_status().state is SchemaState.OLD
            self.names = database.migrate()
        self.after = sqlite3.connect(self.path)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return self.after.execute(statement).fetchall()

    def store(self) -> SQLiteStore:
        return SQLiteStore(SQLiteDatabase(SQLiteFile(self.path)))

    def close(self) -> None:
        self.before.close()
        self.after.close()


@pytest.fixture(scope="module", params=FILES)
def adopted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adopted]:
    adopted = Adopted(request.param, tmp_path_factory.mktemp("adopted"))
    yield adopted
    adopted.close()


def test_runs_keep_id_model_counts_text_and_time_of_saving(adopted: Adopted) -> None:
    unchanged = (
        "SELECT id, model, engine, suite_name, passed, total_benchmarks, passed_count, failed_count,"
        " total_time_seconds, kitt_version, raw_json, created_at FROM runs ORDER BY rowid"
    )
    assert adopted.rows(unchanged) == adopted.before.execute(unchanged).fetchall()
    name = {"v10_from_v3": "v3"}.get(adopted.name, adopted.name)
    texts = adopted.rows("SELECT id, raw_json FROM runs")
    assert {key: hashlib.sha256(text.encode()).hexdigest()[:16] for key, text in texts} == RAW[name]


def test_timestamps_are_the_same_instants_as_utc_text_of_fixed_width(adopted: Adopted) -> None:
    before = dict(adopted.before.execute("SELECT id, timestamp FROM runs"))
    for key, found in adopted.rows("SELECT id, timestamp FROM runs"):
        if before[key] == "":
            assert found is None
        elif before[key].endswith("+02:00"):
            assert (before[key], found) == ("2025-01-15T10:30:00+02:00", "2025-01-15T08:30:00.000000+00:00")
        else:
            assert found == f"{before[key]}+00:00"


def test_plain_metrics_keep_their_values_nested_ones_appear_and_booleans_go(adopted: Adopted) -> None:
    plain = (
        "SELECT b.run_id, b.run_number, b.test_name, metric_name, metric_value FROM metrics m JOIN benchmarks b"
        " ON b.id = benchmark_id WHERE instr(metric_name, '.') = 0 AND metric_name <> 'is_ok' ORDER BY 1, 2, 3, 4"
    )
    assert adopted.rows(plain) == adopted.before.execute(plain).fetchall()
    assert adopted.rows("SELECT 1 FROM metrics WHERE metric_name = 'is_ok'") == []
    if adopted.name in SUMS:
        assert adopted.rows("SELECT count(*) > 0 FROM metrics WHERE metric_name LIKE 'ttft_ms.%'") == [(1,)]
        passed, *tps, total = SUMS[adopted.name]
        assert adopted.rows("SELECT count(*) FROM benchmarks WHERE passed") == [(passed,)]
        found = adopted.rows(
            "SELECT avg(metric_value), min(metric_value), max(metric_value) FROM metrics"
            " WHERE metric_name = 'avg_tps'"
        )
        assert [round(value, 6) for value in found[0]] == tps
        (value,) = adopted.rows("SELECT sum(metric_value) FROM metrics WHERE instr(metric_name, '.') = 0")[0]
        assert round(value, 3) == total


def test_a_fingerprint_is_the_runs_own_or_none(adopted: Adopted) -> None:
    statement = "SELECT run_id, gpu_model, gpu_vram_gb, gpu_count, fingerprint FROM hardware ORDER BY run_id"
    assert adopted.rows(statement) == adopted.before.execute(statement).fetchall()
    for run_id, _, _, _, fingerprint in adopted.rows(statement):
        assert (fingerprint is None) == (run_id in WITHOUT_FINGERPRINT)


def test_the_file_is_whole_its_versions_complete_and_a_second_migration_changes_nothing(adopted: Adopted) -> None:
    assert adopted.rows("PRAGMA integrity_check") == [("ok",)]
    assert adopted.rows("PRAGMA foreign_key_check") == []
    assert adopted.rows("SELECT version FROM schema_version") == [(n,) for n in range(1, SCHEMA_VERSION + 1)]
    kept = dict(adopted.before.execute("SELECT version, applied_at FROM schema_version"))
    found = dict(adopted.rows("SELECT version, applied_at FROM schema_version"))
    assert {version: found[version] for version in kept} == kept
    before = adopted.rows("SELECT name, sql FROM sqlite_master"), list(adopted.after.iterdump())
    with adopted.store() as store:
        assert store.schema_status().state is SchemaState.CURRENT
        assert store.migrate() == []
    assert (adopted.rows("SELECT name, sql FROM sqlite_master"), list(adopted.after.iterdump())) == before


def test_the_schema_is_that_of_a_new_database(adopted: Adopted, new_schema: Any, schema_of: Any) -> None:
    assert schema_of(adopted.path) == new_schema


def test_the_source_as_it_was_is_the_backup(adopted: Adopted) -> None:
    (copy,) = adopted.path.parent.glob(f"{adopted.path.name}.v*.bak")
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)) as connection:
        assert list(connection.iterdump()) == list(adopted.before.iterdump())


def test_verify_finds_no_damage(adopted: Adopted) -> None:
    with adopted.store() as store:
        findings = list(store.verify())
    assert [finding for finding in findings if finding.severity is Severity.DAMAGE] == []
    if adopted.name != "v10_awkward":
        assert findings == []


def test_operations_keep_every_row(adopted: Adopted) -> None:
    changed = {"agents": {"token", "token_hash", "token_prefix"}, "agent_settings": {"id"}}
    times = {"started_at", "completed_at", "last_checked", "last_heartbeat"}
    kept = ("agents", "web_campaigns", "quick_tests", "events", "web_settings", "quick_test_logs", "campaign_logs",
            "engine_profiles", "agent_engines", "agent_settings")  # fmt: skip
    for table in kept:
        columns = [row[1] for row in adopted.before.execute(f"PRAGMA table_info({table})")]
        same = [name for name in columns if name not in changed.get(table, set()) | times]
        if same:
            statement = f"SELECT {', '.join(same)} FROM {table} ORDER BY 1"
            before = adopted.before.execute(statement).fetchall()
            found = adopted.rows(statement)
            assert (found if table != "agent_settings" else found[: len(before)]) == before, table
        for name in set(columns) & times:
            values = adopted.before.execute(f"SELECT {name} FROM {table} ORDER BY rowid").fetchall()
            expected = [f"{v[:19]}{v[19:] or '.000000'}+00:00" if v else None for (v,) in values]
            assert [v for (v,) in adopted.rows(f"SELECT {name} FROM {table} ORDER BY rowid")] == expected


def test_what_the_readme_says_about_operations(adopted: Adopted) -> None:
    if adopted.name in {"v1", "v10_awkward", "v11"}:
        assert adopted.rows("SELECT * FROM agent_settings") == []
        return
    settings = adopted.rows("SELECT agent_id, count(*), count(DISTINCT key) FROM agent_settings GROUP BY 1")
    assert settings == [("agent0000000dgx1", 6, 6), ("agent0000000rtx1", 6, 6)]
    tests = adopted.rows("SELECT id, status, result_id, error, command_id FROM quick_tests ORDER BY id")
    assert tests == [
        ("qt00000000000001", "completed", RESULTS[adopted.name], "", tests[0][4]),
        ("qt00000000000002", "failed", None, "engine crashed", tests[1][4]),
    ]
    campaigns = adopted.rows(
        "SELECT id, name, status, agent_id, total_runs, succeeded, failed, skipped FROM web_campaigns ORDER BY id"
    )
    assert campaigns == [
        ("camp000000000001", "Nightly", "completed", "agent0000000dgx1", 4, 3, 1, 0),
        ("camp000000000002", "Draft", "draft", None, 0, 0, 0, 0),
    ]
    assert sorted(adopted.rows("SELECT event_type FROM events")) == [
        ("agent_status",),
        ("campaign_status",),
        ("status",),
    ]
    assert dict(adopted.rows("SELECT * FROM web_settings")) == {
        "devon_tab_visible": "false",
        "devon_url": "http://devon:8000",
        "model_dir": "/models",
    }


def test_a_run_that_a_quick_test_names_can_be_deleted(adopted: Adopted) -> None:
    if adopted.name not in RESULTS:
        pytest.skip("no quick test names a run of this file")
    path = adopted.path.with_name("deleted.db")
    shutil.copyfile(adopted.path, path)
    with SQLiteStore(SQLiteDatabase(SQLiteFile(path))) as store:
        assert store.delete_result(RESULTS[adopted.name])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT DISTINCT result_id FROM quick_tests").fetchall() == [(None,)]


@pytest.fixture
def adopt(tmp_path: Path) -> Iterator[Callable[[str], Adopted]]:
    made: list[Adopted] = []

    def adopt(name: str) -> Adopted:
        made.append(Adopted(name, tmp_path))
        return made[-1]

    yield adopt
    for adopted in made:
        adopted.close()


def test_tokens_of_version_3_are_hashed_and_none_of_their_bytes_is_left(
    adopt: Callable[[str], Adopted],
) -> None:
    adopted = adopt("v3")
    found = adopted.rows("SELECT name, token, token_hash, token_prefix, hardware_details, cpu_arch FROM agents")
    assert sorted(found) == [
        ("dgx-spark-01", "", DGX_HASH, "a1b2c3d4", "", ""),
        ("rtx-box", "", RTX_HASH, "ffffffff", "", ""),
    ]
    for file in adopted.path.parent.glob("v3.db*"):
        held = file.read_bytes()
        is_copy = file.suffix == ".bak"
        assert (b"a1b2c3d4e5f60718293a4b5c6d7e8f90" in held) == is_copy, file
        assert (b"f" * 64 in held) == is_copy, file


def test_version_3_and_its_upgrade_by_kitt_1_come_out_the_same(adopt: Callable[[str], Adopted]) -> None:
    three, ten = adopt("v3"), adopt("v10_from_v3")
    with closing(sqlite3.connect(ten.path)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        if table in {"schema_version", "sqlite_sequence"} or table.startswith("_yoyo"):
            continue
        statement = f"SELECT * FROM {table} ORDER BY 1, 2"
        assert three.rows(statement) == ten.rows(statement), table


def test_an_existing_hash_stays_and_logs_keep_their_order(adopt: Callable[[str], Adopted]) -> None:
    adopted = adopt("v7")
    agents = adopted.rows("SELECT name, token, token_hash, cpu_arch FROM agents ORDER BY name")
    assert agents == [("dgx-spark-01", "", DGX_HASH, ""), ("rtx-box", "", "", "")]
    lines = adopted.rows("SELECT line FROM quick_test_logs ORDER BY id")
    assert lines == [(f"[{n}] tokens/s = {100 + n} ✓",) for n in range(5)]
    assert adopted.rows("SELECT * FROM campaign_logs") == []


def test_the_settings_and_logs_of_version_10(adopt: Callable[[str], Adopted]) -> None:
    adopted = adopt("v10")
    assert adopted.rows("SELECT cpu_arch FROM agents ORDER BY 1") == [("",), ("arm64",)]
    assert adopted.rows("SELECT line FROM campaign_logs ORDER BY id") == [
        (f"campaign line {n}",) for n in range(4)
    ]


def test_the_awkward_ones(adopt: Callable[[str], Adopted]) -> None:
    adopted = adopt("v10_awkward")
    with adopted.store() as store:
        order = [(line.id, line.timestamp) for line in store.list_results(order_by="timestamp")]
        assert order[-1] == ("255797b344e3480f", None)
        values = adopted.rows(
            "SELECT metric_value FROM metrics JOIN benchmarks b ON b.id = benchmark_id"
            " WHERE run_id = '5b64c0752c7a4e55' AND metric_name = 'avg_tps'"
        )
        finite = [value for (value,) in values if value is not None and math.isfinite(value)]
        assert [len(values), values.count((None,)), values.count((math.inf,)), len(finite)] == [24, 1, 1, 22]
        (row,) = store.aggregate("model", "avg_tps", filters={"id": "5b64c0752c7a4e55"})
        assert row == {"model": "Ünïcødé/模型", "count": 1, "avg_tps_avg": pytest.approx(sum(finite) / 22)}
        assert store.get_result("255797b344e3480f") == {}
        said = [f"{finding.run_id}: {finding.what}" for finding in store.verify()]
        assert "a25036cc26e94937: the document is the same as that of run c75996c3024e4bee" in said
        assert any("total_benchmarks is 24, but the results give 2" in line for line in said)
        assert store.count({"passed": True}) == 3
