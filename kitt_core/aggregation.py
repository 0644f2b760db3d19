"""Statistics over the entries of a metric: one definition for all backends."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kitt_core.query import Statistic

__all__ = ["compute", "mean", "percentile"]


def mean(values: Sequence[float]) -> float | None:
    """Return the arithmetic mean, None of nothing."""
    return math.fsum(values) / len(values) if values else None


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the percentile by linear interpolation between closest ranks, None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    rank = (len(ordered) - 1) * percent / 100
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def compute(statistic: Statistic, values: Sequence[float]) -> float | int | None:
    """Return one statistic of finite values; None where it is not defined (of nothing; stddev of one)."""
    if statistic == "count":
        return len(values)
    if not values:
        return None
    match statistic:
        case "avg":
            return mean(values)
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "sum":
            return math.fsum(values)
        case "stddev":
            return _sample_deviation(values)
        case _:
            return percentile(values, float(statistic.removeprefix("p")))


def _sample_deviation(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    centre = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))
