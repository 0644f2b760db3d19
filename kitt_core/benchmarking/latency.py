"""Benchmark ``latency``: how long one request takes when it is alone."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from kitt_core.benchmarking.benchmark import (
    Benchmark,
    BenchmarkOutcome,
    Metrics,
    failures,
    token_count_source,
    warmup_times,
)
from kitt_core.benchmarking.load import ClosedLoop, SampleObserver
from kitt_core.benchmarking.streaming import streaming_metrics

__all__ = ["Latency"]


@frozen
class Latency(Benchmark):
    """Time to first token, per output token, between tokens, and end to end."""

    name: ClassVar[str] = "latency"

    async def run(
        self, load: ClosedLoop, *, warm_up: bool = True, on_sample: SampleObserver, on_warmup: SampleObserver
    ) -> BenchmarkOutcome:
        """Send the workload and evaluate it; see `Benchmark.run`."""
        before = await self._warm_up(load, wanted=warm_up, on_warmup=on_warmup)
        measured = await self._measure(load, on_sample=on_sample)
        samples = measured.successful
        streaming, missing = streaming_metrics(samples)
        counts: Metrics = {"total_iterations": len(samples)}
        return BenchmarkOutcome(
            metrics=counts | streaming,
            errors=failures(before, measured),
            warmup_times=warmup_times(before),
            not_measured=missing,
            token_count_source=token_count_source(samples),
        )
