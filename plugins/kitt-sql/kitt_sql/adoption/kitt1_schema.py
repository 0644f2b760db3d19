"""The tables of KITT 1.x as data, and how it wrote times: facts about released versions, which never change.

Where the two databases differ, `times` and `json` say what a column means, not what type it has (KITT 1.x keeps
many times as text even in PostgreSQL).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from attrs import frozen

from kitt_core.runs import format_utc, parse_timestamp

__all__ = [
    "ADOPTED_VERSION",
    "COLUMNS_SINCE",
    "DEFAULT_SETTINGS",
    "LAST_VERSION",
    "OPERATIONS",
    "TABLES",
    "Published",
    "as_text",
    "instant",
]

LAST_VERSION: Final = 11
"""The newest version that KITT 1.x writes."""

ADOPTED_VERSION: Final = 12
"""The version of ours that rows move into; later migrations upgrade them like our own."""

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@frozen
class Published:
    """A table of KITT 1.x.

    Attributes:
        name: Its name, then and now.
        since: The version that added it.
        shape: Columns without which a table of that name is not KITT's.
        required: Columns that may not be NULL, with the value that replaces a NULL.
        created: Times that may not be NULL.
        times: Times that may be NULL.
        json: JSON texts.
        references: Column, parent, and whether the row is dropped without it.
    """

    name: str
    since: int
    shape: tuple[str, ...]
    required: Mapping[str, Any] = _NOTHING
    created: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    json: tuple[str, ...] = ()
    references: tuple[tuple[str, str, bool], ...] = ()


OPERATIONS: Final = (
    Published(
        "agents",
        2,
        ("id", "name"),
        required={"hostname": "", "port": 8090, "token": "", "status": "offline"},
        created=("registered_at",),
        times=("last_heartbeat",),
    ),
    Published(
        "web_campaigns",
        2,
        ("id", "name", "status"),
        required={"name": "", "config_json": "{}", "status": "draft"},
        created=("created_at",),
        times=("started_at", "completed_at"),
        json=("config_json",),
        references=(("agent_id", "agents", False),),
    ),
    Published(
        "quick_tests",
        2,
        ("id", "agent_id", "status"),
        required={"model_path": "", "engine_name": "", "benchmark_name": "", "status": "queued"},
        created=("created_at",),
        times=("started_at", "completed_at"),
        references=(("agent_id", "agents", True), ("result_id", "runs", False)),
    ),
    Published(
        "events",
        2,
        ("id", "event_type"),
        required={"event_type": "", "source_id": "", "data": "{}"},
        created=("created_at",),
        json=("data",),
    ),
    Published("web_settings", 3, ("key", "value"), required={"value": ""}),
    Published(
        "quick_test_logs",
        7,
        ("id", "test_id", "line"),
        required={"line": ""},
        created=("created_at",),
        references=(("test_id", "quick_tests", True),),
    ),
    Published(
        "agent_settings",
        8,
        ("id", "agent_id", "key", "value"),
        required={"key": "", "value": ""},
        references=(("agent_id", "agents", True),),
    ),
    Published(
        "campaign_logs",
        10,
        ("id", "campaign_id", "line"),
        required={"line": ""},
        created=("created_at",),
        references=(("campaign_id", "web_campaigns", True),),
    ),
    Published(
        "engine_profiles",
        11,
        ("id", "name", "engine"),
        required={"engine": "", "mode": "docker"},
        created=("created_at", "updated_at"),
    ),
    Published(
        "agent_engines",
        11,
        ("id", "agent_id", "engine", "mode"),
        required={"engine": "", "mode": ""},
        times=("last_checked",),
        references=(("agent_id", "agents", True),),
    ),
)
"""Tables whose rows move as they are, parents before children."""

TABLES: Final[Mapping[str, Published]] = {
    table.name: table
    for table in (
        Published("schema_version", 1, ("version",)),
        Published("runs", 1, ("id", "model", "engine", "timestamp", "raw_json")),
        Published("benchmarks", 1, ("id", "run_id", "test_name")),
        Published("metrics", 1, ("benchmark_id", "metric_name", "metric_value")),
        Published("hardware", 1, ("run_id", "gpu_model")),
        *OPERATIONS,
    )
}

COLUMNS_SINCE: Final[Mapping[tuple[str, str], int]] = {
    ("agents", "token_hash"): 4,
    ("agents", "token_prefix"): 4,
    ("agents", "hardware_details"): 5,
    ("quick_tests", "command_id"): 6,
    ("agents", "cpu_arch"): 9,
    ("quick_tests", "engine_mode"): 11,
    ("quick_tests", "profile_id"): 11,
}
"""Columns that were added after their table."""

DEFAULT_SETTINGS: Final[Mapping[str, str]] = {
    "model_storage_dir": "~/.kitt/models",
    "model_share_source": "",
    "model_share_mount": "",
    "auto_cleanup": "true",
    "heartbeat_interval_s": "30",
    "kitt_image": "",
}
"""What version 8 gives to every agent without it."""

_KEPT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:]{8}(?:\.[0-9]{6}(?:\+00:00)?)?")
"""What `SQLiteDialect.instant` makes sortable."""


def instant(value: Any) -> datetime | None:
    """Return a time of KITT 1.x as an instant, None for an empty one.

    It may have an offset or none, or be SQLite's ``datetime('now')``; without an offset it is UTC.

    Raises:
        ValueError: It cannot be read as a time.
    """
    if value is None or value == "":
        return None
    return parse_timestamp(value if isinstance(value, datetime) else str(value))


def as_text(value: Any, moment: datetime | None) -> str:
    """Return the text that SQLite keeps as ``created_at``: the old one if it can be sorted, else one that can.

    Args:
        value: What the old column held.
        moment: The instant that it means; None is replaced by now.
    """
    if moment is None:
        return format_utc(datetime.now(UTC))
    return value if isinstance(value, str) and _KEPT.fullmatch(value) else format_utc(moment)
