"""Suites: which benchmarks run, in which order, with how many requests."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from attrs import Factory, evolve, field, frozen, validators

from kitt_core.benchmarking.benchmark import Benchmark
from kitt_core.benchmarking.concurrency_sweep import ConcurrencySweep, levels_up_to
from kitt_core.benchmarking.latency import Latency, StreamingLatency
from kitt_core.benchmarking.memory import Memory
from kitt_core.benchmarking.throughput import Throughput
from kitt_core.benchmarking.warmup_analysis import WarmupAnalysis
from kitt_core.benchmarking.workload import Workload, WorkloadChanges
from kitt_core.errors import ConfigurationError

__all__ = ["SUITES", "PlannedBenchmark", "Suite", "suite_named"]


@frozen
class PlannedBenchmark:
    """A benchmark and how often it runs; each run is an entry of the document with its own ``run_number``."""

    benchmark: Benchmark
    runs: int = field(default=1, validator=validators.ge(1))

    def runs_of(self, override: int | None) -> int:
        """Return how often it runs; an override does not affect a benchmark that can run only once."""
        return self.runs if override is None or not self.benchmark.repeatable else override


@frozen
class Suite:
    """A named list of benchmarks.

    Attributes:
        name: What the user types after ``-s``.
        summary: One line for listings.
        plan: The benchmarks in order. Those that need a cold session come first.
        changed: What the user changed in the suite of this name, for the document.
    """

    name: str
    summary: str
    plan: tuple[PlannedBenchmark, ...] = field(repr=False)
    changed: dict[str, Any] = field(default=Factory(dict), repr=False)

    def total_requests(self, *, warm_up: bool = True, runs_override: int | None = None) -> int:
        """Return how many requests the suite sends, including warm-up requests."""
        return sum(
            planned.benchmark.total_requests(warm_up=warm_up) * planned.runs_of(runs_override)
            for planned in self.plan
        )

    def limited_to(self, names: Sequence[str]) -> Suite:
        """Return the suite with only the named benchmarks, in the suite's order; all of them for empty ``names``.

        Raises:
            ConfigurationError: The suite has no benchmark with one of the names.
        """
        known = [planned.benchmark.name for planned in self.plan]
        for name in names:
            if name not in known:
                raise ConfigurationError(
                    f"suite {self.name} has no benchmark {name[:60]!r}, expected one of {', '.join(known)}",
                    hint=_other_suite_or_name(name, known),
                )
        if not names:
            return self
        plan = tuple(planned for planned in self.plan if planned.benchmark.name in names)
        chosen = [planned.benchmark.name for planned in plan]
        return evolve(self, plan=plan, changed=self.changed | {"benchmarks": chosen})

    def with_changes(self, changes: WorkloadChanges) -> Suite:
        """Return the suite with the changes applied to every benchmark."""
        plan = tuple(evolve(planned, benchmark=planned.benchmark.changed(changes)) for planned in self.plan)
        return evolve(self, plan=plan, changed=self.changed | changes.given())


_typical = partial(Workload, max_tokens=128, prompt_characters=400)
_within_a_minute = partial(_typical, seconds=60.0)

SUITES: Final[tuple[Suite, ...]] = (
    Suite(
        name="quick",
        summary="a first look: about ten seconds, at most 60 requests",
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
        name="standard",
        summary="every benchmark once, none longer than a few minutes",
        plan=(
            PlannedBenchmark(WarmupAnalysis(Workload(iterations=12, warmups=0, max_tokens=64, seconds=60.0))),
            PlannedBenchmark(Throughput(_within_a_minute(iterations=40, warmups=4, concurrency=8))),
            PlannedBenchmark(Latency(_within_a_minute(iterations=30, warmups=3))),
            PlannedBenchmark(StreamingLatency(_within_a_minute(iterations=40, warmups=3, concurrency=8))),
            PlannedBenchmark(
                ConcurrencySweep(_typical(iterations=16, warmups=2, seconds=30.0), levels=levels_up_to(16))
            ),
            PlannedBenchmark(Memory(_within_a_minute(iterations=8, warmups=1, prompt_characters=800))),
        ),
    ),
    Suite(
        name="performance",
        summary="for comparisons: longer prompts and answers, each benchmark three times",
        plan=(
            PlannedBenchmark(WarmupAnalysis(Workload(iterations=20, warmups=0, max_tokens=64))),
            PlannedBenchmark(Throughput(_typical(iterations=50, warmups=5, concurrency=8)), runs=3),
            PlannedBenchmark(Latency(_typical(iterations=50, warmups=5)), runs=3),
            PlannedBenchmark(StreamingLatency(_typical(iterations=100, warmups=5, concurrency=8)), runs=3),
            PlannedBenchmark(
                ConcurrencySweep(_within_a_minute(iterations=32, warmups=4), levels=levels_up_to(64)), runs=3
            ),
            PlannedBenchmark(
                Memory(_typical(iterations=10, warmups=2, max_tokens=256, prompt_characters=800)), runs=3
            ),
        ),
    ),
)


def suite_named(name: str) -> Suite:
    """Return the suite of that name.

    Raises:
        ConfigurationError: There is no such suite; the message names all suites, and the hint the closest one.
    """
    names = [suite.name for suite in SUITES]
    if name in names:
        return SUITES[names.index(name)]
    nearest = difflib.get_close_matches(name, names, n=1)
    raise ConfigurationError(
        f"no suite {name[:60]!r}, expected one of {', '.join(names)}",
        hint=f"did you mean {nearest[0]}?" if nearest else "choose one with -s, or leave out -s for quick",
    )


def _other_suite_or_name(name: str, known: Sequence[str]) -> str:
    others = [suite.name for suite in SUITES if name in (planned.benchmark.name for planned in suite.plan)]
    if others:
        return f"-s {others[0]} has it"
    nearest = difflib.get_close_matches(name, known, n=1)
    return (
        f"did you mean {nearest[0]}?"
        if nearest
        else "choose one with --benchmark, or leave out --benchmark for all"
    )
