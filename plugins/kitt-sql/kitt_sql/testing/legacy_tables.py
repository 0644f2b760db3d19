"""The tables of KITT 1.x, version by version, written from their description.

A column is ``name type default``; ``!`` after the type is NOT NULL, ``-`` no default. Types are names of the
fields of `LegacyTypes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import asdict, frozen

__all__ = ["POSTGRESQL", "SQLITE", "LegacyTypes", "create_statements"]


@frozen
class LegacyTypes:
    """A database's names of the types; KITT 1.x chose some of them badly in PostgreSQL."""

    serial: str
    key: str = "TEXT PRIMARY KEY"
    text: str = "TEXT"
    int: str = "INTEGER"
    flag: str = "INTEGER"
    real: str = "REAL"
    double: str = "REAL"
    json: str = "TEXT"
    time: str = "TEXT"
    now: str = "(datetime('now'))"
    false: str = "0"


SQLITE: Final = LegacyTypes(serial="INTEGER PRIMARY KEY AUTOINCREMENT")
POSTGRESQL: Final = LegacyTypes(
    serial="SERIAL PRIMARY KEY",
    flag="BOOLEAN",
    double="DOUBLE PRECISION",
    json="JSONB",
    time="TIMESTAMPTZ",
    now="now()",
    false="FALSE",
)

_TABLES: Final[dict[str, tuple[int, str]]] = {
    "schema_version": (1, "version int! -, applied_at time! now"),
    "runs": (
        1,
        (
            "id key -, model text! -, engine text! -, suite_name text! '', timestamp time! -, passed flag! false,"
            " total_benchmarks int! 0, passed_count int! 0, failed_count int! 0, total_time_seconds real! 0.0,"
            " kitt_version text! '', raw_json json! -, created_at time! now"
        ),
    ),
    "benchmarks": (
        1,
        (
            "id serial -, run_id text! - runs*, test_name text! -, test_version text! '1.0.0', run_number int! 1,"
            " passed flag! false, timestamp text! '', created_at time! now"
        ),
    ),
    "metrics": (1, "id serial -, benchmark_id int! - benchmarks*, metric_name text! -, metric_value double -"),
    "hardware": (
        1,
        (
            "id serial -, run_id text! - runs*, gpu_model text -, gpu_vram_gb int -, gpu_count int 1,"
            " cpu_model text -, cpu_cores int -, ram_gb int -, environment_type text -, fingerprint text -"
        ),
    ),
    "agents": (
        2,
        (
            "id key -, name text! - unique, hostname text! -, port int! 8090, token text! '',"
            " status text! 'offline', gpu_info text '', gpu_count int 0, cpu_info text '', ram_gb int 0,"
            " environment_type text '', fingerprint text '', kitt_version text '', last_heartbeat text '',"
            " registered_at time! now, notes text '', tags text '[]'"
        ),
    ),
    "web_campaigns": (
        2,
        (
            "id key -, name text! -, description text '', config_json text! -, status text! 'draft',"
            " agent_id text - agents, created_at time! now, started_at text '', completed_at text '',"
            " total_runs int 0, succeeded int 0, failed int 0, skipped int 0, error text ''"
        ),
    ),
    "quick_tests": (
        2,
        (
            "id key -, agent_id text! - agents, model_path text! -, engine_name text! -, benchmark_name text! -,"
            " suite_name text 'quick', status text! 'queued', created_at time! now, started_at text '',"
            " completed_at text '', result_id text - runs, error text ''"
        ),
    ),
    "events": (2, "id serial -, event_type text! -, source_id text! -, data text! -, created_at time! now"),
    "web_settings": (3, "key key -, value text! -"),
    "quick_test_logs": (7, "id serial -, test_id text! - quick_tests, line text! -, created_at time! now"),
    "agent_settings": (
        8,
        "id serial -, agent_id text! - agents*, key text! -, value text! '' unique(agent_id+key)",
    ),
    "campaign_logs": (10, "id serial -, campaign_id text! - web_campaigns, line text! -, created_at time! now"),
    "engine_profiles": (
        11,
        (
            "id key -, name text! - unique, engine text! -, mode text! 'docker', description text '',"
            " build_config text '{}', runtime_config text '{}', created_at time! now, updated_at time! now"
        ),
    ),
    "agent_engines": (
        11,
        (
            "id serial -, agent_id text! - agents*, engine text! -, mode text! -, version text '',"
            " binary_path text '', status text 'unknown', last_checked text '' unique(agent_id+engine+mode)"
        ),
    ),
}
_ADDED: Final = (
    (4, "agents", "token_hash text ''"),
    (4, "agents", "token_prefix text ''"),
    (5, "agents", "hardware_details text ''"),
    (6, "quick_tests", "command_id text ''"),
    (9, "agents", "cpu_arch text ''"),
    (11, "quick_tests", "engine_mode text 'docker'"),
    (11, "quick_tests", "profile_id text ''"),
)
_INDEXES: Final = (
    (1, "runs", "model engine timestamp suite_name"),
    (1, "benchmarks", "run_id test_name"),
    (1, "metrics", "benchmark_id metric_name"),
    (1, "hardware", "run_id"),
    (2, "agents", "name status"),
    (2, "web_campaigns", "status agent_id"),
    (2, "quick_tests", "agent_id status"),
    (2, "events", "event_type source_id"),
    (7, "quick_test_logs", "test_id"),
    (8, "agent_settings", "agent_id"),
    (10, "campaign_logs", "campaign_id"),
    (11, "engine_profiles", "engine"),
    (11, "agent_engines", "agent_id"),
)
_SHORT: Final = {
    "suite_name": "suite",
    "metric_name": "name",
    "event_type": "type",
    "source_id": "source",
    "campaign_id": "campaign",
}
_KEPT: Final = {("benchmarks", "run_id"), ("metrics", "benchmark_id"), ("hardware", "run_id")}


def create_statements(version: int, types: LegacyTypes, *, tables_until: int | None = None) -> Iterator[str]:
    """Yield the statements that create the tables of a version, without any rows.

    Args:
        version: 1 to 11; later columns are added to earlier tables, as an upgrade adds them.
        types: The database's type names.
        tables_until: Make no table, column or index of a later version, as in an incomplete installation.
    """
    last = version if tables_until is None else tables_until
    for table, (since, columns) in _TABLES.items():
        if since <= last:
            yield f"CREATE TABLE {table} ({', '.join(_definitions(columns, types))})"
    for since, table, column in _ADDED:
        if since <= last:
            yield f"ALTER TABLE {table} ADD COLUMN {_definition(column, types)}"
    for since, table, columns in _INDEXES:
        if since <= last:
            for column in columns.split():
                yield f"CREATE INDEX {_index_name(table, column)} ON {table} ({column})"


def _index_name(table: str, column: str) -> str:
    name = column if (table, column) in _KEPT else _SHORT.get(column, column.removesuffix("_id"))
    return f"idx_{table}_{name}"


def _definitions(columns: str, types: LegacyTypes) -> Iterator[str]:
    unique = ""
    for column in columns.split(", "):
        definition, _, together = column.partition(" unique(")
        unique = together.rstrip(")").replace("+", ", ") or unique
        yield _definition(definition, types)
    if unique:
        yield f"UNIQUE ({unique})"


def _definition(column: str, types: LegacyTypes) -> str:
    name, kind, default, *more = column.split()
    words = [name, asdict(types)[kind.removesuffix("!")]]
    if kind.endswith("!"):
        words.append("NOT NULL")
    if default != "-":
        words.append(
            f"DEFAULT {types.now if default == 'now' else types.false if default == 'false' else default}"
        )
    if more == ["unique"]:
        words.append("UNIQUE")
    elif more:
        parent = more[0].removesuffix("*")
        words.append(f"REFERENCES {parent} (id){' ON DELETE CASCADE' if more[0].endswith('*') else ''}")
    return " ".join(words)
