from __future__ import annotations

import pytest

from kitt_core.benchmarking.suites import SUITES, suite_named
from kitt_core.errors import ConfigurationError


def test_quick_sends_at_most_sixty_requests_and_knows_all_benchmarks() -> None:
    quick = suite_named("quick")
    assert quick.total_requests() <= 60
    names = [planned.benchmark.name for planned in quick.plan]
    assert sorted(names) == ["latency", "memory", "throughput", "warmup_analysis"]
    assert names[0] == "warmup_analysis", "it needs a cold session"


def test_performance_repeats_and_is_longer() -> None:
    performance = suite_named("performance")
    assert performance.total_requests() > suite_named("quick").total_requests()
    assert max(planned.runs for planned in performance.plan) > 1


def test_what_can_be_measured_once_is_not_repeated() -> None:
    runs = {planned.benchmark.name: planned.runs_of(5) for planned in suite_named("quick").plan}
    assert runs == {"warmup_analysis": 1, "throughput": 5, "latency": 5, "memory": 5}


def test_an_unknown_suite_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError) as caught:
        suite_named("quik")
    assert caught.value.exit_code == 2
    assert "'quik'" in caught.value.message
    assert all(suite.name in caught.value.message for suite in SUITES)
    assert caught.value.hint == "did you mean quick?"
