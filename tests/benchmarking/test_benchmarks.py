from __future__ import annotations

import asyncio

import pytest

from kitt_core.benchmarking.benchmark import Benchmark, BenchmarkOutcome
from kitt_core.benchmarking.catalogue import CATALOGUE, Direction, definition_of
from kitt_core.benchmarking.latency import Latency
from kitt_core.benchmarking.load import ClosedLoop
from kitt_core.benchmarking.memory import Memory
from kitt_core.benchmarking.throughput import Throughput
from kitt_core.benchmarking.warmup_analysis import WarmupAnalysis
from kitt_core.benchmarking.workload import Workload
from kitt_core.engine import Usage
from kitt_core.errors import EngineError

from .scripted import Readings, ScriptedSession, Step, VirtualClock, words

FAILING = [Step(1, error=EngineError("refused"))]


def outcome_of(
    benchmark: Benchmark, *scripts: list[Step], memory: Readings | None = None, warm_up: bool = True
) -> BenchmarkOutcome:
    clock = VirtualClock()
    session = ScriptedSession(clock, *scripts)
    if memory is not None:
        session = ScriptedSession(clock, *scripts, memory=lambda: {"cache_gb": memory()})
    warmed: list[object] = []
    measured: list[object] = []
    outcome = asyncio.run(
        benchmark.run(
            ClosedLoop(session, clock), warm_up=warm_up, on_sample=measured.append, on_warmup=warmed.append
        )
    )
    if outcome.skipped is None:
        assert len(measured) == benchmark.workload.iterations
        assert len(warmed) + len(measured) == benchmark.total_requests(warm_up=warm_up)
    return outcome


def test_throughput_of_two_requests() -> None:
    usage = Usage(5, 4, "server_usage")
    outcome = outcome_of(
        Throughput(Workload(iterations=2, warmups=1)),
        words(900, 50, 50, 50, usage=usage),
        words(50, 10, 20, 20, usage=usage),
        words(100, 30, 30, 40, usage=usage),
    )
    metrics = outcome.metrics
    assert metrics["total_iterations"] == 2
    assert metrics["total_tokens_generated"] == 8
    assert metrics["total_time_seconds"] == pytest.approx(0.3)
    assert metrics["avg_tps"] == pytest.approx((40 + 20) / 2)
    assert metrics["min_tps"] == pytest.approx(20)
    assert metrics["max_tps"] == pytest.approx(40)
    assert metrics["output_token_throughput"] == pytest.approx(8 / 0.3, abs=1e-5)
    assert metrics["request_throughput"] == pytest.approx(2 / 0.3, abs=1e-5)
    assert metrics["avg_latency_ms"] == pytest.approx(150)
    assert metrics["p50_latency_ms"] == pytest.approx(150)
    assert metrics["p99_latency_ms"] == pytest.approx(199)
    assert isinstance(metrics["ttft_ms"], dict)
    assert metrics["ttft_ms"]["mean"] == pytest.approx(75)
    assert isinstance(metrics["itl_ms"], dict)
    assert metrics["itl_ms"]["mean"] == pytest.approx(150 / 6), "gaps are pooled over requests"
    assert isinstance(metrics["tpot_ms"], dict)
    assert metrics["tpot_ms"]["max"] == pytest.approx(100 / 3, abs=1e-5)
    assert isinstance(metrics["e2e_latency_ms"], dict)
    assert list(metrics["e2e_latency_ms"]) == ["mean", "stddev", "min", "max", "p50", "p90", "p95", "p99"]
    assert outcome.warmup_times == pytest.approx([1.05]), "the slow first request is in no metric"
    assert outcome.token_count_source == "server_usage"
    assert not outcome.errors
    assert not outcome.not_measured


def test_warm_up_requests_can_be_left_out() -> None:
    outcome = outcome_of(Latency(Workload(iterations=2, warmups=3)), words(10, 5), warm_up=False)
    assert outcome.warmup_times == []
    assert outcome.metrics["total_iterations"] == 2


def test_a_failed_request_is_an_error_and_in_no_metric() -> None:
    outcome = outcome_of(Latency(Workload(iterations=3, warmups=1)), FAILING, words(10, 5), FAILING, words(10, 5))
    assert outcome.errors == ["warm-up 1: refused", "request 2: refused"]
    assert outcome.metrics["total_iterations"] == 2
    assert isinstance(outcome.metrics["ttft_ms"], dict)
    assert outcome.metrics["ttft_ms"]["max"] == pytest.approx(10)


@pytest.mark.parametrize("benchmark_type", [Throughput, Latency, WarmupAnalysis])
def test_if_all_requests_fail_the_metrics_are_left_out_with_the_reason(benchmark_type: type[Benchmark]) -> None:
    outcome = outcome_of(benchmark_type(Workload(iterations=2, warmups=0)), FAILING)
    assert len(outcome.errors) == 2
    assert outcome.metrics["total_iterations"] == 0
    assert all("succeeded" in reason for reason in outcome.not_measured.values())
    assert not set(outcome.not_measured) & set(outcome.metrics)
    assert outcome.not_measured


def test_an_answer_in_one_chunk_has_no_gaps_and_does_not_fail() -> None:
    outcome = outcome_of(Latency(Workload(iterations=2, warmups=0)), words(10))
    assert not outcome.errors
    assert outcome.not_measured == {
        "tpot_ms": "no request gave two output tokens",
        "itl_ms": "no answer came in more than one chunk",
    }
    assert "tpot_ms" not in outcome.metrics


def test_memory_is_read_while_requests_are_answered_but_not_in_warm_ups() -> None:
    readings = Readings([9.0, 1.0, 3.0, 2.0])
    outcome = outcome_of(
        Memory(Workload(iterations=1, warmups=1)), words(1, 1), words(1, 1, 30, 1, 30), memory=readings
    )
    assert readings.taken == [9.0, 1.0, 3.0, 2.0], "before, first chunk, and after each 20 ms"
    assert outcome.metrics["overall_peak_cache_gb"] == 3.0
    assert outcome.metrics["overall_avg_cache_gb"] == 2.0
    assert outcome.not_measured == {
        "gpu_memory_gb": "the engine reports no GPU memory",
        "host_memory_gb": "the engine reports no host memory",
    }


def test_memory_is_skipped_with_a_reason_where_nothing_can_be_read() -> None:
    outcome = outcome_of(Memory(), words(1))
    assert outcome.skipped == "the engine reports no memory figures"
    assert not outcome.errors


def test_the_cold_request_against_the_warm_ones() -> None:
    scripts = [words(ms) for ms in (300, 130, 110, 101, 100, 100, 90, 100)]
    outcome = outcome_of(WarmupAnalysis(), *scripts)
    assert outcome.metrics == {
        "total_iterations": 8,
        "warm_latency_ms": pytest.approx(100),
        "cold_latency_ms": pytest.approx(300),
        "warmup_penalty_pct": pytest.approx(200),
        "stabilized_after": 2,
    }


def test_latency_that_never_settles_has_no_point_of_stability() -> None:
    outcome = outcome_of(
        WarmupAnalysis(Workload(iterations=4, warmups=0)), words(100), words(100), words(100), words(500)
    )
    assert "stabilized_after" not in outcome.metrics
    assert "slower than warm" in outcome.not_measured["stabilized_after"]


def test_every_metric_that_a_benchmark_writes_is_in_the_catalogue() -> None:
    written: set[str] = set()
    for benchmark in (Throughput(), Latency(), WarmupAnalysis(), Memory()):
        written |= set(outcome_of(benchmark, words(10, 5), memory=Readings([1.0])).metrics)
    assert not {name for name in written if definition_of(name) is None}
    unused = {entry.name for entry in CATALOGUE if not any(definition_of(name) == entry for name in written)}
    assert not unused


def test_the_catalogue_knows_statistics_benchmarks_and_its_limits() -> None:
    p99 = definition_of("latency/ttft_ms.p99")
    assert p99 is not None
    assert (p99.definition, p99.unit, p99.direction) == ("ttft.client", "ms", Direction.LOWER)
    gpu = definition_of("overall_peak_gpu_memory_gb")
    assert gpu is not None
    assert gpu.definition == "memory.peak"
    assert definition_of("accuracy") is None
