from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from kitt_core.benchmarking.runner import SuiteRun, run_suite
from kitt_core.benchmarking.suites import suite_named
from kitt_core.engine import Chunk, GenerationRequest, Usage
from kitt_core.errors import EngineError
from kitt_engines.model import BEGIN, ModelSize, encode, size_named
from kitt_engines.reference import ReferenceSession
from kitt_engines.transformer import Array, KeyValueCache

SIZE = ModelSize("test", layers=2, width=32, heads=2, context=700)


def answer(session: ReferenceSession, request: GenerationRequest) -> list[Chunk]:
    async def collect() -> list[Chunk]:
        return [chunk async for chunk in session.stream(request)]

    return asyncio.run(collect())


def text(session: ReferenceSession, prompt: str, seed: int | None = None, max_tokens: int = 24) -> str:
    return "".join(c.text for c in answer(session, GenerationRequest(prompt, max_tokens, seed=seed)))


def test_each_token_is_a_chunk_and_the_last_has_the_usage() -> None:
    chunks = answer(ReferenceSession(SIZE), GenerationRequest("héllo", max_tokens=9, seed=1))
    assert [chunk.tokens for chunk in chunks] == [1] * 9
    assert all(len(chunk.text) == 1 for chunk in chunks)
    assert [chunk.usage for chunk in chunks] == [None] * 8 + [Usage(7, 9, "engine")]


def test_equal_seeds_give_equal_answers() -> None:
    one, other = ReferenceSession(SIZE, seed=3), ReferenceSession(SIZE, seed=3)
    assert text(one, "hello", seed=5) == text(other, "hello", seed=5)
    assert text(one, "hello") == text(other, "hello")
    assert text(one, "hello", seed=5) != text(one, "hello", seed=6)
    assert text(one, "hello", seed=5) != text(ReferenceSession(SIZE, seed=4), "hello", seed=5)


def test_the_answer_depends_on_the_prompt_even_where_it_spans_blocks() -> None:
    session = ReferenceSession(SIZE)
    assert text(session, "a" + "x" * 600, seed=1) != text(session, "b" + "x" * 600, seed=1)


def test_tokens_come_one_at_a_time_and_others_get_their_turn() -> None:
    async def interleaved() -> list[str]:
        events: list[str] = []

        async def bystander() -> None:
            while True:
                events.append("turn")
                await asyncio.sleep(0)

        task = asyncio.create_task(bystander())
        session = ReferenceSession(SIZE)
        stream = session.stream(GenerationRequest("hello", max_tokens=4))
        while await anext(stream, None) is not None:
            events.append("token")
        task.cancel()
        return events

    events = asyncio.run(interleaved())
    tokens = [index for index, event in enumerate(events) if event == "token"]
    assert len(tokens) == 4
    assert all("turn" in events[early:late] for early, late in pairwise(tokens))


def test_nothing_is_computed_before_it_is_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    session = ReferenceSession(SIZE)
    passes: list[int] = []
    forward = session._transformer.forward

    def counted(tokens: list[int], cache: KeyValueCache) -> Array:
        passes.append(len(tokens))
        return forward(tokens, cache)

    monkeypatch.setattr(session._transformer, "forward", counted)

    async def first_two() -> None:
        stream = session.stream(GenerationRequest("hello", max_tokens=50))
        await anext(stream)
        assert passes == [6], "the prefill gives the first token"
        await anext(stream)
        assert passes == [6, 1]
        await stream.aclose()  # type: ignore[attr-defined] # it is a generator

    asyncio.run(first_two())
    assert session.memory_gb()["kv_cache_gb"] == 0


def test_an_answer_may_end_only_if_it_is_allowed_to() -> None:
    session = ReferenceSession(SIZE)
    lengths: dict[bool, list[int]] = {True: [], False: []}
    for ignore_eos, found in lengths.items():
        # The end is one of 257 tokens and not likelier than others: several long answers must meet it.
        for seed in range(5):
            request = GenerationRequest("x", max_tokens=690, ignore_eos=ignore_eos, seed=seed)
            chunks = answer(session, request)
            assert chunks[-1].usage == Usage(2, sum(chunk.tokens for chunk in chunks))
            found.append(sum(len(chunk.text) for chunk in chunks))
    assert lengths[True] == [690] * 5
    assert min(lengths[False]) < 690


def test_what_exceeds_the_context_is_refused() -> None:
    with pytest.raises(EngineError, match="context of 700 tokens; prompt and answer need 702"):
        answer(ReferenceSession(SIZE), GenerationRequest("x" * 600, max_tokens=101))


def test_an_empty_prompt_and_hostile_text_are_answered() -> None:
    session = ReferenceSession(SIZE)
    assert len(text(session, "", max_tokens=2)) == 2
    assert len(text(session, "\ud800\u0000🦝", max_tokens=2)) == 2
    assert encode("é") == [BEGIN, 0xC3, 0xA9]


def test_memory_counts_the_cache_of_the_request_in_flight() -> None:
    session = ReferenceSession(SIZE)

    async def during() -> float:
        stream = session.stream(GenerationRequest("hello", max_tokens=10))
        async for _ in stream:
            return session.memory_gb()["kv_cache_gb"]
        raise AssertionError

    assert asyncio.run(during()) == pytest.approx(2 * SIZE.layers * SIZE.width * 16 * 4 / 1e9)
    assert session.memory_gb()["weights_gb"] > 0


def test_it_says_what_it_is() -> None:
    info = ReferenceSession(SIZE, seed=9).describe()
    assert (info["layers"], info["width"], info["heads"], info["seed"]) == (2, 32, 2, 9)
    assert info["dtype"] == "float32"


@pytest.mark.long  # tests/cli/test_run.py runs it in the short run, as `kitt run` without options
def test_the_quick_suite_passes_on_the_default_size() -> None:
    session = ReferenceSession(size_named("tiny"))
    result: SuiteRun = asyncio.run(run_suite(session, suite_named("quick")))
    assert result.passed
    assert len(result.entries) == 4
    latency = next(entry for entry in result.entries if entry["test_name"] == "latency")
    assert {"ttft_ms", "tpot_ms", "itl_ms", "e2e_latency_ms"} <= set(latency["metrics"])
