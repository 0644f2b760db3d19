"""Benchmark ``throughput``: how many tokens per second the engine generates, per request and under load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Final

from attrs import frozen

from kitt_core.benchmarking.benchmark import Benchmark, BenchmarkOutcome, Metrics, not_measured_for_failures
from kitt_core.benchmarking.load import ClosedLoop, LoadResult
from kitt_core.benchmarking.samples import RequestSample, SampleObserver, rounded
from kitt_core.benchmarking.streaming import RETRIED, streaming_metrics, without_retries
from kitt_core.runs.statistics import mean, percentile

__all__ = ["Throughput", "load_rates"]

_OF_INPUT: Final = ("input_token_throughput", "total_token_throughput")
_RATES: Final = ("output_token_throughput", "request_throughput", "concurrency_achieved", *_OF_INPUT)


def load_rates(measured: LoadResult) -> tuple[Metrics, dict[str, str]]:
    """Return counts, duration and rates of a load's successful requests.

    Returns:
        The metrics, and the reason for each one that is missing.
    """
    samples = measured.successful
    tokens = sum(sample.completion_tokens for sample in samples)
    seconds = measured.duration_seconds
    metrics: Metrics = {
        "total_iterations": len(samples),
        "total_tokens_generated": tokens,
        "total_time_seconds": rounded(seconds),
    }
    if seconds <= 0:
        reason = "the load took no time" if measured.samples else "no request was sent"
        return metrics, dict.fromkeys(_RATES, reason)
    metrics["output_token_throughput"] = rounded(tokens / seconds)
    metrics["request_throughput"] = rounded(len(samples) / seconds)
    in_flight = math.fsum(sample.finished_at - sample.started_at for sample in measured.samples)
    metrics["concurrency_achieved"] = rounded(in_flight / seconds)
    prompts = [sample.prompt_tokens for sample in samples if sample.prompt_tokens is not None]
    if len(prompts) < len(samples) or not samples:
        reason = "the input tokens were not counted" if samples else "no request succeeded"
        return metrics, dict.fromkeys(_OF_INPUT, reason)
    metrics["input_token_throughput"] = rounded(sum(prompts) / seconds)
    metrics["total_token_throughput"] = rounded((sum(prompts) + tokens) / seconds)
    return metrics, {}


@frozen
class Throughput(Benchmark):
    """Output tokens per second, of each request and of the whole load, with the latencies."""

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
    timed = without_retries(samples)
    rates = [rate for sample in timed if (rate := sample.tokens_per_second) is not None]
    latencies = sorted(s.e2e_latency_ms for s in timed if s.e2e_latency_ms is not None)
    if not rates:
        names = ("avg_tps", "min_tps", "max_tps", "avg_latency_ms", "p50_latency_ms", "p99_latency_ms")
        return {}, dict.fromkeys(names, RETRIED) if samples else not_measured_for_failures(names)
    metrics: Metrics = {
        "avg_tps": rounded(mean(rates)),
        "min_tps": rounded(min(rates)),
        "max_tps": rounded(max(rates)),
        "avg_latency_ms": rounded(mean(latencies)),
        "p50_latency_ms": rounded(percentile(latencies, 50)),
        "p99_latency_ms": rounded(percentile(latencies, 99)),
    }
    return metrics, {}
