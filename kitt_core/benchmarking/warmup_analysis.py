"""Benchmark ``warmup_analysis``: how much slower a session's first requests are than its later ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from attrs import Factory, field, frozen, validators

from kitt_core.benchmarking.benchmark import Benchmark, BenchmarkOutcome, Metrics, not_measured_for_failures
from kitt_core.benchmarking.load import ClosedLoop, LoadResult
from kitt_core.benchmarking.samples import RequestSample, SampleObserver, rounded
from kitt_core.benchmarking.streaming import RETRIED
from kitt_core.benchmarking.workload import Workload
from kitt_core.runs.statistics import percentile

__all__ = ["WarmupAnalysis"]

_COLD: Final = "cold_latency_ms"
_OF_WARM: Final = ("warm_latency_ms", "warmup_penalty_pct", "stabilized_after")


@frozen
class WarmupAnalysis(Benchmark):
    """The first request of a session compared with the steady ones.

    The requests are sent one at a time and none is a warm-up. *Warm* is the median of the second half.

    Attributes:
        workload: Its warm-ups and its concurrency are not used.
        tolerance_pct: A request is steady if it is at most this many percent slower than warm.
    """

    name: ClassVar[str] = "warmup_analysis"
    repeatable: ClassVar[bool] = False
    overlapping: ClassVar[bool] = False

    workload: Workload = Factory(lambda: Workload(iterations=8, warmups=0))
    tolerance_pct: float = field(default=20.0, validator=validators.gt(0))

    def settings_for(self, load: ClosedLoop) -> dict[str, Any]:
        """Return what the metrics depend on; its requests never overlap."""
        return super().settings_for(load) | {"warmups": 0, "tolerance_pct": self.tolerance_pct}

    def total_requests(self, *, warm_up: bool = True) -> int:
        """Return how many requests one run of it sends."""
        return self.workload.iterations

    async def run(
        self,
        load: ClosedLoop,
        *,
        warm_up: bool = True,
        on_sample: SampleObserver,
        on_warmup: SampleObserver,
    ) -> BenchmarkOutcome:
        """Send the workload and evaluate it; see `Benchmark.run`."""
        phases = await self._measure(load, LoadResult((), 0.0), on_sample=on_sample)
        metrics, missing = _analysis(phases.measured.samples, self.tolerance_pct)
        counts: Metrics = {"total_iterations": len(phases.measured.successful)}
        return phases.outcome(counts | metrics, missing, counts_tokens=False)


def _analysis(samples: Sequence[RequestSample], tolerance_pct: float) -> tuple[Metrics, dict[str, str]]:
    # The time of a request that was sent again includes waiting.
    latencies = [None if sample.retries else sample.e2e_latency_ms for sample in samples]
    steady = sorted(latency for latency in latencies[(len(latencies) + 1) // 2 :] if latency is not None)
    if all(latency is None for latency in latencies):
        names = (_COLD, *_OF_WARM)
        retried = any(sample.retries for sample in samples)
        return {}, dict.fromkeys(names, RETRIED) if retried else not_measured_for_failures(names)
    metrics: Metrics = {}
    missing: dict[str, str] = {}
    cold = latencies[0]
    if cold is None:
        missing[_COLD] = f"the first request {'was sent again' if samples[0].retries else 'failed'}"
    else:
        metrics[_COLD] = rounded(cold)
    warm = percentile(steady, 50) if steady else 0.0
    if not warm:
        reason = (
            "no request of the second half succeeded"
            if len(latencies) > 1
            else "a single request has no second half"
        )
        return metrics, missing | dict.fromkeys(_OF_WARM, reason)
    metrics["warm_latency_ms"] = rounded(warm)
    if cold is None:
        missing["warmup_penalty_pct"] = missing[_COLD]
    else:
        metrics["warmup_penalty_pct"] = rounded((cold - warm) / warm * 100)
    limit = warm * (1 + tolerance_pct / 100)
    stabilized_after = max(
        (number for number, latency in enumerate(latencies, 1) if latency is not None and latency > limit),
        default=0,
    )
    if stabilized_after < len(latencies):
        metrics["stabilized_after"] = stabilized_after
    else:
        missing["stabilized_after"] = f"the last request was more than {tolerance_pct:g} % slower than warm ones"
    return metrics, missing
