"""Statistics over the entries of a metric: one definition for all backends."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kitt_core.query import Statistic

__all__ = ["compute", "mean", "percentile"]


def mean(values: Sequence[float]) -> float | None:
    """Return the arithmetic mean, None of nothing."""
    if not values:
        return None
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # the sum is beyond a double, the mean never is
        from fractions import Fraction

        return float(sum(map(Fraction, values)) / len(values))


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
    """Return one statistic of finite values.

    None where it is not defined (of nothing; the deviation of one value) or beyond a double.
    """
    try:
        value = _compute(statistic, values)
    except OverflowError:
        return None
    return value if value is None or math.isfinite(value) else None


def _compute(statistic: Statistic, values: Sequence[float]) -> float | int | None:
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
    centre = mean(values) or 0.0
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))
