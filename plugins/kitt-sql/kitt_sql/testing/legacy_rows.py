"""Rows as KITT 1.x wrote them: only top-level metrics, truth values as numbers, times unchanged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

__all__ = ["TOKEN", "Execute", "LegacyRun", "insert_operations", "insert_run", "legacy_runs"]

Execute = Callable[[str, Sequence[Any]], Any]
"""Runs a statement whose placeholders are ``?``."""

TOKEN: Final = "0123456789abcdef" * 4
"""The token of an agent that has it in plain text."""

_FINGERPRINT: Final = "NVIDIA-GeForce-RTX-4090-24GB_AMD-Processor-64c_503GB-DDR4"
_CREATED: Final = "2025-08-01 10:00:00"


@frozen
class LegacyRun:
    """A run to be put into an old database.

    Attributes:
        id: Its id.
        text: The document.
        strict: Whether JSONB accepts it.
        rows: How many of its results have rows, None for all; fewer make it incomplete.
        created_at: As SQLite's own default writes it.
    """

    id: str
    text: str = field(repr=False)
    strict: bool = True
    rows: int | None = None
    created_at: str = _CREATED


def legacy_runs() -> list[LegacyRun]:
    """Return runs of every kind that databases hold."""
    offset = _document(1) | {"timestamp": "2025-01-15T10:30:00+02:00", "model": "Ünïcødé/模型"}
    offset["system_info"]["fingerprint"] = _FINGERPRINT
    zulu = _document(2) | {"timestamp": "2025-01-15T09:00:00Z", "total_time_seconds": 1851.529}
    stump = json.dumps(_document(3))
    return [
        LegacyRun("regular000000000", json.dumps(_document(0))),
        LegacyRun("offset0000000000", json.dumps(offset)),
        LegacyRun("zulu000000000000", json.dumps(zulu, indent=2)),
        LegacyRun("empty00000000000", "{}"),
        LegacyRun("stump00000000000", stump, rows=1, created_at="2025-08-01 10:00:01"),
        LegacyRun("double0000000000", stump, rows=2, created_at="2025-08-01T10:00:02.250000"),
        LegacyRun("nan0000000000000", json.dumps(_document(4)).replace("40.25", "NaN", 1), strict=False),
    ]


def _document(number: int) -> dict[str, Any]:
    return {
        "kitt_version": "1.8.1",
        "suite_name": "performance",
        "timestamp": f"2025-07-30T10:06:27.79914{number}",
        "engine": "vllm",
        "model": f"org/model-{number}",
        "passed": True,
        "total_benchmarks": 2,
        "passed_count": 2,
        "failed_count": 0,
        "total_time_seconds": 123456.789,
        "results": [_entry("throughput", number), _entry("latency", number)],
        "system_info": {
            "gpu": {"model": "NVIDIA GB10", "vram_gb": 0, "count": 1, "compute_capability": [12, 1]},
            "cpu": {"model": "ARM", "cores": 20, "threads": 20},
            "ram_gb": 119,
            "environment_type": "dgx_spark",
        },
    }


def _entry(name: str, number: int) -> dict[str, Any]:
    return {
        "test_name": name,
        "test_version": "1.0.0",
        "run_number": 1,
        "passed": True,
        "metrics": {
            "avg_tps": 40.25 + number,
            "total_iterations": 5,
            "is_ok": True,
            "ttft_ms": {"avg": 12.5, "p99": 20.0 + number},
        },
        "errors": [],
        "timestamp": "2025-07-30T10:06:28",
    }


def insert_run(execute: Execute, run: LegacyRun) -> None:
    """Insert a run with the rows that KITT 1.x gives it."""
    document = json.loads(run.text)
    _insert(
        execute,
        "runs",
        {
            "id": run.id,
            **{name: document.get(name, "") for name in ("model", "engine", "suite_name", "kitt_version")},
            "timestamp": document.get("timestamp", ""),
            "passed": bool(document.get("passed")),
            **{name: document.get(name, 0) for name in ("total_benchmarks", "passed_count", "failed_count")},
            "total_time_seconds": document.get("total_time_seconds", 0.0),
            "raw_json": run.text,
            "created_at": run.created_at,
        },
    )
    for entry in document.get("results", [])[: run.rows]:
        names = ("test_name", "test_version", "run_number", "passed", "timestamp")
        _insert(execute, "benchmarks", {"run_id": run.id} | {name: entry[name] for name in names})
        for name, value in entry["metrics"].items():
            if isinstance(value, int | float):
                execute(
                    "INSERT INTO metrics (benchmark_id, metric_name, metric_value)"
                    " SELECT max(id), ?, ? FROM benchmarks",
                    (name, float(value)),
                )
    system = document.get("system_info")
    if system:
        values = {"gpu_model": system["gpu"]["model"], "gpu_vram_gb": 0, "cpu_cores": 20, "ram_gb": 119}
        _insert(execute, "hardware", {"run_id": run.id, **values, "fingerprint": system.get("fingerprint")})


def insert_operations(execute: Execute, version: int, *, result_id: str | None) -> None:
    """Insert agents, campaigns, tests, events, settings and logs, as far as the version has them."""
    if version < 2:
        return
    for number, token in enumerate((TOKEN, "f" * 64)):
        agent: dict[str, Any] = {
            "id": f"agent{number}",
            "name": f"box-{number}",
            "hostname": "h",
            "port": 8090 + number,
        }
        agent |= {"token": token, "notes": "Übung", "registered_at": "2025-07-01 09:00:00"}
        if version >= 4:
            hashed = hashlib.sha256(token.encode()).hexdigest()
            agent |= {"token": "", "token_hash": hashed, "token_prefix": token[:8]}
        agent |= {"last_heartbeat": "" if number else "2025-07-02T10:00:00.5"}
        _insert(execute, "agents", agent | ({"cpu_arch": "arm64"} if version >= 9 else {}))
    draft = {"name": "Draft", "config_json": '{"models": [1.50]}', "status": "draft"}
    nightly = draft | {
        "name": "Nightly",
        "agent_id": "agent0",
        "started_at": "2025-07-03T01:00:00",
        "total_runs": 4,
    }
    _insert(execute, "web_campaigns", {"id": "camp0"} | draft)
    _insert(execute, "web_campaigns", {"id": "camp1"} | nightly)
    test = {"agent_id": "agent0", "model_path": "m", "engine_name": "e", "benchmark_name": "b"}
    _insert(execute, "quick_tests", {"id": "test0", "result_id": result_id, "status": "completed"} | test)
    _insert(execute, "quick_tests", {"id": "test1", "error": "engine crashed", "status": "failed"} | test)
    for kind in ("agent_status", "campaign_status"):
        event = {"event_type": kind, "source_id": "agent0", "data": '{"status": "online"}'}
        _insert(execute, "events", event | {"created_at": "2025-07-04 00:00:00"})
    _insert_later(execute, version)


def _insert_later(execute: Execute, version: int) -> None:
    if version >= 3:
        _insert(execute, "web_settings", {"key": "devon_url", "value": "http://devon:8000"})
    if version >= 7:
        for number in range(3):
            _insert(execute, "quick_test_logs", {"test_id": "test0", "line": f"[{number}] tokens/s ✓"})
    if version >= 8:
        _insert(execute, "agent_settings", {"agent_id": "agent0", "key": "auto_cleanup", "value": "false"})
    if version >= 10:
        _insert(execute, "campaign_logs", {"campaign_id": "camp1", "line": "campaign line"})
    if version >= 11:
        _insert(execute, "engine_profiles", {"id": "profile0", "name": "fast", "engine": "vllm", "mode": "native"})
        engine = {"agent_id": "agent0", "engine": "vllm", "mode": "native"}
        _insert(execute, "agent_engines", engine | {"last_checked": "2025-07-05T10:00:00"})


def _insert(execute: Execute, table: str, values: Mapping[str, Any]) -> None:
    marks = ", ".join("?" * len(values))
    execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", list(values.values()))  # noqa: S608  # ours
