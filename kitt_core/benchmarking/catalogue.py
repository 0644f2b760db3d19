"""What the metrics mean: unit, direction and definition of every metric that KITT's benchmarks write."""

from __future__ import annotations

import enum
import re
from fnmatch import fnmatchcase
from typing import Final

from attrs import frozen

__all__ = ["CATALOGUE", "Direction", "MetricDefinition", "definition_of"]


class Direction(enum.StrEnum):
    """Which way a metric improves."""

    HIGHER = "higher"
    LOWER = "lower"
    NEUTRAL = "neutral"
    """Context only: a change is neither better nor worse."""


@frozen
class MetricDefinition:
    """What one metric is.

    Attributes:
        name: The name before the first dot; ``*`` stands for any characters.
        unit: The unit of the values in the document.
        direction: Which way is better.
        definition: Id of the exact definition; only metrics with equal ids are comparable.
        meaning: The definition in one line.
    """

    name: str
    unit: str
    direction: Direction
    definition: str
    meaning: str


_LEVEL: Final = re.compile(r"^c\d+\.")
"""The prefix of the metrics of one level of concurrency."""
_HIGHER, _LOWER, _NEUTRAL = Direction.HIGHER, Direction.LOWER, Direction.NEUTRAL

CATALOGUE: Final[tuple[MetricDefinition, ...]] = tuple(
    MetricDefinition(*columns)
    for columns in (
        ("ttft_ms", "ms", _LOWER, "ttft.client", "request sent to first chunk with text"),
        (
            "ttfo_ms",
            "ms",
            _LOWER,
            "ttfo.client",
            "request sent to first chunk with text that is not reasoning",
        ),
        (
            "tpot_ms",
            "ms",
            _LOWER,
            "tpot.excl_first",
            "(E2E - TTFT) / (output tokens seen - 1), per request",
        ),
        ("itl_ms", "ms", _LOWER, "itl.gap", "gap between consecutive chunks with text, pooled over requests"),
        ("avg_inter_token_ms", "ms", _LOWER, "itl.gap", "mean gap between consecutive chunks with text"),
        ("e2e_latency_ms", "ms", _LOWER, "e2e.client", "request sent to last chunk with text"),
        ("avg_latency_ms", "ms", _LOWER, "e2e.client", "mean of request sent to last chunk with text"),
        ("p50_latency_ms", "ms", _LOWER, "e2e.client", "median of request sent to last chunk with text"),
        ("p99_latency_ms", "ms", _LOWER, "e2e.client", "99th percentile of request sent to last chunk with text"),
        ("avg_tps", "token/s", _HIGHER, "user.osl_over_e2e", "mean over requests of output tokens / E2E"),
        ("min_tps", "token/s", _HIGHER, "user.osl_over_e2e", "least output tokens / E2E of a request"),
        ("max_tps", "token/s", _HIGHER, "user.osl_over_e2e", "greatest output tokens / E2E of a request"),
        ("output_token_throughput", "token/s", _HIGHER, "otps.system", "all output tokens / duration"),
        ("request_throughput", "req/s", _HIGHER, "rps.completed", "completed requests / duration"),
        (
            "input_token_throughput",
            "token/s",
            _HIGHER,
            "itps.system",
            "all input tokens / duration",
        ),
        ("total_token_throughput", "token/s", _HIGHER, "ttps.system", "all input and output tokens / duration"),
        (
            "best_output_token_throughput",
            "token/s",
            _HIGHER,
            "otps.system.best",
            "output token throughput of the level at which it is greatest",
        ),
        ("best_concurrency", "count", _NEUTRAL, "otps.system.best_level", "that level"),
        ("concurrency_achieved", "count", _NEUTRAL, "concurrency.mean", "sum of all requests' time / duration"),
        (
            "client_busy_share",
            "1",
            _NEUTRAL,
            "client.busy_share",
            "time in which the thread that sends and receives computed or waited for a CPU / duration",
        ),
        ("total_time_seconds", "s", _NEUTRAL, "duration.wall", "start of first measured request to last end"),
        ("total_iterations", "count", _NEUTRAL, "requests.completed", "measured requests that succeeded"),
        (
            "requests_retried",
            "count",
            _NEUTRAL,
            "requests.retried",
            "measured requests that succeeded after they were sent again",
        ),
        ("total_tokens_generated", "token", _NEUTRAL, "output_tokens.total", "sum of output tokens"),
        ("cold_latency_ms", "ms", _LOWER, "e2e.client.first", "E2E of the session's first request"),
        ("warm_latency_ms", "ms", _LOWER, "e2e.client.warm", "median E2E of the second half of the requests"),
        ("warmup_penalty_pct", "%", _LOWER, "warmup.penalty", "(cold - warm) / warm latency"),
        (
            "stabilized_after",
            "count",
            _LOWER,
            "warmup.requests",
            "requests until none is slower than warm by more than the tolerance",
        ),
        ("overall_peak_*_gb", "GB", _LOWER, "memory.peak", "greatest reading while requests were answered"),
        ("overall_avg_*_gb", "GB", _LOWER, "memory.mean", "mean reading while requests were answered"),
    )
)
"""Every metric of `kitt_core.benchmarking`, in the order of a report."""


def definition_of(name: str) -> MetricDefinition | None:
    """Return the definition of a metric, None for a name that none of KITT's benchmarks writes.

    Args:
        name: As stored, with or without the statistic after a dot (``ttft_ms.p99``); a benchmark before a
            slash (``latency/ttft_ms.p99``) is allowed, and so is a level (``c8.ttft_ms.p99``).
    """
    base = _LEVEL.sub("", name.rpartition("/")[2], count=1).partition(".")[0]
    return next((entry for entry in CATALOGUE if fnmatchcase(base, entry.name)), None)
