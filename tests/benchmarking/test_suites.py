from __future__ import annotations

from typing import Any

import pytest

from kitt_core.benchmarking.load import ClosedLoop
from kitt_core.benchmarking.suites import SUITES, Suite, suite_named
from kitt_core.benchmarking.workload import WorkloadChanges
from kitt_core.errors import ConfigurationError

from .scripted import ScriptedSession, VirtualClock


def test_quick_sends_at_most_sixty_requests_of_what_any_engine_can() -> None:
    quick = suite_named("quick")
    assert quick.total_requests() <= 60
    names = [planned.benchmark.name for planned in quick.plan]
    assert sorted(names) == ["latency", "memory", "throughput", "warmup_analysis"]
    assert names[0] == "warmup_analysis", "it needs a cold session"


def test_performance_repeats_and_is_longer() -> None:
    performance = suite_named("performance")
    assert performance.total_requests() > suite_named("quick").total_requests()
    assert max(planned.runs for planned in performance.plan) > 1


def test_every_suite_but_quick_has_every_benchmark() -> None:
    for suite in SUITES[1:]:
        assert sorted(planned.benchmark.name for planned in suite.plan) == [
            "concurrency_sweep",
            "latency",
            "memory",
            "streaming_latency",
            "throughput",
            "warmup_analysis",
        ]
        assert suite.plan[0].benchmark.name == "warmup_analysis"


def settings_of(suite: Suite, concurrent: bool = True) -> dict[str, dict[str, Any]]:
    load = ClosedLoop(ScriptedSession(VirtualClock(), concurrent=concurrent))
    return {planned.benchmark.name: planned.benchmark.settings_for(load) for planned in suite.plan}


def test_changes_reach_every_benchmark_and_its_settings() -> None:
    changes = WorkloadChanges(requests=7, max_tokens=9, prompt_characters=32, concurrency=4, seconds=1.5)
    changed = suite_named("standard").with_changes(changes)
    for name, settings in settings_of(changed).items():
        assert settings["max_tokens"] == 9, name
        assert settings["prompt_characters"] == 32
        assert settings["seconds"] == 1.5
        assert settings["iterations"] == 7
        assert settings["concurrency"] == (1 if name in {"latency", "warmup_analysis"} else 4)
    assert settings_of(changed)["concurrency_sweep"]["levels"] == [1, 2, 4]
    assert settings_of(changed)["concurrency_sweep"]["requests_per_level"] == [7, 7, 7]
    assert changed.changed == changes.given()
    assert changed.name == "standard"


def test_without_changes_a_suite_is_as_it_was() -> None:
    standard = suite_named("standard")
    assert standard.with_changes(WorkloadChanges()) == standard
    assert standard.limited_to(()) == standard


def test_as_many_requests_as_are_asked_for_are_sent_however_long_it_takes() -> None:
    quick = suite_named("quick")
    assert settings_of(quick)["throughput"]["seconds"] == 4
    settings = settings_of(quick.with_changes(WorkloadChanges(requests=500)))["throughput"]
    assert (settings["iterations"], settings["seconds"]) == (500, None)


def test_a_concurrency_brings_the_requests_that_it_needs() -> None:
    settings = settings_of(suite_named("quick").with_changes(WorkloadChanges(concurrency=64)))
    assert (settings["throughput"]["iterations"], settings["throughput"]["concurrency"]) == (128, 64)
    assert settings["latency"]["iterations"] == 20
    few = settings_of(suite_named("quick").with_changes(WorkloadChanges(concurrency=64, requests=10)))
    assert few["throughput"]["concurrency"] == 10, "there are never more in flight"
    sweep = settings_of(suite_named("standard").with_changes(WorkloadChanges(concurrency=64, requests=10)))
    assert sweep["concurrency_sweep"]["requests_per_level"] == [10, 10, 10, 10, 16, 32, 64]


@pytest.mark.parametrize(
    "wrong",
    [{"requests": 0}, {"max_tokens": 0}, {"prompt_characters": 31}, {"concurrency": 0}, {"seconds": 0}],
)
def test_changes_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        WorkloadChanges(**wrong)


def test_a_suite_can_be_limited_to_some_of_its_benchmarks() -> None:
    limited = suite_named("standard").limited_to(["memory", "latency", "memory"])
    assert [planned.benchmark.name for planned in limited.plan] == ["latency", "memory"]
    assert limited.changed == {"benchmarks": ["latency", "memory"]}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("latencyy", "did you mean latency?"),
        ("concurrency_sweep", "-s standard has it"),
        ("x", "choose one with --benchmark, or leave out --benchmark for all"),
    ],
)
def test_a_benchmark_that_the_suite_lacks_is_named(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match="suite quick has no benchmark") as caught:
        suite_named("quick").limited_to([name])
    assert (caught.value.hint, caught.value.exit_code) == (hint, 2)


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
