"""What the benchmarks measure is what the server's script says.

Lower bounds are exact: a client can't have a token before it was sent. Upper bounds only catch blunders, because
these tests share their machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from kitt_core.benchmarking.latency import StreamingLatency
from kitt_core.benchmarking.load import ClosedLoop, LoadResult
from kitt_core.benchmarking.population import ONE_READ
from kitt_core.benchmarking.runner import SuiteRun, run_suite
from kitt_core.benchmarking.suites import PlannedBenchmark, Suite
from kitt_core.benchmarking.throughput import Throughput
from kitt_core.benchmarking.workload import Workload
from kitt_core.engine import EngineSession, GenerationRequest
from kitt_engines.testing import RunningServer

With = Callable[..., Any]

TTFT, GAP, TOKENS = 0.08, 0.01, 20
E2E = TTFT + (TOKENS - 1) * GAP
BLUNDER = 10.0
"""Seconds that nothing here takes, even on a busy machine."""
RESOLUTION = 1e-6
"""Timers of the event loop may be early by the clock's resolution."""


def load(with_session: With, *, concurrency: int, rounds: int = 2) -> LoadResult:
    async def run(session: EngineSession) -> LoadResult:
        requests = [GenerationRequest(f"{number}. request", TOKENS) for number in range(concurrency * rounds)]
        return await ClosedLoop(session).run(requests, concurrency=concurrency)

    found: LoadResult = with_session(run)
    return found


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize("usage", ["final", "every", "none"])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_each_request_takes_what_the_server_took(
    with_session: With, server: RunningServer, concurrency: int, usage: str, api: str
) -> None:
    server.configure(ttft=TTFT, gap=GAP, usage=usage)

    async def run(session: EngineSession) -> LoadResult:
        requests = [GenerationRequest(f"{number}. request", TOKENS) for number in range(concurrency * 2)]
        return await ClosedLoop(session).run(requests, concurrency=concurrency)

    result: LoadResult = with_session(run, api=api)
    assert [sample.error for sample in result.samples] == [None] * concurrency * 2
    for sample in result.samples:
        assert sample.ttft_ms is not None
        assert sample.e2e_latency_ms is not None
        ttft, e2e = sample.ttft_ms / 1000, sample.e2e_latency_ms / 1000
        assert TTFT - RESOLUTION <= ttft <= TTFT + BLUNDER
        assert E2E - RESOLUTION <= e2e <= E2E + BLUNDER
        if sample.tpot_ms is None:  # on a busy machine, one read may deliver most chunks
            assert sample.no_tpot == ONE_READ
            assert len(sample.gaps_ms) == 0
        else:
            # What delays the first token makes the rest shorter; together they have an exact lower bound.
            assert ttft + sum(sample.gaps_ms) / 1000 >= E2E - RESOLUTION
            assert math.isclose(ttft + sample.tpot_ms / 1000 * (TOKENS - 1), e2e)
            assert sample.tpot_ms / 1000 <= GAP + BLUNDER / TOKENS
        assert len(sample.gaps_ms) <= TOKENS - 1
        assert sample.completion_tokens == TOKENS
        assert sample.token_count_source == ("chunks" if usage == "none" else "server_usage")
        assert sample.prompt_tokens == (None if usage == "none" else 2)
    assert 2 * E2E - RESOLUTION <= result.duration_seconds <= 2 * (E2E + BLUNDER)


def test_requests_overlap(with_session: With, server: RunningServer) -> None:
    server.configure(ttft=0.2)
    result = load(with_session, concurrency=8, rounds=1)
    started = [sample.started_at for sample in result.samples]
    assert max(started) < min(sample.finished_at for sample in result.samples)


def test_chunks_of_several_tokens_are_gaps_of_their_own(with_session: With, server: RunningServer) -> None:
    server.configure(ttft=TTFT, gap=GAP, tokens_per_chunk=4)
    result = load(with_session, concurrency=1)
    for sample in result.samples:
        assert (sample.chunks, sample.completion_tokens) == (5, TOKENS)
        assert sample.e2e_latency_ms is not None
        assert sample.e2e_latency_ms >= (TTFT + 4 * GAP) * 1000 - RESOLUTION
        assert sample.no_tpot == ONE_READ or len(sample.gaps_ms) == 4


def test_the_role_that_comes_first_is_not_a_token(with_session: With, server: RunningServer) -> None:
    server.configure(ttft=0.3)
    (first, *_) = load(with_session, concurrency=1).samples
    assert first.ttft_ms is not None
    assert first.ttft_ms >= 300 - RESOLUTION


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_suite_gives_these_figures(with_session: With, server: RunningServer, concurrency: int) -> None:
    server.configure(ttft=TTFT, gap=GAP)
    workload = Workload(iterations=2 * concurrency, warmups=1, max_tokens=TOKENS, concurrency=concurrency)
    suite = Suite(
        "test", "", (PlannedBenchmark(Throughput(workload)), PlannedBenchmark(StreamingLatency(workload)))
    )

    async def run(session: EngineSession) -> SuiteRun:
        return await run_suite(session, suite)

    found: SuiteRun = with_session(run)
    assert found.passed, found.entries
    for entry in found.entries:
        metrics = entry["metrics"]
        assert entry["token_count_source"] == "server_usage"
        assert entry["settings"]["concurrency"] == concurrency
        assert entry["warmup_times"][0] >= E2E - 0.001, "times in the document are rounded"
        assert TTFT * 1000 - 1 <= metrics["ttft_ms"]["min"] <= metrics["ttft_ms"]["p50"] <= (TTFT + BLUNDER) * 1000
        assert E2E * 1000 - 1 <= metrics["e2e_latency_ms"]["min"] <= (E2E + BLUNDER) * 1000
        for name in ("tpot_ms", "itl_ms"):
            if name in metrics:
                assert 0 < metrics[name]["mean"] <= (GAP + BLUNDER / TOKENS) * 1000
            else:
                assert entry["not_measured"][name] == ONE_READ, "on a busy machine"
    metrics = found.entries[0]["metrics"]
    # No more tokens per second than were sent: two rounds of `concurrency` answers.
    assert metrics["output_token_throughput"] <= concurrency * TOKENS / E2E + 0.1
    assert metrics["output_token_throughput"] >= concurrency * TOKENS / (E2E + BLUNDER)
    assert metrics["max_tps"] <= TOKENS / E2E + 0.1
    assert metrics["total_tokens_generated"] == 2 * concurrency * TOKENS


def test_failed_requests_are_errors_and_count_in_no_metric(with_session: With, server: RunningServer) -> None:
    server.configure(faults=["2=500", "4=mid-cut"])
    workload = Workload(iterations=5, warmups=0, max_tokens=4)
    suite = Suite("test", "", (PlannedBenchmark(StreamingLatency(workload)),))

    async def run(session: EngineSession) -> SuiteRun:
        return await run_suite(session, suite)

    found: SuiteRun = with_session(run)
    (entry,) = found.entries
    assert not entry["passed"]
    assert entry["errors"] == [
        "request 2: HTTP 500: asked to answer 500",
        "request 4: the stream ended before the answer did",
    ]
    assert entry["metrics"]["total_iterations"] == 3
