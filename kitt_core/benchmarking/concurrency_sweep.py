"""Benchmark ``concurrency_sweep``: how throughput and latency change with the number of requests in flight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Self

from attrs import evolve, field, frozen, validators

from kitt_core.benchmarking.benchmark import (
    Benchmark,
    BenchmarkOutcome,
    Metrics,
    Phases,
    not_measured_for_failures,
    token_count_source,
    token_warnings,
)
from kitt_core.benchmarking.latency import ONE_AT_A_TIME
from kitt_core.benchmarking.load import ClosedLoop, LoadResult, client_metrics, client_warnings, failure_lines
from kitt_core.benchmarking.samples import RequestSample, SampleObserver
from kitt_core.benchmarking.streaming import streaming_metrics, streaming_warnings
from kitt_core.benchmarking.throughput import load_rates
from kitt_core.benchmarking.workload import ROUNDS, Workload, WorkloadChanges

__all__ = ["ConcurrencySweep", "levels_up_to"]

_BEFORE: Final = LoadResult((), 0.0)


def levels_up_to(most: int) -> tuple[int, ...]:
    """Return 1, 2, 4, 8 and so on, ending with ``most``."""
    return (*(2**power for power in range((most - 1).bit_length())), most)


@frozen
class ConcurrencySweep(Benchmark):
    """The same load at increasing levels of concurrency; each level's metrics are named after it.

    Attributes:
        workload: The load of each level: ``iterations`` requests, but at least ``rounds`` times the level's
            concurrency, for no longer than ``seconds``. Its concurrency is not used; the warm-up requests are sent
            once, before all levels.
        levels: Requests in flight, ascending.
        rounds: How often every slot of a level is used at least: twice, or once if the user sets the number of
            requests.
    """

    name: ClassVar[str] = "concurrency_sweep"

    levels: tuple[int, ...] = field(default=levels_up_to(16), validator=validators.min_len(1))
    rounds: int = field(default=ROUNDS, validator=validators.ge(1))

    def requests_at(self, level: int) -> int:
        """Return how many requests are measured at a level."""
        return max(self.workload.iterations, self.rounds * level)

    def settings_for(self, load: ClosedLoop) -> dict[str, Any]:
        """Return what the metrics depend on."""
        settings = self.workload.settings() | {"levels": list(self.levels)}
        settings |= {"requests_per_level": [self.requests_at(level) for level in self.levels]}
        return settings | {"concurrency": load.concurrency(self.levels[-1])}

    def total_requests(self, *, warm_up: bool = True) -> int:
        """Return how many requests one run of it sends."""
        return sum(map(self.requests_at, self.levels)) + (self.workload.warmups if warm_up else 0)

    def changed(self, changes: WorkloadChanges) -> Self:
        """Return the benchmark with the user's changes.

        A concurrency sets the highest level. A number of requests applies to each level, but a level with more
        requests in flight sends as many as that, because it would not reach its concurrency otherwise.
        """
        levels = self.levels if changes.concurrency is None else levels_up_to(changes.concurrency)
        rounds = self.rounds if changes.requests is None else 1
        return evolve(
            self, workload=changes.applied(self.workload, overlapping=False), levels=levels, rounds=rounds
        )

    def failure_lines(self, samples: Sequence[RequestSample]) -> list[str]:
        """Return one line for each measured request that failed, with its level."""
        return [_at(sample.concurrency) + line for sample in samples for line in failure_lines([sample])]

    async def run(
        self, load: ClosedLoop, *, warm_up: bool = True, on_sample: SampleObserver, on_warmup: SampleObserver
    ) -> BenchmarkOutcome:
        """Send the workload at each level and evaluate it; see `Benchmark.run`."""
        if load.concurrency(self.levels[-1]) < self.levels[-1]:
            return BenchmarkOutcome(skipped=ONE_AT_A_TIME)
        warmups = await self._warm_up(load, wanted=warm_up, on_warmup=on_warmup)
        found = _Levels(Phases(warmups, _BEFORE, planned=self.total_requests(warm_up=False)))
        for number, level in enumerate(self.levels):
            if found.gave_up or found.stopped:
                break
            measured = await load.run(
                self._workload_at(level).measured_requests(),
                concurrency=level,
                seconds=self.workload.seconds,
                on_sample=on_sample,
            )
            left = sum(map(self.requests_at, self.levels[number + 1 :]))
            found.add(level, Phases(_BEFORE, measured, planned=self.requests_at(level)), left)
        return found.outcome(self.levels)

    def _workload_at(self, level: int) -> Workload:
        # Prompts of the previous level would be in the server's prefix cache.
        return evolve(self.workload, iterations=self.requests_at(level), salt=f"{self.workload.salt}c{level}")


def _at(level: int) -> str:
    return f"concurrency {level}: "


class _Levels:
    """Collects what was measured at each level."""

    def __init__(self, warm_up: Phases) -> None:
        self.gave_up = warm_up.gave_up
        self.stopped = warm_up.stopped
        self._warm_up = warm_up.outcome({})
        self._errors = list(self._warm_up.errors)
        self._metrics: Metrics = {}
        self._missing: dict[str, str] = {}
        self._warnings: list[str] = []
        self._samples: list[RequestSample] = []
        self._best: tuple[float, int] | None = None

    def add(self, level: int, phases: Phases, left: int) -> None:
        """Add a level; ``left`` is the number of requests of the levels after it."""
        measured = phases.measured
        name = f"c{level}"
        rates, uncounted = load_rates(measured)
        streaming, missing = streaming_metrics(measured.successful)
        self._metrics[name] = rates | streaming | client_metrics(measured.client_busy_share)
        self._missing |= {f"{name}.{metric}": why for metric, why in (uncounted | missing).items()}
        where = _at(level)
        self._warnings += client_warnings(measured.client_busy_share, where=where)
        self._warnings += streaming_warnings(measured.successful, where=where)
        self._samples += measured.successful
        rate = rates.get("output_token_throughput")
        if isinstance(rate, float) and measured.successful and (self._best is None or rate > self._best[0]):
            self._best = rate, level
        self.stopped = measured.stopped
        if phases.gave_up:
            self.gave_up = f"{where}{evolve(phases, planned=phases.planned + left).gave_up}"
            self._errors += [where + line for line in phases.errors[:-1]]
            self._errors.append(self.gave_up)
        else:
            self._errors += [where + line for line in phases.errors]

    def outcome(self, levels: tuple[int, ...]) -> BenchmarkOutcome:
        metrics: Metrics = {}
        missing = dict(self._missing)
        if self._best is None:
            missing |= not_measured_for_failures(("best_output_token_throughput", "best_concurrency"))
        else:
            metrics |= {"best_output_token_throughput": self._best[0], "best_concurrency": self._best[1]}
        missing |= {
            f"c{level}": "the run ended before" if self.stopped else "given up at a lower level"
            for level in levels
            if f"c{level}" not in self._metrics
        }
        return evolve(
            self._warm_up,
            metrics=metrics | self._metrics,
            errors=self._errors,
            not_measured=missing,
            warnings=[*self._warnings, *token_warnings(self._samples)],
            token_count_source=token_count_source(self._samples),
            gave_up=self.gave_up,
            stopped=self.stopped,
        )
