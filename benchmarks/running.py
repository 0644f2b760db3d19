"""Measuring cases, and storing what was measured."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, opened
from benchmarks.kept import CACHE
from benchmarks.report import Section, figures_document
from benchmarks.timing import Figures, cpu_clock, run_rounds
from kitt_core import PluginManager, __version__, open_store
from kitt_core.fingerprint import collect_system_info
from kitt_core.plugins import FINGERPRINTS

__all__ = ["measure_cases", "store_figures"]


def measure_cases(
    cases: Sequence[Case],
    *,
    rounds: int,
    size: int,
    cpu: bool = False,
    directory: Path | None = None,
    cache: Path = CACHE,
) -> list[tuple[Case, Figures]]:
    """Measure cases side by side.

    Args:
        cases: Which.
        rounds: How many count.
        size: Standard documents that are stored first.
        cpu: Count CPU time only.
        directory: Where the databases are created; the system's temporary directory if None.
        cache: Where the large ones are kept.
    """

    def note(done: int) -> None:
        print(f"round {done} of {rounds}" if done else "warm", file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="kitt-benchmarks-", dir=directory) as place:
        print(f"storing {size} runs on each side", file=sys.stderr)
        with opened(Path(place), size, cache=cache) as bench:
            sides = [case.sides(bench) for case in cases]
            clock = cpu_clock if cpu else time.perf_counter
            return list(zip(cases, run_rounds(sides, rounds, clock=clock, progress=note), strict=True))


def store_figures(
    sections: Sequence[Section], target: str, *, started: datetime, seconds: float, config: Mapping[str, Any]
) -> None:
    """Save what was measured as a run.

    Args:
        sections: What was measured.
        target: The store.
        started: When it began.
        seconds: How long it took.
        config: How it was measured.
    """
    plugins = PluginManager()
    document = figures_document(
        sections,
        version=__version__,
        started=started,
        seconds=seconds,
        config=config,
        system_info=collect_system_info(plugins.all(FINGERPRINTS)).sections,
    )
    with open_store(target, plugins=plugins) as store:
        print(f"{store.save_result(document)} in {store.location}", file=sys.stderr)
