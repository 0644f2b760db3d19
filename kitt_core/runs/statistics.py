"""Statistics of numbers: one definition for stored metrics on every backend and for measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kitt_core.runs.grouping import Statistic

__all__ = ["compute", "mean", "percentile", "sample_deviation"]


def compute(statistic: Statistic, values: Sequence[float]) -> float | int | None:
    """Return one statistic of finite values.

    None where it is undefined (no values; the deviation of a single value) or beyond the range of a double. It is
    never -0.0, which sums give or not, depending on what they begin with.
    """
    try:
        value = _compute(statistic, values)
    except OverflowError:
        return None
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else value + 0.0


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
            return sample_deviation(values)
        case _:
            return percentile(sorted(values), float(statistic.removeprefix("p")))


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("a mean needs at least one sample")
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # the sum is beyond the range of a double, but the mean never is
        from fractions import Fraction

        return float(sum(map(Fraction, values)) / len(values))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return a percentile by linear interpolation between the two closest ranks.

    The rank is ``(n - 1) * percent / 100`` (Hyndman and Fan's type 7, the default of NumPy and of
    PostgreSQL's ``percentile_cont``).

    Args:
        ordered: Values in ascending order.
        percent: From 0 to 100.

    Raises:
        ValueError: There are no values, or ``percent`` is out of range.
    """
    if not ordered:
        raise ValueError("a percentile needs at least one sample")
    if not 0 <= percent <= 100:
        raise ValueError(f"a percentile is between 0 and 100, not {percent}")
    rank = (len(ordered) - 1) * percent / 100
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def sample_deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation (divisor n - 1), None for fewer than two values."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))
