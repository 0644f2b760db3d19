"""Sixty-four requests at once against a server of known delays: in virtual time every figure is exact."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from kitt_core.benchmarking.benchmark import BenchmarkOutcome, Metrics
from kitt_core.benchmarking.concurrency_sweep import ConcurrencySweep, levels_up_to
from kitt_core.benchmarking.load import ClosedLoop, LoadResult
from kitt_core.benchmarking.runner import SuiteRun, run_suite
from kitt_core.benchmarking.suites import suite_named
from kitt_core.benchmarking.throughput import Throughput
from kitt_core.benchmarking.workload import Workload

from .scripted import SleepingSession, run_virtually

CONCURRENCY = 64
TOKENS = 21


def delays(number: int) -> list[float]:
    """TTFT 100 ms plus one per number, then gaps of 5 and 15 ms in turn."""
    return [100 + number % CONCURRENCY, *[5.0, 15.0] * ((TOKENS - 1) // 2)]


def loaded(session: SleepingSession, workload: Workload) -> LoadResult:
    async def work(clock: Callable[[], float]) -> LoadResult:
        load = ClosedLoop(session, clock, clock())
        return await load.run(workload.measured_requests(), concurrency=workload.concurrency)

    return run_virtually(work)


def test_each_request_is_measured_as_if_it_were_alone() -> None:
    session = SleepingSession(delays)
    workload = Workload(iterations=4 * CONCURRENCY, concurrency=CONCURRENCY)
    result = loaded(session, workload)
    assert session.most_in_flight == CONCURRENCY
    assert len(result.samples) == 4 * CONCURRENCY
    for number, sample in enumerate(result.samples, 1):
        assert sample.error is None
        assert sample.ttft_ms == pytest.approx(100 + number % CONCURRENCY)
        assert sample.gaps_ms == pytest.approx([5, 15] * 10)
        assert sample.tpot_ms == pytest.approx(10)
        assert sample.e2e_latency_ms == pytest.approx(300 + number % CONCURRENCY)
        assert sample.completion_tokens == TOKENS


def test_throughput_of_equal_requests_is_what_arithmetic_says() -> None:
    session = SleepingSession(lambda _: [100, *[10.0] * 20])

    async def work(clock: Callable[[], float]) -> BenchmarkOutcome:
        benchmark = Throughput(Workload(iterations=5 * CONCURRENCY, concurrency=CONCURRENCY))
        load = ClosedLoop(session, clock, clock())
        return await benchmark.run(load, on_sample=lambda _: None, on_warmup=lambda _: None)

    metrics = run_virtually(work).metrics
    assert metrics["total_time_seconds"] == pytest.approx(5 * 0.3)
    assert metrics["output_token_throughput"] == pytest.approx(CONCURRENCY * TOKENS / 0.3)
    assert metrics["request_throughput"] == pytest.approx(CONCURRENCY / 0.3)
    assert metrics["concurrency_achieved"] == pytest.approx(CONCURRENCY)
    assert metrics["avg_tps"] == pytest.approx(TOKENS / 0.3)
    for name, value in {"ttft_ms": 100, "itl_ms": 10, "tpot_ms": 10, "e2e_latency_ms": 300}.items():
        statistics = metrics[name]
        assert isinstance(statistics, dict)
        stddev = statistics.pop("stddev")
        assert stddev == pytest.approx(0, abs=1e-5)
        assert statistics == pytest.approx(dict.fromkeys(statistics, value)), name


def test_several_tokens_in_a_chunk_part_tpot_from_itl() -> None:
    session = SleepingSession(lambda _: [100, 40, 40, 40], tokens=4)
    result = loaded(session, Workload(iterations=CONCURRENCY, concurrency=CONCURRENCY))
    for sample in result.samples:
        assert sample.gaps_ms == pytest.approx([40] * 3)
        assert sample.tpot_ms == pytest.approx(120 / 15)


def test_the_closed_loop_sends_the_next_as_soon_as_one_is_answered() -> None:
    slow_first = SleepingSession(lambda number: [1000 if number == 1 else 10])
    result = loaded(slow_first, Workload(iterations=CONCURRENCY + 20, concurrency=CONCURRENCY))
    starts = [sample.started_at for sample in result.samples]
    assert starts == pytest.approx([0.0] * CONCURRENCY + [0.01] * 20)
    assert result.duration_seconds == pytest.approx(1.0)


def test_a_sweep_shows_a_server_that_does_not_scale() -> None:
    """A token takes 10 ms, and as much longer as there are requests beyond eight."""
    session = SleepingSession(lambda _: [])
    session._delays_ms = lambda _: [10 * max(1, session.in_flight / 8)] * 10

    async def work(clock: Callable[[], float]) -> Metrics:
        sweep = ConcurrencySweep(Workload(iterations=1, warmups=0), levels=levels_up_to(CONCURRENCY), rounds=1)
        load = ClosedLoop(session, clock, clock())
        return (await sweep.run(load, on_sample=lambda _: None, on_warmup=lambda _: None)).metrics

    metrics = run_virtually(work)
    rates = {level: metrics[f"c{level}"] for level in levels_up_to(CONCURRENCY)}
    for level in (1, 2, 4, 8):
        assert isinstance(rates[level], dict)
        assert rates[level]["output_token_throughput"] == pytest.approx(level * 100)  # type: ignore[index]
    assert metrics["best_concurrency"] >= 8  # type: ignore[operator]


def test_the_longest_suite_ends_in_virtual_time_too() -> None:
    async def work(clock: Callable[[], float]) -> SuiteRun:
        return await run_suite(SleepingSession(delays), suite_named("performance"), clock=clock)

    run = run_virtually(work)
    assert run.passed
    names = [entry["test_name"] for entry in run.entries]
    assert names.count("concurrency_sweep") == 3
    assert names[0] == "warmup_analysis"
    sweep = next(entry for entry in run.entries if entry["test_name"] == "concurrency_sweep")
    assert sweep["settings"]["concurrency"] == CONCURRENCY
    assert sweep["metrics"]["c64"]["concurrency_achieved"] == pytest.approx(CONCURRENCY, rel=0.2)


def test_virtual_time_does_not_wait() -> None:
    async def work(clock: Callable[[], float]) -> float:
        before = clock()
        await asyncio.sleep(3600)
        return clock() - before

    assert run_virtually(work) == pytest.approx(3600)
