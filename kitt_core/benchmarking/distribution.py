"""Statistics of samples: what stands under ``ttft_ms`` and its like in a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kitt_core.aggregation import mean, percentile, sample_deviation

__all__ = ["PERCENTILE_METHOD", "distribution", "rounded"]

PERCENTILE_METHOD: Final = "linear interpolation between closest ranks (Hyndman-Fan type 7)"
"""Stands in every document; `kitt_core.aggregation.percentile` computes it."""

_PERCENTILES: Final = (50.0, 90.0, 95.0, 99.0)
_DECIMALS: Final = 6


def distribution(samples: Sequence[float]) -> dict[str, float]:
    """Summarise samples as the keys ``mean stddev min max p50 p90 p95 p99``, in the samples' unit.

    ``stddev`` is the sample standard deviation and is missing for a single sample; percentiles interpolate
    between the closest ranks. Values are rounded to six decimals.

    Raises:
        ValueError: There are no samples.
    """
    ordered = sorted(samples)
    summary = {"mean": mean(ordered)}
    deviation = sample_deviation(ordered)
    if deviation is not None:
        summary["stddev"] = deviation
    summary["min"] = ordered[0]
    summary["max"] = ordered[-1]
    for percent in _PERCENTILES:
        summary[f"p{percent:g}"] = percentile(ordered, percent)
    return {name: rounded(value) for name, value in summary.items()}


def rounded(value: float) -> float:
    """Round as all measured values in a document are: to six decimals (a nanosecond, where it is ms)."""
    return round(value, _DECIMALS)
