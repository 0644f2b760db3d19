"""The order of an adoption's steps, and the report of what could not be kept as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from kitt_core.errors import MigrationError
from kitt_core.runs import Progress
from kitt_sql.adoption.documents import carry_runs
from kitt_sql.adoption.kitt1_schema import ADOPTED_VERSION
from kitt_sql.adoption.old_tables import OldTables
from kitt_sql.adoption.operations import carry_operations, link_results
from kitt_sql.adoption.recognition import Legacy

__all__ = ["Apply", "Report", "adopt"]

Apply = Callable[[int, Progress | None], object]
"""Applies the migrations up to a version."""

_NAMED: Final = 3
"""Examples that a line of the report names."""
_NUMBERED: Final = (
    "benchmarks",
    "metrics",
    "hardware",
    "events",
    "quick_test_logs",
    "agent_settings",
    "campaign_logs",
    "agent_engines",
)


class Report:
    """What an adoption changed or could not keep: one line per kind of change, however many rows it affects."""

    def __init__(self) -> None:
        self._kinds: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def remark(self, kind: str, example: object) -> None:
        """Note that ``example`` is one of the rows that ``kind`` describes."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        named = self._kinds.setdefault(kind, [])
        if len(named) < _NAMED:
            named.append(str(example))

    def lines(self) -> Iterator[str]:
        """Yield a line per kind: what it is, how many rows it affects, and the first of them."""
        for kind, named in self._kinds.items():
            count = self._counts[kind]
            yield f"{kind}: {count} ({', '.join(named)}{', …' if count > len(named) else ''})"


def adopt(old: OldTables, legacy: Legacy, newest: int, apply: Apply, progress: Progress | None) -> Report:
    """Bring a database of KITT 1.x to the newest version, inside a transaction.

    All rows but those of runs move into the tables of `ADOPTED_VERSION`, and later migrations change them as they
    change ours. Runs are saved after the last migration, by the usual code: no migration has to handle them.

    Raises:
        MigrationError: Not all runs arrived; the caller rolls back.
    """
    report = Report()
    applied = {row[0]: row[1] for row in _recorded(old, legacy)}
    total = old.count("runs") if legacy.has("runs") else 0

    def step(done: int, _: int | None) -> None:
        if progress is not None:
            progress(done, newest + total)

    old.set_aside(legacy.columns)
    apply(ADOPTED_VERSION, step)
    old.continue_numbers(name for name in _NUMBERED if legacy.has(name))
    carry_operations(old, legacy, report.remark)
    apply(newest, step)
    if legacy.has("runs"):
        carry_runs(old, legacy, report.remark, progress, before=newest)
        link_results(old, legacy)
        arrived = old.count("runs")
        if arrived != total:
            raise MigrationError(f"{arrived} of {total} runs arrived in the new tables; nothing was changed")
    for version, applied_at in applied.items():
        old.execute(
            f"UPDATE schema_version SET applied_at = {old.mark} WHERE version = {old.mark}",  # noqa: S608  # ours
            [applied_at, version],
        )
    old.discard(legacy.columns)
    return report


def _recorded(old: OldTables, legacy: Legacy) -> list[tuple[int, object]]:
    """Return when KITT 1.x reached each version; the first time, where several are recorded."""
    if not legacy.has("schema_version", "applied_at"):
        return []
    found = old.execute(
        "SELECT version, min(applied_at) FROM schema_version WHERE applied_at IS NOT NULL GROUP BY version"
    )
    return [(version, applied_at) for version, applied_at in found]
