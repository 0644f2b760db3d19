"""Suites: which benchmarks run, in which order, with how many requests."""

from __future__ import annotations

import difflib
from typing import Final

from attrs import field, frozen, validators

from kitt_core.benchmarking.benchmark import Benchmark
from kitt_core.benchmarking.latency import Latency
from kitt_core.benchmarking.memory import Memory
from kitt_core.benchmarking.throughput import Throughput
from kitt_core.benchmarking.warmup_analysis import WarmupAnalysis
from kitt_core.benchmarking.workload import Workload
from kitt_core.errors import ConfigurationError

__all__ = ["SUITES", "PlannedBenchmark", "Suite", "suite_named"]


@frozen
class PlannedBenchmark:
    """A benchmark and how often it runs; each run is an entry of the document with its ``run_number``."""

    benchmark: Benchmark
    runs: int = field(default=1, validator=validators.ge(1))

    def runs_of(self, override: int | None) -> int:
        """Return how often it runs; an override does not repeat what can be measured only once."""
        return self.runs if override is None or not self.benchmark.repeatable else override


@frozen
class Suite:
    """A named list of benchmarks.

    Attributes:
        name: What the user types after ``-s``.
        summary: One line for listings.
        plan: The benchmarks in order. What looks at a cold session comes first.
    """

    name: str
    summary: str
    plan: tuple[PlannedBenchmark, ...] = field(repr=False)

    def total_requests(self, *, warm_up: bool = True, runs_override: int | None = None) -> int:
        """Return how many requests the suite sends, warm-ups among them."""
        return sum(
            planned.benchmark.total_requests(warm_up=warm_up) * planned.runs_of(runs_override)
            for planned in self.plan
        )


SUITES: Final[tuple[Suite, ...]] = (
    Suite(
        name="quick",
        summary="a first look: every benchmark once, at most 60 requests",
        plan=(
            PlannedBenchmark(WarmupAnalysis(Workload(iterations=8, warmups=0, max_tokens=48, seconds=2))),
            PlannedBenchmark(
                Throughput(Workload(iterations=18, warmups=2, max_tokens=128, concurrency=4, seconds=4))
            ),
            PlannedBenchmark(Latency(Workload(iterations=20, warmups=2, max_tokens=64, seconds=3))),
            PlannedBenchmark(Memory(Workload(iterations=4, warmups=0, max_tokens=64, seconds=1))),
        ),
    ),
    Suite(
        name="performance",
        summary="for comparisons: longer prompts and answers, each benchmark three times",
        plan=(
            PlannedBenchmark(WarmupAnalysis(Workload(iterations=20, warmups=0, max_tokens=64))),
            PlannedBenchmark(
                Throughput(
                    Workload(iterations=50, warmups=5, max_tokens=128, prompt_characters=400, concurrency=8)
                ),
                runs=3,
            ),
            PlannedBenchmark(
                Latency(Workload(iterations=50, warmups=5, max_tokens=128, prompt_characters=400)), runs=3
            ),
            PlannedBenchmark(
                Memory(Workload(iterations=10, warmups=2, max_tokens=256, prompt_characters=800)), runs=3
            ),
        ),
    ),
)


def suite_named(name: str) -> Suite:
    """Return the suite of that name.

    Raises:
        ConfigurationError: There is none; the message names the nearest and all that there are.
    """
    names = [suite.name for suite in SUITES]
    if name in names:
        return SUITES[names.index(name)]
    nearest = difflib.get_close_matches(name, names, n=1)
    raise ConfigurationError(
        f"no suite {name[:60]!r}; there are: {', '.join(names)}",
        hint=f"did you mean {nearest[0]}?" if nearest else "name one of them with -s, or none for quick",
    )
