from __future__ import annotations

import random
import statistics

import pytest

from kitt_core.benchmarking.samples import distribution
from kitt_core.runs.statistics import mean, percentile


def test_the_statistics_of_known_samples() -> None:
    assert distribution([4.0, 1.0, 3.0, 2.0]) == {
        "mean": 2.5,
        "stddev": 1.290994,
        "min": 1.0,
        "max": 4.0,
        "p50": 2.5,
        "p90": 3.7,
        "p95": 3.85,
        "p99": 3.97,
    }


def test_percentiles_are_those_of_the_standard_library() -> None:
    ordered = sorted(random.Random(1).gauss(10, 3) for _ in range(57))
    inclusive = statistics.quantiles(ordered, n=100, method="inclusive")
    for percent in (1, 50, 90, 95, 99):
        assert percentile(ordered, percent) == pytest.approx(inclusive[percent - 1])
    assert percentile(ordered, 0) == ordered[0]
    assert percentile(ordered, 100) == ordered[-1]


def test_one_sample_has_no_standard_deviation() -> None:
    summary = distribution([7.0])
    assert "stddev" not in summary
    assert set(summary.values()) == {7.0}


def test_no_samples_are_refused() -> None:
    for compute in (distribution, mean):
        with pytest.raises(ValueError, match="at least one sample"):
            compute([])
    with pytest.raises(ValueError, match="between 0 and 100"):
        percentile([1.0], 101)
