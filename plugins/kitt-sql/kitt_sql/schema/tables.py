"""Every table of schema version 13, as SQLAlchemy Core sees it.

Versions 1 to 11 are the published schema of KITT 1.x; version 12 is the first of this project. The migrations
create the tables, these objects build the queries; a test compares the two on every database.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    TIMESTAMP,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import REAL, TypeEngine

from kitt_core.runs import format_utc
from kitt_sql.schema.released import MIGRATIONS

__all__ = [
    "SCHEMA_VERSION",
    "benchmarks",
    "hardware",
    "metadata",
    "metric_names",
    "metric_rollup",
    "metrics",
    "quick_tests",
    "rolled_runs",
    "run_documents",
    "run_labels",
    "runs",
    "schema_version",
]

SCHEMA_VERSION: Final = len(MIGRATIONS)
"""The version that this package reads and writes."""


class Timestamp(TypeDecorator[datetime]):
    """An instant: fixed-width UTC text in SQLite, ``TIMESTAMPTZ`` in PostgreSQL; aware datetimes in Python."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the database's type."""
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Python to database."""
        return format_utc(value) if value is not None and dialect.name != "postgresql" else value

    def result_processor(self, _dialect: Dialect, _coltype: object) -> Callable[[Any], datetime | None]:
        """Return the bare function: a listing calls it for every row, and a wrapper around it costs time."""
        return _instant


class Flag(TypeDecorator[bool]):
    """A truth value: ``INTEGER`` in SQLite, ``BOOLEAN`` in PostgreSQL; bool or None in Python."""

    impl = Integer
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the database's type."""
        return dialect.type_descriptor(Boolean() if dialect.name == "postgresql" else Integer())

    def process_bind_param(self, value: bool | None, dialect: Dialect) -> Any:
        """Python to database."""
        return int(value) if value is not None and dialect.name != "postgresql" else value

    def result_processor(self, _dialect: Dialect, _coltype: object) -> Callable[[Any], bool | None]:
        """Return the plain function, as `Timestamp` does."""
        return _truth


class JsonText(TypeDecorator[str]):
    """A JSON text: ``TEXT`` in SQLite, ``JSONB`` in PostgreSQL."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the database's type."""
        if dialect.name != "postgresql":
            return dialect.type_descriptor(Text())
        from sqlalchemy.dialects.postgresql import JSONB  # imports the whole dialect, which SQLite can do without

        return dialect.type_descriptor(JSONB())


def _instant(value: Any) -> datetime | None:
    """Database to Python; what the column's default wrote has no offset and is UTC."""
    if not value:
        return None
    try:
        moment: datetime = datetime.fromisoformat(value) if type(value) is str else value
    except ValueError:  # damaged, which `verify` reports: it differs from the document
        return None
    if moment.tzinfo is UTC:
        return moment
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _truth(value: Any) -> bool | None:
    return None if value is None else bool(value)


JSON_TEXT: Final = JsonText()
REAL_NUMBER: Final[TypeEngine[float]] = REAL().with_variant(Double(), "postgresql")
NOW: Final = text("(datetime('now'))")

metadata: Final = MetaData()


def _serial() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=True)


def _key(name: str = "id") -> Column[str]:
    return Column(name, Text, primary_key=True, nullable=False)


def _created(name: str = "created_at") -> Column[datetime]:
    return Column(name, Timestamp, nullable=False, server_default=NOW)


def _text(name: str, default: str | None = None, *, required: bool = False) -> Column[str]:
    return Column(name, Text, nullable=not required, server_default=default)


def _number(name: str, default: str | None = None, *, required: bool = False) -> Column[int]:
    return Column(name, Integer, nullable=not required, server_default=None if default is None else text(default))


def _time(name: str) -> Column[datetime]:
    return Column(name, Timestamp)


def _reference(name: str, target: str, *, cascade: bool = False, required: bool = True) -> Column[Any]:
    # The type is that of the key referred to.
    return Column(name, ForeignKey(target, ondelete="CASCADE" if cascade else None), nullable=not required)


schema_version: Final = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, nullable=False),
    _created("applied_at"),
)

runs: Final = Table(
    "runs",
    metadata,
    _key(),
    _text("model"),
    _text("engine"),
    _text("suite_name", ""),
    _time("timestamp"),
    Column("passed", Flag, server_default=text("0")),
    _number("total_benchmarks", "0"),
    _number("passed_count", "0"),
    _number("failed_count", "0"),
    Column("total_time_seconds", REAL_NUMBER, server_default=text("0.0")),
    _text("kitt_version", ""),
    Column("raw_json", JSON_TEXT),
    _created(),
    Index("idx_runs_model", "model"),
    Index("idx_runs_engine", "engine"),
    Index("idx_runs_suite_name", "suite_name"),
    Index("idx_runs_timestamp", "timestamp"),
    Index("idx_runs_model_timestamp", "model", "timestamp"),
    Index("idx_runs_engine_timestamp", "engine", "timestamp"),
    Index("idx_runs_model_engine_passed_timestamp", "model", "engine", "passed", "timestamp"),
    # What groups and filters need without the documents, which lie in SQLite's rows.
    Index(
        "idx_runs_columns",
        *("id", "model", "engine", "suite_name", "timestamp", "passed", "kitt_version"),
    ).ddl_if(dialect="sqlite"),
)

benchmarks: Final = Table(
    "benchmarks",
    metadata,
    _serial(),
    _reference("run_id", "runs.id", cascade=True),
    _text("test_name"),
    _text("test_version", "1.0.0"),
    _number("run_number", "1"),
    Column("passed", Flag, server_default=text("0")),
    _time("timestamp"),
    _created(),
    Index("idx_benchmarks_run_id", "run_id"),
    Index("idx_benchmarks_test_name", "test_name"),
    sqlite_autoincrement=True,
)

metrics: Final = Table(
    "metrics",
    metadata,
    _serial(),
    _reference("benchmark_id", "benchmarks.id", cascade=True),
    _text("metric_name", required=True),
    Column("metric_value", REAL_NUMBER),
    Index("idx_metrics_benchmark_id", "benchmark_id"),
    Index("idx_metrics_name", "metric_name"),
    sqlite_autoincrement=True,
)

hardware: Final = Table(
    "hardware",
    metadata,
    _serial(),
    _reference("run_id", "runs.id", cascade=True),
    _text("gpu_model"),
    _number("gpu_vram_gb"),
    _number("gpu_count", "1"),
    _text("cpu_model"),
    _number("cpu_cores"),
    _number("ram_gb"),
    _text("environment_type"),
    _text("fingerprint"),
    Index("idx_hardware_run_id", "run_id"),
    sqlite_autoincrement=True,
)

run_documents: Final = Table(
    "run_documents",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    _text("sha256", required=True),
    Column("document", LargeBinary),
    Index("idx_run_documents_sha256", "sha256"),
    sqlite_with_rowid=False,
)

run_labels: Final = Table(
    "run_labels",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    _key("key"),
    _text("value", required=True),
    Index("idx_run_labels_key_value", "key", "value"),
    sqlite_with_rowid=False,
)

metric_names: Final = Table(
    "metric_names",
    metadata,
    _serial(),
    Column("name", Text, nullable=False, unique=True),
    sqlite_autoincrement=True,
)

# Which runs are in ``metric_rollup``, with which metrics (a JSON array). In SQLite, the rows of ``metrics`` beyond
# the last that one of them has are not rolled up yet.
rolled_runs: Final = Table(
    "rolled_runs",
    metadata,
    _serial(),
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False, unique=True),
    _text("name_ids", required=True),
    _number("last_metric_id", required=True),
    sqlite_autoincrement=True,
)

# A run's finite values of one metric; all of them as bytes (`kitt_sql.rollup`) where there are more than two.
metric_rollup: Final = Table(
    "metric_rollup",
    metadata,
    *(
        Column(name, Integer, primary_key=True, autoincrement=False, nullable=False)
        for name in ("name_id", "rolled_id")
    ),
    _number("entries", required=True),
    *(Column(name, REAL_NUMBER, nullable=False) for name in ("total", "least", "greatest", "mean")),
    Column("numbers", LargeBinary),
    Index("idx_metric_rollup_mean", "name_id", "mean", "rolled_id"),
    sqlite_with_rowid=False,
)

agents: Final = Table(
    "agents",
    metadata,
    _key(),
    Column("name", Text, nullable=False, unique=True),
    _text("hostname", required=True),
    _number("port", "8090", required=True),
    _text("token", "", required=True),
    _text("status", "offline", required=True),
    _text("gpu_info", ""),
    _number("gpu_count", "0"),
    _text("cpu_info", ""),
    _number("ram_gb", "0"),
    _text("environment_type", ""),
    _text("fingerprint", ""),
    _text("kitt_version", ""),
    _time("last_heartbeat"),
    _created("registered_at"),
    _text("notes", ""),
    _text("tags", "[]"),
    _text("token_hash", ""),
    _text("token_prefix", ""),
    _text("hardware_details", ""),
    _text("cpu_arch", ""),
    Index("idx_agents_name", "name"),
    Index("idx_agents_status", "status"),
)

web_campaigns: Final = Table(
    "web_campaigns",
    metadata,
    _key(),
    _text("name", required=True),
    _text("description", ""),
    Column("config_json", JSON_TEXT, nullable=False),
    _text("status", "draft", required=True),
    _reference("agent_id", "agents.id", required=False),
    _created(),
    _time("started_at"),
    _time("completed_at"),
    _number("total_runs", "0"),
    _number("succeeded", "0"),
    _number("failed", "0"),
    _number("skipped", "0"),
    _text("error", ""),
    Index("idx_web_campaigns_status", "status"),
    Index("idx_web_campaigns_agent", "agent_id"),
)

quick_tests: Final = Table(
    "quick_tests",
    metadata,
    _key(),
    _reference("agent_id", "agents.id"),
    _text("model_path", required=True),
    _text("engine_name", required=True),
    _text("benchmark_name", required=True),
    _text("suite_name", "quick"),
    _text("status", "queued", required=True),
    _created(),
    _time("started_at"),
    _time("completed_at"),
    _reference("result_id", "runs.id", required=False),
    _text("error", ""),
    _text("command_id", ""),
    _text("engine_mode", "docker"),
    _text("profile_id", ""),
    Index("idx_quick_tests_agent", "agent_id"),
    Index("idx_quick_tests_status", "status"),
)

events: Final = Table(
    "events",
    metadata,
    _serial(),
    _text("event_type", required=True),
    _text("source_id", required=True),
    Column("data", JSON_TEXT, nullable=False),
    _created(),
    Index("idx_events_type", "event_type"),
    Index("idx_events_source", "source_id"),
    sqlite_autoincrement=True,
)

web_settings: Final = Table("web_settings", metadata, _key("key"), _text("value", required=True))

quick_test_logs: Final = Table(
    "quick_test_logs",
    metadata,
    _serial(),
    _reference("test_id", "quick_tests.id"),
    _text("line", required=True),
    _created(),
    Index("idx_quick_test_logs_test", "test_id"),
    sqlite_autoincrement=True,
)

agent_settings: Final = Table(
    "agent_settings",
    metadata,
    _serial(),
    _reference("agent_id", "agents.id", cascade=True),
    _text("key", required=True),
    _text("value", "", required=True),
    UniqueConstraint("agent_id", "key"),
    Index("idx_agent_settings_agent", "agent_id"),
    sqlite_autoincrement=True,
)

campaign_logs: Final = Table(
    "campaign_logs",
    metadata,
    _serial(),
    _reference("campaign_id", "web_campaigns.id"),
    _text("line", required=True),
    _created(),
    Index("idx_campaign_logs_campaign", "campaign_id"),
    sqlite_autoincrement=True,
)

engine_profiles: Final = Table(
    "engine_profiles",
    metadata,
    _key(),
    Column("name", Text, nullable=False, unique=True),
    _text("engine", required=True),
    _text("mode", "docker", required=True),
    _text("description", ""),
    _text("build_config", "{}"),
    _text("runtime_config", "{}"),
    _created(),
    _created("updated_at"),
    Index("idx_engine_profiles_engine", "engine"),
)

agent_engines: Final = Table(
    "agent_engines",
    metadata,
    _serial(),
    _reference("agent_id", "agents.id", cascade=True),
    _text("engine", required=True),
    _text("mode", required=True),
    _text("version", ""),
    _text("binary_path", ""),
    _text("status", "unknown"),
    _time("last_checked"),
    UniqueConstraint("agent_id", "engine", "mode"),
    Index("idx_agent_engines_agent", "agent_id"),
    sqlite_autoincrement=True,
)
