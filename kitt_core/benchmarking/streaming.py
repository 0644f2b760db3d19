"""The times of streamed answers: their distributions, and what to know about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from kitt_core.benchmarking.population import FEWER_THAN_TWO, ONE_READ, most_shared
from kitt_core.benchmarking.samples import RequestSample, distribution

__all__ = ["RETRIED", "Metric", "Metrics", "streaming_metrics", "streaming_warnings", "without_retries"]

Metric = float | Mapping[str, "Metric"]
Metrics = dict[str, Metric]
"""Numbers by name; a nested object becomes dotted names in the store (``ttft_ms.p99``)."""

RETRIED: Final = "every request that succeeded had been sent again, so its times include waiting"
_NONE: Final = "no request succeeded"
_NO_GAPS: Final = "no answer arrived in more than one chunk"
_NO_ANSWER: Final = "no answer went beyond reasoning"
_MANY_SHARED: Final = 0.1


def without_retries(samples: Sequence[RequestSample]) -> list[RequestSample]:
    """Return the requests that were sent only once: the population of all latencies."""
    return [sample for sample in samples if not sample.retries]


def streaming_metrics(samples: Sequence[RequestSample]) -> tuple[Metrics, dict[str, str]]:
    """Summarise ``ttft_ms``, ``ttfo_ms``, ``tpot_ms``, ``itl_ms`` and ``e2e_latency_ms`` of successful requests.

    Inter-token latency pools the gaps of all requests; the others have one value per request. ``ttfo_ms`` is given
    if there is reasoning: it would be the same as ``ttft_ms`` otherwise. Requests that were sent again are left
    out and counted as ``requests_retried``.

    Returns:
        The metrics, and the reason for each distribution that has no values.
    """
    timed = without_retries(samples)
    values: dict[str, list[float]] = {
        "ttft_ms": [sample.ttft_ms for sample in timed if sample.ttft_ms is not None],
        "tpot_ms": [sample.tpot_ms for sample in timed if sample.tpot_ms is not None],
        "itl_ms": [gap for sample in timed for gap in sample.gaps_ms],
        "e2e_latency_ms": [s.e2e_latency_ms for s in timed if s.e2e_latency_ms is not None],
    }
    if any(sample.reasoning_chunks or sample.reasoning_tokens for sample in timed):
        values["ttfo_ms"] = [sample.ttfo_ms for sample in timed if sample.ttfo_ms is not None]
    metrics: Metrics = {name: distribution(found) for name, found in values.items() if found}
    if len(timed) < len(samples):
        metrics["requests_retried"] = len(samples) - len(timed)
    reasons = {
        "tpot_ms": _most_frequent([s.no_tpot for s in timed]) or FEWER_THAN_TWO,
        "itl_ms": ONE_READ if any(s.chunks > 1 and not s.gaps_ms for s in timed) else _NO_GAPS,
        "ttfo_ms": _NO_ANSWER,
    }
    nothing = RETRIED if samples else _NONE
    missing = {name: reasons.get(name, _NONE) if timed else nothing for name, found in values.items() if not found}
    return metrics, missing


def streaming_warnings(samples: Sequence[RequestSample], *, where: str = "") -> list[str]:
    """Return what to know about the times of successful requests, one line each.

    Args:
        samples: The requests.
        where: The prefix that names the part of the benchmark, if it has several.
    """
    timed = without_retries(samples)
    lines = []
    chunks, shared = sum(s.chunks for s in timed), sum(s.shared_reads for s in timed)
    unusable = sum(1 for s in timed if s.chunks > 1 and most_shared(s.chunks, s.shared_reads))
    if unusable or shared > _MANY_SHARED * chunks:
        line = f"{shared} of {chunks} chunks arrived in one read with the one before and have no time of their own"
        lines.append(line + (f"; ITL and TPOT leave out {unusable} of {len(timed)} requests" if unusable else ""))
    for reason, count in Counter(s.no_tpot for s in timed).items():
        if reason is not None and reason not in {ONE_READ, FEWER_THAN_TWO}:
            lines.append(f"TPOT leaves out {count} of {len(timed)} requests: {reason}")
    if any(s.reasoning_tokens and not s.reasoning_chunks for s in timed):
        lines.append(
            "the server counts reasoning that it does not send: TTFT includes its time, token rates its tokens, "
            "TPOT neither"
        )
    return [where + line for line in lines]


def _most_frequent(reasons: Sequence[str | None]) -> str | None:
    counts = Counter(reason for reason in reasons if reason is not None)
    return counts.most_common(1)[0][0] if counts else None
