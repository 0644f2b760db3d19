"""Which tokens TPOT is about, what reasoning does to TTFT, and which requests have no usable times."""

from __future__ import annotations

import asyncio

import pytest

from kitt_core.benchmarking.benchmark import BenchmarkOutcome
from kitt_core.benchmarking.latency import StreamingLatency
from kitt_core.benchmarking.load import ClosedLoop
from kitt_core.benchmarking.population import FEWER_THAN_TWO, ONE_READ
from kitt_core.benchmarking.samples import RequestSample, measure_request
from kitt_core.benchmarking.streaming import RETRIED, streaming_metrics, streaming_warnings
from kitt_core.benchmarking.throughput import Throughput
from kitt_core.benchmarking.warmup_analysis import WarmupAnalysis
from kitt_core.benchmarking.workload import Workload
from kitt_core.engine import Chunk, GenerationRequest, Usage

from .scripted import ScriptedSession, Step, VirtualClock

TEXT = "some words "


def answer(*, thoughts: int = 0, words: int = 0, usage: Usage | None = None, gap: float = 10) -> list[Step]:
    steps = [Step(gap, Chunk(TEXT, reasoning=True)) for _ in range(thoughts)]
    steps += [Step(gap, Chunk(TEXT)) for _ in range(words)]
    return [*steps, Step(0, Chunk("", usage=usage))] if usage is not None else steps


def counted(completion: int, reasoning: int | None = None) -> Usage:
    return Usage(5, completion, "server_usage", reasoning_tokens=reasoning)


def sample(*steps: Step) -> RequestSample:
    clock = VirtualClock()
    return asyncio.run(
        measure_request(ScriptedSession(clock, list(steps)), GenerationRequest("p", 8), clock=clock)
    )


def ms(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


@pytest.mark.parametrize(
    ("steps", "tpot", "reason"),
    [
        (answer(thoughts=4, words=5, usage=counted(9, 4)), 10, None),
        (answer(thoughts=4, words=5, usage=counted(9)), 10, None),
        # 4 tokens of reasoning are counted, but not sent: 5 tokens in 4 gaps.
        (answer(words=5, usage=counted(9, 4)), 10, None),
        (answer(words=5, usage=counted(6, 5)), None, FEWER_THAN_TWO),
        (answer(thoughts=4, words=5, usage=counted(5)), None, "streams reasoning tokens, but does not count them"),
        (answer(thoughts=4, words=5, usage=counted(5, 0)), None, "but does not count them"),
        (answer(words=2, usage=counted(320)), None, "more tokens than the text that arrived can have"),
        (answer(thoughts=4, words=5), 10, None),
    ],
)
def test_tpot_is_about_tokens_that_were_counted_and_seen(
    steps: list[Step], tpot: float | None, reason: str | None
) -> None:
    found = sample(*steps)
    assert ms(found.tpot_ms) == tpot
    assert (found.no_tpot is None) == (reason is None)
    assert (reason or "") in (found.no_tpot or "")


def test_the_first_token_and_the_first_token_of_the_answer_have_times_of_their_own() -> None:
    found = sample(*answer(thoughts=3, words=2, usage=counted(5, 3)))
    assert (ms(found.ttft_ms), ms(found.ttfo_ms), ms(found.e2e_latency_ms)) == (10, 40, 50)
    metrics, missing = streaming_metrics([found])
    assert isinstance(metrics["ttfo_ms"], dict)
    assert (metrics["ttfo_ms"]["p50"], missing) == (40, {})
    plain, _ = streaming_metrics([sample(*answer(words=2))])
    assert "ttfo_ms" not in plain, "the same as TTFT"
    _, missing = streaming_metrics([sample(*answer(thoughts=3))])
    assert missing == {"ttfo_ms": "no answer went beyond reasoning"}


def outcome(benchmark: StreamingLatency | Throughput | WarmupAnalysis, *scripts: list[Step]) -> BenchmarkOutcome:
    clock = VirtualClock()
    load = ClosedLoop(ScriptedSession(clock, *scripts), clock)
    return asyncio.run(benchmark.run(load, on_sample=lambda _: None, on_warmup=lambda _: None))


ONE_AFTER_THE_OTHER = Workload(iterations=4, warmups=0)


def test_hidden_reasoning_is_warned_about() -> None:
    found = outcome(Throughput(ONE_AFTER_THE_OTHER), answer(words=5, usage=counted(9, 4)))
    assert found.metrics["total_tokens_generated"] == 36
    assert any("counts reasoning that it does not send" in line for line in found.warnings)
    uncounted = outcome(Throughput(ONE_AFTER_THE_OTHER), answer(thoughts=4, words=5, usage=counted(5)))
    assert "tpot_ms" not in uncounted.metrics
    assert "does not count them" in uncounted.not_measured["tpot_ms"]
    assert any(line.startswith("TPOT leaves out 4 of 4 requests") for line in uncounted.warnings)


def test_a_request_that_was_sent_again_counts_in_throughput_only() -> None:
    again = [Step(1000, Chunk(TEXT, retries=2)), *answer(words=3)]
    found = outcome(Throughput(ONE_AFTER_THE_OTHER), again, answer(words=4))
    assert found.metrics["requests_retried"] == 1
    assert (found.metrics["total_iterations"], found.metrics["total_tokens_generated"]) == (4, 16)
    ttft = found.metrics["ttft_ms"]
    assert isinstance(ttft, dict)
    assert (ttft["max"], found.metrics["p99_latency_ms"], found.metrics["min_tps"]) == (10, 40, 100)
    every = outcome(Throughput(ONE_AFTER_THE_OTHER), again)
    assert every.metrics["total_tokens_generated"] == 16
    assert {every.not_measured[name] for name in ("ttft_ms", "itl_ms", "e2e_latency_ms", "avg_tps")} == {RETRIED}
    warmup = outcome(WarmupAnalysis(Workload(iterations=4)), again, answer(words=4))
    assert warmup.not_measured["cold_latency_ms"] == "the first request was sent again"
    assert outcome(WarmupAnalysis(Workload(iterations=4)), again).not_measured["warm_latency_ms"] == RETRIED


def packet(*, own: int, shared: int) -> list[Step]:
    return [
        *(Step(10, Chunk(TEXT)) for _ in range(own)),
        *(Step(0, Chunk(TEXT, own_time=False)) for _ in range(shared)),
    ]


def test_chunks_without_times_of_their_own_make_no_gaps() -> None:
    found = outcome(StreamingLatency(ONE_AFTER_THE_OTHER), packet(own=1, shared=9))
    assert not {"tpot_ms", "itl_ms", "avg_inter_token_ms"} & set(found.metrics)
    assert (found.not_measured["tpot_ms"], found.not_measured["itl_ms"]) == (ONE_READ, ONE_READ)
    assert found.warnings[0] == (
        "36 of 40 chunks arrived in one read with the one before and have no time of their own; "
        "ITL and TPOT leave out 4 of 4 requests"
    )


def test_a_few_chunks_without_times_are_named_if_they_are_more_than_a_tenth() -> None:
    few, more = sample(*packet(own=9, shared=1)), sample(*packet(own=8, shared=2))
    assert streaming_warnings([few]) == []
    assert streaming_warnings([more]) == [
        "2 of 10 chunks arrived in one read with the one before and have no time of their own"
    ]
    assert ms(more.tpot_ms) == ms(70 / 9)
    assert len(more.gaps_ms) == 9
