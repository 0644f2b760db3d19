from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest

from kitt_core.benchmarking.benchmark import Benchmark, BenchmarkOutcome
from kitt_core.benchmarking.catalogue import CATALOGUE, Direction, definition_of
from kitt_core.benchmarking.concurrency_sweep import ConcurrencySweep, levels_up_to
from kitt_core.benchmarking.latency import Latency, StreamingLatency
from kitt_core.benchmarking.load import BUSY, ClosedLoop, busy_time, client_warnings
from kitt_core.benchmarking.memory import Memory
from kitt_core.benchmarking.throughput import Throughput
from kitt_core.benchmarking.warmup_analysis import WarmupAnalysis
from kitt_core.benchmarking.workload import Workload
from kitt_core.engine import Chunk, Usage
from kitt_core.errors import EngineError
from kitt_core.runs import derive_rows

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
    assert metrics["input_token_throughput"] == pytest.approx(10 / 0.3, abs=1e-5)
    assert metrics["total_token_throughput"] == pytest.approx(18 / 0.3, abs=1e-5)
    assert metrics["concurrency_achieved"] == pytest.approx(1)


def test_input_tokens_that_nobody_counted_have_no_throughput() -> None:
    outcome = outcome_of(Throughput(Workload(iterations=2, warmups=0)), words(10, 5))
    reason = "the input tokens were not counted"
    assert outcome.not_measured == {"input_token_throughput": reason, "total_token_throughput": reason}
    assert outcome.token_count_source == "engine"


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
        "tpot_ms": "no request produced two output tokens in two chunks",
        "itl_ms": "no answer arrived in more than one chunk",
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
        "overall_peak_gpu_memory_gb": "the engine reports no GPU memory",
        "overall_avg_gpu_memory_gb": "the engine reports no GPU memory",
        "overall_peak_host_memory_gb": "the engine reports no host memory",
        "overall_avg_host_memory_gb": "the engine reports no host memory",
    }
    assert all(definition_of(name) for name in outcome.not_measured)


def test_memory_that_was_never_read_is_missing_with_the_reason() -> None:
    outcome = outcome_of(Memory(Workload(iterations=1, warmups=0)), FAILING, memory=Readings([9.0]))
    reason = "nothing was measured, since no request was answered"
    assert outcome.not_measured["overall_peak_cache_gb"] == outcome.not_measured["overall_avg_cache_gb"] == reason


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


def test_a_single_request_is_cold_and_nothing_is_warm() -> None:
    outcome = outcome_of(WarmupAnalysis(Workload(iterations=1, warmups=0)), words(100))
    assert outcome.metrics == {"total_iterations": 1, "cold_latency_ms": pytest.approx(100)}
    reason = "a single request has no second half"
    assert outcome.not_measured == dict.fromkeys(
        ("warm_latency_ms", "warmup_penalty_pct", "stabilized_after"), reason
    )


def test_a_cold_latency_is_kept_where_all_later_requests_failed() -> None:
    outcome = outcome_of(WarmupAnalysis(Workload(iterations=2, warmups=0)), words(100), FAILING)
    assert outcome.metrics["cold_latency_ms"] == pytest.approx(100)
    assert outcome.not_measured["warm_latency_ms"] == "no request of the second half succeeded"


def test_rates_of_a_load_without_duration_are_missing_with_the_reason() -> None:
    hopeless = overlapped(Throughput(Workload(iterations=5, warmups=3)), FAILING)
    assert hopeless.not_measured["output_token_throughput"] == "no request was sent"
    at_once = overlapped(Throughput(Workload(iterations=5, warmups=0)), words(0))
    assert at_once.not_measured["concurrency_achieved"] == "the load took no time"
    for outcome in (hopeless, at_once):
        assert {"request_throughput", "total_token_throughput"} <= set(outcome.not_measured)
        assert not set(outcome.not_measured) & set(outcome.metrics)


def test_tokens_that_nobody_counted_are_warned_of() -> None:
    uncounted = [Step(10, Chunk("w ")), Step(10, Chunk("w "))]
    for benchmark in (Throughput(), Latency(), ConcurrencySweep(levels=(1, 2))):
        outcome = overlapped(benchmark, *[words(10, 5)] * 6, uncounted)
        assert outcome.token_count_source == "chunks,engine"
        assert [warning.partition(":")[0] for warning in outcome.warnings] == ["the tokens were not counted"]
        assert not overlapped(benchmark, words(10, 5)).warnings
    assert not overlapped(Memory(), uncounted).warnings, "no metric of it counts tokens"


def overlapped(benchmark: Benchmark, *scripts: list[Step], remote: bool = False) -> BenchmarkOutcome:
    clock = VirtualClock()
    session = ScriptedSession(clock, *scripts, concurrent=True, remote=remote, memory=lambda: {"cache_gb": 1.0})
    load = ClosedLoop(session, clock, busy_clock=clock)
    return asyncio.run(benchmark.run(load, on_sample=lambda _: None, on_warmup=lambda _: None))


def test_streaming_latency_is_latency_under_load() -> None:
    outcome = overlapped(StreamingLatency(Workload(iterations=8, concurrency=4)), words(10, 5, 7))
    assert outcome.metrics["total_iterations"] == 8
    assert isinstance(outcome.metrics["itl_ms"], dict)
    assert outcome.metrics["avg_inter_token_ms"] == outcome.metrics["itl_ms"]["mean"]
    assert {"ttft_ms", "tpot_ms", "e2e_latency_ms"} <= set(outcome.metrics)


def test_what_needs_concurrency_is_skipped_where_requests_cannot_overlap() -> None:
    assert outcome_of(StreamingLatency(Workload(concurrency=2))).skipped == (
        "the engine answers one request at a time, which latency measures"
    )
    assert outcome_of(ConcurrencySweep()).skipped == "the engine answers one request at a time"
    alone = ConcurrencySweep(Workload(iterations=3, warmups=1), levels=(1,))
    assert outcome_of(alone, words(10, 5)).metrics["best_concurrency"] == 1


def test_latency_sends_one_request_at_a_time_whatever_it_is_told() -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock, concurrent=True)
    benchmark = Latency(Workload(iterations=4, concurrency=4))
    load = ClosedLoop(session, clock)
    asyncio.run(benchmark.run(load, on_sample=lambda _: None, on_warmup=lambda _: None))
    assert session.most_in_flight == 1
    assert benchmark.settings_for(load)["concurrency"] == 1


def test_a_sweep_has_the_metrics_of_each_level() -> None:
    sweep = ConcurrencySweep(Workload(iterations=3, warmups=2), levels=levels_up_to(4))
    outcome = overlapped(sweep, words(10, 5, usage=Usage(3, 2)))
    assert [name for name in outcome.metrics if name.startswith("c")] == ["c1", "c2", "c4"]
    counts = {
        name: level["total_iterations"] for name, level in outcome.metrics.items() if isinstance(level, dict)
    }
    assert counts == {"c1": 3, "c2": 4, "c4": 8}
    assert len(outcome.warmup_times) == 2
    assert outcome.token_count_source == "engine"
    assert sweep.total_requests() == 17
    settings = sweep.settings_for(ClosedLoop(ScriptedSession(VirtualClock(), concurrent=True)))
    assert (settings["levels"], settings["requests_per_level"]) == ([1, 2, 4], [3, 4, 8])
    entry = {"test_name": "concurrency_sweep", "metrics": outcome.metrics}
    rows = derive_rows({"model": "m", "engine": "e", "results": [entry]}).benchmarks[0].metrics
    names = {row.name for row in rows}
    assert {"c4.output_token_throughput", "c4.ttft_ms.p50", "best_output_token_throughput"} <= names
    assert not {name for name in names if definition_of(name) is None}


def test_a_sweep_ends_with_the_level_that_gave_up() -> None:
    sweep = ConcurrencySweep(Workload(iterations=5, warmups=0), levels=(1, 2, 4))
    outcome = overlapped(sweep, *[words(10, 5)] * 6, FAILING)
    assert outcome.errors[:1] == ["concurrency 2: request 2: refused"]
    assert outcome.errors[-1] == ("concurrency 2: gave up after 3 failures in a row; 8 requests were not sent"), (
        "eight of the level that was never reached"
    )
    assert outcome.gave_up == outcome.errors[-1]
    assert outcome.metrics["best_concurrency"] == 1
    assert outcome.not_measured["c4"] == "given up at a lower level"


def test_a_sweep_whose_warm_up_fails_measures_nothing() -> None:
    outcome = overlapped(ConcurrencySweep(Workload(iterations=4, warmups=3), levels=(1, 2)), FAILING)
    assert outcome.errors[-1] == "gave up after 3 failures in a row; 8 requests were not sent"
    assert set(outcome.not_measured) == {"c1", "c2", "best_output_token_throughput", "best_concurrency"}


@pytest.mark.parametrize(("most", "levels"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))])
def test_levels_double_up_to_the_highest(most: int, levels: tuple[int, ...]) -> None:
    assert levels_up_to(most) == levels


def test_a_load_generator_without_rest_is_warned_of() -> None:
    throughput = Throughput(Workload(iterations=4, concurrency=2))
    outcome = overlapped(throughput, words(10, 5), remote=True)  # its two clocks are one: busy all the time
    assert outcome.metrics["client_busy_share"] == 1.0
    (warning,) = outcome.warnings
    assert warning.startswith("the load generator was busy 100% of the time")
    sweep = overlapped(ConcurrencySweep(levels=(1, 2)), words(10, 5), remote=True)
    assert [warning.partition(":")[0] for warning in sweep.warnings] == ["concurrency 1", "concurrency 2"]
    here = overlapped(throughput, words(10, 5))
    assert "client_busy_share" not in here.metrics, "tokens are made in this thread, too"
    assert not here.warnings


def test_a_thread_is_busy_while_it_computes_and_while_it_waits_for_a_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = busy_time()
    sum(range(300_000))
    assert busy_time() > before
    (tmp_path / "schedstat").write_text("2500000000 500000000 7\n")
    monkeypatch.setattr("kitt_core.benchmarking.load._SCHEDULER", tmp_path / "schedstat")
    before = time.thread_time()
    assert before + 0.5 <= busy_time() <= time.thread_time() + 0.5
    monkeypatch.setattr("kitt_core.benchmarking.load._SCHEDULER", tmp_path / "missing")
    assert before <= busy_time() <= time.thread_time()


@pytest.mark.parametrize(("share", "warned"), [(None, False), (0.5, False), (BUSY, True)])
def test_the_warning_has_a_threshold(share: float | None, warned: bool) -> None:
    assert bool(client_warnings(share)) is warned


def test_every_metric_that_a_benchmark_writes_is_in_the_catalogue() -> None:
    written: set[str] = set()
    for benchmark in (Throughput(), Latency(), StreamingLatency(), ConcurrencySweep(), WarmupAnalysis(), Memory()):
        thought = [Step(10, Chunk("hm ", reasoning=True)), *words(10, 5, usage=Usage(3, 3))]
        again = [Step(10, Chunk("w ", retries=1)), *words(10, 5, usage=Usage(3, 3))]
        scripts = [*[again] * 6, thought] if benchmark.name == "throughput" else [thought]
        for name, value in overlapped(benchmark, *scripts, remote=True).metrics.items():
            if re.fullmatch(r"c\d+", name) and isinstance(value, dict):
                written |= {f"{name}.{metric}" for metric in value}
            else:
                written.add(name)
    assert not {name for name in written if definition_of(name) is None}
    unused = {entry.name for entry in CATALOGUE if not any(definition_of(name) == entry for name in written)}
    assert not unused


def test_the_catalogue_knows_statistics_benchmarks_and_its_limits() -> None:
    p99 = definition_of("latency/ttft_ms.p99")
    assert p99 is not None
    assert (p99.definition, p99.unit, p99.direction) == ("ttft.client", "ms", Direction.LOWER)
    assert definition_of("concurrency_sweep/c16.ttft_ms.p99") == p99
    assert definition_of("c16.nothing") is definition_of("c16") is definition_of("cold.ttft_ms") is None
    gpu = definition_of("overall_peak_gpu_memory_gb")
    assert gpu is not None
    assert gpu.definition == "memory.peak"
    assert definition_of("accuracy") is None
