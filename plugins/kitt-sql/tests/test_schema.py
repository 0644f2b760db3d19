"""A new database is the schema reference, version 11 and the written additions; nothing else, nothing missing.

A column of the tables below is ``name TYPE default reference``; ``-`` is none. They are transcribed by hand from
the schema reference (versions 1 to 10) and from KITT 1.7 (version 11), defaults from KITT 1.x, NULL for optional
times and foreign keys.
"""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect

from kitt_sql.sqlite import SQLiteStore
from kitt_sql.sqlite.engine import SQLiteFile
from kitt_sql.tables import SCHEMA_VERSION, metadata

NOW = "datetime('now')"

REFERENCE = {
    "schema_version": f"version INTEGER - - | applied_at TEXT {NOW} -",
    "runs": f"""id TEXT - - | model TEXT - - | engine TEXT - - | suite_name TEXT '' - | timestamp TEXT - -
        | passed INTEGER 0 - | total_benchmarks INTEGER 0 - | passed_count INTEGER 0 - | failed_count INTEGER 0 -
        | total_time_seconds REAL 0.0 - | kitt_version TEXT '' - | raw_json TEXT - - | created_at TEXT {NOW} -""",
    "benchmarks": f"""id INTEGER - - | run_id TEXT - runs.id:CASCADE | test_name TEXT - -
        | test_version TEXT '1.0.0' - | run_number INTEGER 1 - | passed INTEGER 0 - | timestamp TEXT - -
        | created_at TEXT {NOW} -""",
    "metrics": """id INTEGER - - | benchmark_id INTEGER - benchmarks.id:CASCADE | metric_name TEXT - -
        | metric_value REAL - -""",
    "hardware": """id INTEGER - - | run_id TEXT - runs.id:CASCADE | gpu_model TEXT - - | gpu_vram_gb INTEGER - -
        | gpu_count INTEGER 1 - | cpu_model TEXT - - | cpu_cores INTEGER - - | ram_gb INTEGER - -
        | environment_type TEXT - - | fingerprint TEXT - -""",
    "agents": f"""id TEXT - - | name TEXT - - | hostname TEXT - - | port INTEGER 8090 - | token TEXT '' -
        | token_hash TEXT '' - | token_prefix TEXT '' - | status TEXT 'offline' - | gpu_info TEXT '' -
        | gpu_count INTEGER 0 - | cpu_info TEXT '' - | ram_gb INTEGER 0 - | environment_type TEXT '' -
        | fingerprint TEXT '' - | kitt_version TEXT '' - | hardware_details TEXT '' - | last_heartbeat TEXT - -
        | registered_at TEXT {NOW} - | notes TEXT '' - | tags TEXT '[]' - | cpu_arch TEXT '' -""",
    "web_campaigns": f"""id TEXT - - | name TEXT - - | description TEXT '' - | config_json TEXT - -
        | status TEXT 'draft' - | agent_id TEXT - agents.id: | created_at TEXT {NOW} - | started_at TEXT - -
        | completed_at TEXT - - | total_runs INTEGER 0 - | succeeded INTEGER 0 - | failed INTEGER 0 -
        | skipped INTEGER 0 - | error TEXT '' -""",
    "quick_tests": f"""id TEXT - - | agent_id TEXT - agents.id: | model_path TEXT - - | engine_name TEXT - -
        | benchmark_name TEXT - - | suite_name TEXT 'quick' - | status TEXT 'queued' - | command_id TEXT '' -
        | created_at TEXT {NOW} - | started_at TEXT - - | completed_at TEXT - - | result_id TEXT - runs.id:
        | error TEXT '' -""",
    "events": f"""id INTEGER - - | event_type TEXT - - | source_id TEXT - - | data TEXT - -
        | created_at TEXT {NOW} -""",
    "web_settings": "key TEXT - - | value TEXT - -",
    "quick_test_logs": f"""id INTEGER - - | test_id TEXT - quick_tests.id: | line TEXT - -
        | created_at TEXT {NOW} -""",
    "agent_settings": """id INTEGER - - | agent_id TEXT - agents.id:CASCADE | key TEXT - - | value TEXT '' -""",
    "campaign_logs": f"""id INTEGER - - | campaign_id TEXT - web_campaigns.id: | line TEXT - -
        | created_at TEXT {NOW} -""",
}

VERSION_11 = {
    "engine_profiles": f"""id TEXT - - | name TEXT - - | engine TEXT - - | mode TEXT 'docker' -
        | description TEXT '' - | build_config TEXT '{{}}' - | runtime_config TEXT '{{}}' -
        | created_at TEXT {NOW} - | updated_at TEXT {NOW} -""",
    "agent_engines": """id INTEGER - - | agent_id TEXT - agents.id:CASCADE | engine TEXT - - | mode TEXT - -
        | version TEXT '' - | binary_path TEXT '' - | status TEXT 'unknown' - | last_checked TEXT - -""",
    "quick_tests": "engine_mode TEXT 'docker' - | profile_id TEXT '' -",
}

ADDITIONS = {
    "run_documents": "run_id TEXT - runs.id:CASCADE | sha256 TEXT - - | document BLOB - -",
    "run_labels": "run_id TEXT - runs.id:CASCADE | key TEXT - - | value TEXT - -",
}

INDEXES = {
    "idx_runs_model": "runs(model)",
    "idx_runs_engine": "runs(engine)",
    "idx_runs_suite_name": "runs(suite_name)",
    "idx_runs_timestamp": "runs(timestamp)",
    "idx_benchmarks_run_id": "benchmarks(run_id)",
    "idx_benchmarks_test_name": "benchmarks(test_name)",
    "idx_metrics_benchmark_id": "metrics(benchmark_id)",
    "idx_metrics_name": "metrics(metric_name)",
    "idx_hardware_run_id": "hardware(run_id)",
    "idx_agents_name": "agents(name)",
    "idx_agents_status": "agents(status)",
    "idx_web_campaigns_status": "web_campaigns(status)",
    "idx_web_campaigns_agent": "web_campaigns(agent_id)",
    "idx_quick_tests_agent": "quick_tests(agent_id)",
    "idx_quick_tests_status": "quick_tests(status)",
    "idx_events_type": "events(event_type)",
    "idx_events_source": "events(source_id)",
    "idx_quick_test_logs_test": "quick_test_logs(test_id)",
    "idx_campaign_logs_campaign": "campaign_logs(campaign_id)",
    "idx_agent_settings_agent": "agent_settings(agent_id)",
}

ADDED_INDEXES = {
    "idx_engine_profiles_engine": "engine_profiles(engine)",
    "idx_agent_engines_agent": "agent_engines(agent_id)",
    "idx_run_documents_sha256": "run_documents(sha256)",
    "idx_run_labels_key_value": "run_labels(key, value)",
    "idx_runs_model_timestamp": "runs(model, timestamp)",
    "idx_runs_engine_timestamp": "runs(engine, timestamp)",
}

UNIQUE = {
    "agents": [("name",)],
    "agent_settings": [("agent_id", "key")],
    "engine_profiles": [("name",)],
    "agent_engines": [("agent_id", "engine", "mode")],
}

PRIMARY_KEYS = {"run_documents": ["run_id"], "run_labels": ["run_id", "key"], "web_settings": ["key"]} | {
    "schema_version": ["version"]
}
"""Of the tables whose key is not ``id``."""

BOOKKEEPING = {"_yoyo_migration", "_yoyo_log", "_yoyo_version", "sqlite_sequence"}
"""Tables of the migration tool and of SQLite itself."""

Columns = dict[str, tuple[str, str | None, str | None]]


def _parsed(text: str) -> Columns:
    columns: Columns = {}
    for column in text.split("|"):
        name, kind, default, reference = column.split()
        columns[name] = (kind, None if default == "-" else default, None if reference == "-" else reference)
    return columns


def _expected() -> dict[str, Columns]:
    tables: dict[str, Columns] = {}
    for source in (REFERENCE, VERSION_11, ADDITIONS):
        for table, text in source.items():
            tables.setdefault(table, {}).update(_parsed(text))
    return tables


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "new.db"
    with SQLiteStore(SQLiteFile(path)) as store:
        store.initialize()
    return path


def test_tables_columns_types_defaults_and_references_are_those_of_the_reference(path: Path) -> None:
    found: dict[str, Columns] = {}
    with closing(sqlite3.connect(path)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if table in BOOKKEEPING:
                continue
            references = {
                row[3]: f"{row[2]}.{row[4]}:{'' if row[6] == 'NO ACTION' else row[6]}"
                for row in connection.execute(f"PRAGMA foreign_key_list({table})")
            }
            found[table] = {
                row[1]: (row[2], row[4], references.get(row[1]))
                for row in connection.execute(f"PRAGMA table_info({table})")
            }
    assert found == _expected()


def test_indexes_are_those_of_the_reference_and_the_additions(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        statements = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
    found = {name: re.sub(r"CREATE INDEX \w+ ON (\w+) \((.*)\)", r"\1(\2)", sql) for name, sql in statements}
    assert found == INDEXES | ADDED_INDEXES


def test_keys_and_unique_constraints(path: Path) -> None:
    inspector = inspect(create_engine(f"sqlite:///{path}"))
    for table in _expected():
        assert inspector.get_pk_constraint(table)["constrained_columns"] == PRIMARY_KEYS.get(table, ["id"])
        unique = [tuple(c["column_names"]) for c in inspector.get_unique_constraints(table)]
        assert unique == UNIQUE.get(table, [])


def test_serial_ids_are_never_used_twice(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        tables = {
            name
            for name, sql in connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
            if "AUTOINCREMENT" in sql
        }
    assert tables == {
        "benchmarks", "metrics", "hardware", "events", "quick_test_logs", "agent_settings", "campaign_logs",
        "agent_engines",
    }  # fmt: skip


def test_schema_version_has_one_row_per_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT version, applied_at FROM schema_version ORDER BY version").fetchall()
    assert [version for version, _ in rows] == list(range(1, SCHEMA_VERSION + 1))
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", at) for _, at in rows)


def _facts(engine: Engine) -> dict[str, object]:
    inspector = inspect(engine)
    return {
        table: (
            {
                # A row's number can't be NULL, whether or not its column says so.
                c["name"]: (str(c["type"]), c["nullable"] and c["name"] != "id", _bare(c["default"]))
                for c in inspector.get_columns(table)
            },
            inspector.get_pk_constraint(table)["constrained_columns"],
            _references(engine, table),
            sorted((i["name"], i["column_names"], i["unique"]) for i in inspector.get_indexes(table)),
            sorted(u["column_names"] for u in inspector.get_unique_constraints(table)),
        )
        for table in inspector.get_table_names()
        if table not in BOOKKEEPING
    }


def _references(engine: Engine, table: str) -> list[tuple[object, ...]]:
    # SQLAlchemy sees ON DELETE only where a key is declared for the whole table.
    with engine.connect() as connection:
        return sorted(tuple(row[2:]) for row in connection.exec_driver_sql(f"PRAGMA foreign_key_list({table})"))


def _bare(default: str | None) -> str | None:
    return None if default is None else default.strip("()")


def test_what_the_migrations_make_is_what_the_tables_in_code_say(path: Path, tmp_path: Path) -> None:
    from_code = create_engine(f"sqlite:///{tmp_path / 'code.db'}")
    metadata.create_all(from_code)
    from_migrations = create_engine(f"sqlite:///{path}")
    assert _facts(from_migrations) == _facts(from_code)
    from_code.dispose()
    from_migrations.dispose()
