"""Benchmarks ``latency`` and ``streaming_latency``: how long requests take, alone and under load."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from kitt_core.benchmarking.benchmark import Benchmark, BenchmarkOutcome, Metrics
from kitt_core.benchmarking.load import ClosedLoop
from kitt_core.benchmarking.samples import SampleObserver, rounded
from kitt_core.benchmarking.streaming import streaming_metrics, without_retries
from kitt_core.runs.statistics import mean

__all__ = ["ONE_AT_A_TIME", "Latency", "StreamingLatency"]


@frozen
class Latency(Benchmark):
    """Time to first token, per output token, between tokens, and end to end, with one request at a time."""

    name: ClassVar[str] = "latency"
    overlapping: ClassVar[bool] = False

    async def run(
        self, load: ClosedLoop, *, warm_up: bool = True, on_sample: SampleObserver, on_warmup: SampleObserver
    ) -> BenchmarkOutcome:
        """Send the workload and evaluate it; see `Benchmark.run`."""
        before = await self._warm_up(load, wanted=warm_up, on_warmup=on_warmup)
        phases = await self._measure(load, before, on_sample=on_sample)
        samples = phases.measured.successful
        streaming, missing = streaming_metrics(samples)
        counts: Metrics = {"total_iterations": len(samples)}
        return phases.outcome(counts | streaming, missing)


ONE_AT_A_TIME = "the engine answers one request at a time"


@frozen
class StreamingLatency(Benchmark):
    """The measurements of ``latency`` under load; skipped if requests can't overlap, as it would be the same."""

    name: ClassVar[str] = "streaming_latency"

    async def run(
        self, load: ClosedLoop, *, warm_up: bool = True, on_sample: SampleObserver, on_warmup: SampleObserver
    ) -> BenchmarkOutcome:
        """Send the workload and evaluate it; see `Benchmark.run`."""
        if load.concurrency(self.workload.concurrency) < self.workload.concurrency:
            return BenchmarkOutcome(skipped=f"{ONE_AT_A_TIME}, which latency measures")
        before = await self._warm_up(load, wanted=warm_up, on_warmup=on_warmup)
        phases = await self._measure(load, before, on_sample=on_sample)
        samples = phases.measured.successful
        streaming, missing = streaming_metrics(samples)
        counts: Metrics = {"total_iterations": len(samples)}
        gaps = [gap for sample in without_retries(samples) for gap in sample.gaps_ms]
        if gaps:
            counts["avg_inter_token_ms"] = rounded(mean(gaps))
        return phases.outcome(counts | streaming, missing)
