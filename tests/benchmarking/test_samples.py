from __future__ import annotations

import asyncio
from array import array

import pytest

from kitt_core.benchmarking.samples import RequestSample, measure_request
from kitt_core.engine import Chunk, GenerationRequest, Usage
from kitt_core.errors import EngineError, EngineLostError

from .scripted import ScriptedSession, Step, VirtualClock, words

REQUEST = GenerationRequest("hello", max_tokens=4)


def measured(*script: Step) -> RequestSample:
    clock = VirtualClock()
    session = ScriptedSession(clock, script)
    return asyncio.run(measure_request(session, REQUEST, clock=clock, origin=999.0))


def test_every_definition_by_hand() -> None:
    sample = measured(*words(100, 20, 30, 10, usage=Usage(7, 4, "server_usage")))
    assert sample.started_at == pytest.approx(1.0)
    assert sample.finished_at == pytest.approx(1.16)
    assert sample.ttft_ms == pytest.approx(100)
    assert sample.gaps_ms == pytest.approx((20, 30, 10))
    assert sample.e2e_latency_ms == pytest.approx(160)
    assert sample.tpot_ms == pytest.approx((160 - 100) / 3)
    assert sample.tokens_per_second == pytest.approx(4 / 0.16)
    assert (sample.prompt_tokens, sample.completion_tokens) == (7, 4)
    assert sample.token_count_source == "server_usage"
    assert sample.output_length == len("w w w w ")
    assert sample.error is None


def test_chunks_without_text_are_no_content() -> None:
    sample = measured(
        Step(10, Chunk("")), *words(40), Step(5, Chunk("")), *words(15), Step(30, Chunk("", usage=Usage(1, 2)))
    )
    assert sample.ttft_ms == pytest.approx(50)
    assert sample.gaps_ms == pytest.approx((20,))
    assert sample.e2e_latency_ms == pytest.approx(70), "the last chunk with text"
    assert sample.tpot_ms == pytest.approx(20)
    assert sample.finished_at - sample.started_at == pytest.approx(0.1), "the response ends with the usage"


def test_tpot_counts_tokens_and_itl_counts_chunks() -> None:
    sample = measured(Step(10, Chunk("ab", tokens=2)), Step(30, Chunk("cdef", tokens=4)))
    assert (sample.completion_tokens, sample.token_count_source) == (6, "engine")
    assert sample.tpot_ms == pytest.approx(30 / 5)
    assert sample.gaps_ms == pytest.approx((30,))


def test_an_engine_that_cannot_count_is_counted_by_chunks() -> None:
    sample = measured(Step(10, Chunk("a")), Step(10, Chunk("b", tokens=1)), Step(0, Chunk("")))
    assert (sample.completion_tokens, sample.token_count_source) == (2, "chunks")
    assert sample.prompt_tokens is None


def test_one_token_has_no_tpot_and_no_gap() -> None:
    sample = measured(*words(10, usage=Usage(1, 1)))
    assert sample.tpot_ms is None
    assert list(sample.gaps_ms) == []
    assert sample.e2e_latency_ms == pytest.approx(10)


def test_a_failure_on_the_way_keeps_what_arrived() -> None:
    sample = measured(*words(10, 5), Step(5, error=EngineError("the server hung up")))
    assert sample.error == "the server hung up"
    assert sample.ttft_ms == pytest.approx(10)
    assert sample.gaps_ms == pytest.approx((5,))
    assert sample.finished_at - sample.started_at == pytest.approx(0.02)
    assert sample.e2e_latency_ms is None
    assert sample.tpot_ms is None
    assert sample.tokens_per_second is None


def test_a_defect_of_the_engine_fails_the_request_and_quotes_nothing() -> None:
    sample = measured(Step(1, error=ValueError("https://user:secret@host")))
    assert sample.error == "the engine raised ValueError, which is a defect in its plugin"


def test_an_empty_answer_is_a_failure() -> None:
    sample = measured(Step(5, Chunk("")), Step(5, Chunk("", usage=Usage(3, 0))))
    assert sample.error == "the engine ended the stream without any text"
    assert sample.ttft_ms is None


def test_all_tokens_in_one_chunk_have_no_time_between_them() -> None:
    sample = measured(Step(10, Chunk("a b c", tokens=3)), Step(30, Chunk("", usage=Usage(1, 3))))
    assert sample.tpot_ms is None
    assert sample.e2e_latency_ms == pytest.approx(10)


def test_nothing_that_came_was_counted_by_nobody() -> None:
    sample = measured(Step(5, error=EngineError("refused")))
    assert (sample.completion_tokens, sample.token_count_source) == (0, None)


def test_a_sample_keeps_the_beginning_of_its_prompt_and_its_gaps_in_eight_bytes_each() -> None:
    clock = VirtualClock()
    long = GenerationRequest("p" * 100_000, max_tokens=4)
    sample = asyncio.run(measure_request(ScriptedSession(clock, words(1, 2, 3)), long, clock=clock))
    assert sample.prompt == "p" * 100
    assert isinstance(sample.gaps_ms, array)


def test_a_lost_engine_fails_the_request_and_is_raised() -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock, [*words(1), Step(4, error=EngineLostError("gone"))])
    seen: list[RequestSample] = []
    with pytest.raises(EngineLostError):
        asyncio.run(measure_request(session, REQUEST, clock=clock, on_sample=seen.append))
    (sample,) = seen
    assert (sample.error, sample.e2e_latency_ms) == ("gone", None)
    assert sample.ttft_ms == pytest.approx(1)


def test_cancellation_passes_and_closes_the_stream() -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock, words(*[1] * 1000))

    async def cancelled() -> None:
        task = asyncio.create_task(measure_request(session, REQUEST, clock=clock))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert session.closed_streams == 1


def test_an_engine_that_cancels_itself_has_failed_the_request() -> None:
    sample = measured(*words(1), Step(1, error=asyncio.CancelledError("a pool was closed")))
    assert sample.error == "the engine raised CancelledError, which is a defect in its plugin"
