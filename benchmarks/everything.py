"""``python -m benchmarks all``: every figure of docs/performance.md.

With ``--write`` each table replaces the one between its marks in the page, with ``--store`` all figures become one
run. Each part is written when it is measured, so that a later one that fails costs nothing.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from attrs import asdict, frozen

from benchmarks import imports, load, peers, scale, upgrade, writers
from benchmarks.cases import CASES
from benchmarks.kept import CACHE
from benchmarks.page import marks_of, write_page
from benchmarks.report import Section, case_section, goals_section, markdown_table, text_table
from benchmarks.running import measure_cases, store_figures
from kitt_core import PluginManager
from kitt_core.fingerprint import collect_system_info, cpu_label
from kitt_core.plugins import FINGERPRINTS

__all__ = ["FULL", "PARTS", "QUICK", "Plan", "main"]


@frozen
class Plan:
    """How much is measured.

    Attributes:
        size: Runs that cases find stored.
        rounds: Of cases.
        scale: Runs in the stores of the questions.
        seconds: For each question.
        files: Imported in each way.
        repetitions: Of imports, of writers and of the peers.
        saves: By each writer, and by each process of a peer.
        upgrades: Sizes of databases that are upgraded, in MiB.
        load_seconds: For each level of load.
    """

    size: int
    rounds: int
    scale: tuple[int, ...]
    seconds: float
    files: int
    repetitions: int
    saves: int
    upgrades: tuple[int, ...]
    load_seconds: float


FULL: Final = Plan(1000, 9, scale.SIZES, 10.0, 10_000, 3, 50, (37, 1024), 5.0)
QUICK: Final = Plan(1000, 7, scale.SIZES[:2], 5.0, 3000, 3, 50, (37,), 3.0)

_BACKENDS: Final = ("postgres", "karr")
"""Whose cases have names that begin so."""

Part = Callable[[Plan, Path], Section]


def _cases(prefix: str) -> Part:
    def measure(plan: Plan, cache: Path) -> Section:
        backend = {case: case.name.partition("-")[0] for case in CASES}
        cases = [case for case in CASES if (backend[case] if backend[case] in _BACKENDS else "sqlite") == prefix]
        # In the cache, because /tmp may be memory.
        measured = measure_cases(cases, rounds=plan.rounds, size=plan.size, directory=cache, cache=cache)
        return case_section(f"cases-{prefix}", measured)

    return measure


def _writers(plan: Plan, cache: Path) -> Section:
    with tempfile.TemporaryDirectory(prefix="writers-", dir=cache) as directory:
        return writers.busy_timeout_section(Path(directory), runs=plan.saves, rounds=plan.repetitions)


PARTS: Final[dict[str, Part]] = {
    "cases-sqlite": _cases("sqlite"),
    "cases-postgres": _cases("postgres"),
    "imports": lambda plan, cache: imports.measure(cache, plan.files, plan.repetitions),
    "writers-sqlite": _writers,
    "writers-postgres": lambda plan, _: writers.server_section(runs=plan.saves),
    "scale-sqlite": lambda plan, cache: scale.measure("sqlite", plan.scale, cache, plan.seconds),
    "scale-postgres": lambda plan, cache: scale.measure("postgres", plan.scale, cache, plan.seconds),
    "peers": lambda plan, cache: peers.measure(cache, plan.repetitions, plan.saves),
    "upgrade": lambda plan, _: upgrade.upgrade_section(plan.upgrades),
    "load": lambda plan, _: load.load_section(plan.load_seconds),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the parts, print their tables, and write and store them where that is wanted."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.write is not None:
        missing = {"machine", "goals", *PARTS} - set(marks_of(arguments.write.read_text(encoding="utf-8")))
        if missing:
            parser.error(f"{arguments.write} has no marks for {', '.join(sorted(missing))}")
    plan = QUICK if arguments.quick else FULL
    arguments.directory.mkdir(parents=True, exist_ok=True)
    started, clock, load_before = datetime.now(UTC), time.perf_counter(), os.getloadavg()[0]
    sections: list[Section] = []
    try:
        for name in dict.fromkeys(arguments.parts or PARTS):
            print(f"== {name}, after {time.perf_counter() - clock:.0f} s", file=sys.stderr)
            sections.append(PARTS[name](plan, arguments.directory))
            print(f"{name}\n{text_table(sections[-1])}\n", flush=True)
            if arguments.write is not None:
                write_page(arguments.write, {name: markdown_table(sections[-1])})
    finally:
        seconds = time.perf_counter() - clock
        goals = goals_section(sections)
        print(text_table(goals))
        if arguments.write is not None:
            tables = {section.name: markdown_table(section) for section in (*sections, goals)}
            write_page(
                arguments.write,
                tables | {"machine": _machine(started, seconds, load_before, quick=arguments.quick)},
            )
        if arguments.store is not None:
            config = {**asdict(plan), "parts": [section.name for section in sections]}
            store_figures(sections, arguments.store, started=started, seconds=seconds, config=config)
    return 0


def _machine(started: datetime, seconds: float, load_before: float, *, quick: bool) -> str:
    """Return the sentence about where and when the figures come from."""
    system = collect_system_info(PluginManager().all(FINGERPRINTS)).sections
    model = str(system.get("cpu", {}).get("model") or platform.machine())
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("SQLAlchemy", "psycopg", "orjson")
    )
    return (
        f"Measured on {started:%Y-%m-%d} in {seconds / 60:.0f} minutes"
        f" by `python -m benchmarks all{' --quick' if quick else ''}`: {cpu_label(model)},"
        f" {os.cpu_count()} virtual cores, {platform.system()}, Python {platform.python_version()},"
        f" SQLite {sqlite3.sqlite_version}, {versions}. The load of the machine was {load_before:.1f} at the"
        f" beginning and {os.getloadavg()[0]:.1f} at the end."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks all", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", metavar="PART", nargs="*", choices=[[], *PARTS], help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and no store of a million runs")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the tables of this page")
    parser.add_argument("--store", metavar="URI", help="save the figures as a run in this store")
    parser.add_argument(
        "--directory",
        type=Path,
        default=CACHE,
        help="keeps stores, files and environments; its disk is measured (default: %(default)s)",
    )
    return parser
