"""Throughput of a whole load: everything that came out, by its duration."""

from __future__ import annotations

import math
from typing import Final

from kitt_core.benchmarking.benchmark import Metrics
from kitt_core.benchmarking.distribution import rounded
from kitt_core.benchmarking.load import LoadResult

__all__ = ["load_rates"]

_OF_INPUT: Final = ("input_token_throughput", "total_token_throughput")
_RATES: Final = ("output_token_throughput", "request_throughput", "concurrency_achieved", *_OF_INPUT)


def load_rates(measured: LoadResult) -> tuple[Metrics, dict[str, str]]:
    """Return counts, duration and rates of a load's successful requests.

    Returns:
        The metrics, and a reason for each that can't be had.
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
        reason = "nobody counted the input tokens" if samples else "no request succeeded"
        return metrics, dict.fromkeys(_OF_INPUT, reason)
    metrics["input_token_throughput"] = rounded(sum(prompts) / seconds)
    metrics["total_token_throughput"] = rounded((sum(prompts) + tokens) / seconds)
    return metrics, {}
