"""Benchmark ``latency``: how long one request takes when it is alone."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from kitt_core.benchmarking.benchmark import Benchmark, BenchmarkOutcome, Metrics
from kitt_core.benchmarking.load import ClosedLoop
from kitt_core.benchmarking.samples import SampleObserver
from kitt_core.benchmarking.streaming import streaming_metrics

__all__ = ["Latency"]


@frozen
class Latency(Benchmark):
    """Time to first token, per output token, between tokens, and end to end, of one request after the other."""

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
