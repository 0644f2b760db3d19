"""Statistics of samples: what stands under ``ttft_ms`` and its like in a document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

__all__ = ["distribution", "mean", "percentile", "rounded"]

_PERCENTILES: Final = (50.0, 90.0, 95.0, 99.0)
_DECIMALS: Final = 6


def distribution(samples: Sequence[float]) -> dict[str, float]:
    """Summarise samples as the keys ``mean stddev min max p50 p90 p95 p99``, in the samples' unit.

    ``stddev`` is the sample standard deviation (divisor n - 1) and is missing for a single sample. Values are
    rounded to six decimals.

    Raises:
        ValueError: There are no samples.
    """
    ordered = sorted(samples)
    centre = mean(ordered)
    summary = {"mean": centre}
    if len(ordered) > 1:
        squares = math.fsum((sample - centre) ** 2 for sample in ordered)
        summary["stddev"] = math.sqrt(squares / (len(ordered) - 1))
    summary["min"] = ordered[0]
    summary["max"] = ordered[-1]
    for percent in _PERCENTILES:
        summary[f"p{percent:g}"] = percentile(ordered, percent)
    return {name: rounded(value) for name, value in summary.items()}


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return a percentile by linear interpolation between the two closest ranks.

    The rank is ``(n - 1) * percent / 100`` (Hyndman and Fan's type 7, the default of NumPy and of
    PostgreSQL's ``percentile_cont``).

    Args:
        ordered: Samples in ascending order.
        percent: From 0 to 100.

    Raises:
        ValueError: There are no samples, or ``percent`` is out of range.
    """
    if not ordered:
        raise ValueError("a percentile needs at least one sample")
    if not 0 <= percent <= 100:
        raise ValueError(f"a percentile is between 0 and 100, not {percent}")
    rank = (len(ordered) - 1) * percent / 100
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def mean(samples: Sequence[float]) -> float:
    """Return the arithmetic mean.

    Raises:
        ValueError: There are no samples.
    """
    if not samples:
        raise ValueError("a mean needs at least one sample")
    return math.fsum(samples) / len(samples)


def rounded(value: float) -> float:
    """Round as all measured values in a document are: to six decimals (a nanosecond, where it is ms)."""
    return round(value, _DECIMALS)
