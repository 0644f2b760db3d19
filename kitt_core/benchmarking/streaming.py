"""The latencies of streamed requests: four distributions that two benchmarks share."""

from __future__ import annotations

from collections.abc import Sequence

from kitt_core.benchmarking.benchmark import Metrics
from kitt_core.benchmarking.distribution import distribution
from kitt_core.benchmarking.samples import RequestSample

__all__ = ["streaming_metrics"]


def streaming_metrics(samples: Sequence[RequestSample]) -> tuple[Metrics, dict[str, str]]:
    """Summarise ``ttft_ms``, ``tpot_ms``, ``itl_ms`` and ``e2e_latency_ms`` of successful requests.

    Inter-token latency pools the gaps of all requests; the others have one value per request.

    Returns:
        The distributions, and a reason for each that there are no values for.
    """
    values: dict[str, list[float]] = {
        "ttft_ms": [sample.ttft_ms for sample in samples if sample.ttft_ms is not None],
        "tpot_ms": [sample.tpot_ms for sample in samples if sample.tpot_ms is not None],
        "itl_ms": [gap for sample in samples for gap in sample.gaps_ms],
        "e2e_latency_ms": [s.e2e_latency_ms for s in samples if s.e2e_latency_ms is not None],
    }
    reasons = {
        "tpot_ms": "no request gave two output tokens in two chunks",
        "itl_ms": "no answer came in more than one chunk",
    }
    metrics: Metrics = {name: distribution(found) for name, found in values.items() if found}
    missing = {
        name: reasons.get(name, "no request succeeded") if samples else "no request succeeded"
        for name, found in values.items()
        if not found
    }
    return metrics, missing
