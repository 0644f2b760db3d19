"""How old runs become ours: their rows are derived from the document, as for any run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from attrs import evolve

from kitt_core.errors import InvalidDocumentError
from kitt_core.runs import Progress, RunRows, codec, derive_rows, new_run_id
from kitt_sql.adoption.kitt1_schema import instant
from kitt_sql.adoption.old_tables import ASIDE, AdoptedRun, OldRun, OldTables, Remark
from kitt_sql.adoption.recognition import Legacy

__all__ = ["carry_runs"]

_OF_RUNS: Final = (
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
_GPU: Final = {"gpu_model": "model", "gpu_vram_gb": "vram_gb", "gpu_count": "count"}
_CPU: Final = {"cpu_model": "model", "cpu_cores": "cores"}
_SYSTEM: Final = ("ram_gb", "environment_type", "fingerprint")


def carry_runs(old: OldTables, legacy: Legacy, remark: Remark, progress: Progress | None, *, before: int) -> int:
    """Move all runs and return their number.

    Args:
        old: The tables.
        legacy: What is in them.
        remark: Called with what is odd.
        progress: Called after each portion.
        before: How many steps ``progress`` has counted already.
    """
    columns = [name for name in (*_OF_RUNS, "created_at") if legacy.has("runs", name)]
    total = old.count(f"{ASIDE}runs")
    done = 0
    for portion in old.runs(columns):
        old.write_runs([_adopted(run, old, legacy, remark) for run in portion])
        done += len(portion)
        if progress is not None:
            progress(before + done, before + total)
    return total


def _adopted(run: OldRun, old: OldTables, legacy: Legacy, remark: Remark) -> AdoptedRun:
    run_id = run.id or new_run_id()
    if not run.id:
        remark("runs without an id, which were given one", run_id)
    rows = _rows(run, run_id, old, legacy, remark)
    try:
        created_at = instant(run.columns.get("created_at"))
    except ValueError:
        created_at = None
    if created_at is None:
        remark("runs whose created_at cannot be read and was set to the time of the upgrade", run_id)
        # Dropped, so that SQLite does not keep the unreadable text.
        run = evolve(run, columns={**run.columns, "created_at": None})
    sha256 = None if run.document is None else codec.digest(run.document)
    return AdoptedRun(run, run_id, created_at or datetime.now(UTC), sha256, rows)


def _rows(run: OldRun, run_id: str, old: OldTables, legacy: Legacy, remark: Remark) -> RunRows:
    try:
        document = codec.parse(run.document or b"")
    except InvalidDocumentError:
        remark("runs whose document cannot be read; their rows are kept", run_id)
        return derive_rows(_remains(run, old, legacy), strict=False)
    if not document:
        remark("runs with an empty document", run_id)
    rows = derive_rows(document, strict=False)
    if rows.problems:
        remark("runs with fields that do not fit their columns, which are NULL", run_id)
    return rows


def _remains(run: OldRun, old: OldTables, legacy: Legacy) -> dict[str, Any]:
    """Return a document that gives the rows that the run has."""
    return {
        **{name: _plain(name, value) for name, value in run.columns.items() if name in _OF_RUNS},
        "results": list(_entries(run, old)) if {"benchmarks", "metrics"} <= set(legacy.columns) else [],
        "system_info": _machine(run, old, legacy) if legacy.has("hardware") else None,
    }


def _entries(run: OldRun, old: OldTables) -> Iterator[dict[str, Any]]:
    names = ("test_name", "test_version", "run_number", "passed", "timestamp")
    entries = old.execute(
        f"SELECT id, {', '.join(names)} FROM {ASIDE}benchmarks WHERE run_id = {old.mark} ORDER BY id",  # noqa: S608  # ours
        [run.id],
    )
    for key, *values in entries:
        metrics = old.execute(
            f"SELECT metric_name, metric_value FROM {ASIDE}metrics WHERE benchmark_id = {old.mark} ORDER BY id",  # noqa: S608  # ours
            [key],
        )
        entry = {name: _plain(name, value) for name, value in zip(names, values, strict=True)}
        # NULL stood for NaN.
        yield entry | {"metrics": {name: float("nan") if value is None else value for name, value in metrics}}


def _machine(run: OldRun, old: OldTables, legacy: Legacy) -> dict[str, Any] | None:
    names = [name for name in (*_GPU, *_CPU, *_SYSTEM) if legacy.has("hardware", name)]
    found = old.execute(
        f"SELECT {', '.join(names)} FROM {ASIDE}hardware WHERE run_id = {old.mark}",  # noqa: S608  # ours
        [run.id],
    )
    if not found:
        return None
    values = dict(zip(names, found[0], strict=True))
    return {
        "gpu": _part(values, _GPU.items()),
        "cpu": _part(values, _CPU.items()),
        **{name: values.get(name) for name in _SYSTEM},
    }


def _part(values: dict[str, Any], names: Iterable[tuple[str, str]]) -> dict[str, Any]:
    return {name: values.get(column) for column, name in names}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return bool(value) if name == "passed" and value is not None else value
