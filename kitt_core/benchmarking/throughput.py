"""Benchmark ``throughput``: how many tokens per second come out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from attrs import frozen

from kitt_core.aggregation import mean, percentile
from kitt_core.benchmarking.benchmark import Benchmark, BenchmarkOutcome, Metrics, not_measured_for_failures
from kitt_core.benchmarking.distribution import rounded
from kitt_core.benchmarking.load import ClosedLoop
from kitt_core.benchmarking.rates import load_rates
from kitt_core.benchmarking.samples import RequestSample, SampleObserver
from kitt_core.benchmarking.streaming import streaming_metrics

__all__ = ["Throughput"]


@frozen
class Throughput(Benchmark):
    """Output tokens per second, of each request and of the whole load, and the latencies beside them."""

    name: ClassVar[str] = "throughput"

    async def run(
        self, load: ClosedLoop, *, warm_up: bool = True, on_sample: SampleObserver, on_warmup: SampleObserver
    ) -> BenchmarkOutcome:
        """Send the workload and evaluate it; see `Benchmark.run`."""
        before = await self._warm_up(load, wanted=warm_up, on_warmup=on_warmup)
        phases = await self._measure(load, before, on_sample=on_sample)
        samples = phases.measured.successful
        totals, uncounted = load_rates(phases.measured)
        rates, no_rates = _per_request(samples)
        streaming, missing = streaming_metrics(samples)
        return phases.outcome(totals | rates | streaming, uncounted | no_rates | missing)


def _per_request(samples: Sequence[RequestSample]) -> tuple[Metrics, dict[str, str]]:
    rates = [rate for sample in samples if (rate := sample.tokens_per_second) is not None]
    latencies = sorted(s.e2e_latency_ms for s in samples if s.e2e_latency_ms is not None)
    if not rates:
        names = ("avg_tps", "min_tps", "max_tps", "avg_latency_ms", "p50_latency_ms", "p99_latency_ms")
        return {}, not_measured_for_failures(names)
    metrics: Metrics = {
        "avg_tps": rounded(mean(rates)),
        "min_tps": rounded(min(rates)),
        "max_tps": rounded(max(rates)),
        "avg_latency_ms": rounded(mean(latencies)),
        "p50_latency_ms": rounded(percentile(latencies, 50)),
        "p99_latency_ms": rounded(percentile(latencies, 99)),
    }
    return metrics, {}
