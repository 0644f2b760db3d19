"""Streams as servers really send them: failures, counts and text in other places, and events of other kinds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from kitt_core.benchmarking.population import ONE_READ
from kitt_core.benchmarking.samples import RequestSample, measure_request
from kitt_core.engine import Chunk, EngineSession, GenerationRequest, Usage
from kitt_core.errors import EngineError
from kitt_engines.openai.failures import Sanitizer
from kitt_engines.openai.stream import Answer
from kitt_engines.testing import RunningServer

With = Callable[..., Any]
Ask = Callable[..., list[Chunk]]
KEY = "sk-secret-0123456789"


def event(data: Any, kind: str = "") -> str:
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {kind}\n" if kind else "") + f"data: {text}\n\n"


def chunk(delta: Any = None, **fields: Any) -> str:
    return event({"choices": [{"index": 0, "delta": delta or {}, "finish_reason": None} | fields]})


DONE = event("[DONE]")
SAID = chunk({"content": "one"})
TWO = chunk({"content": " two"})
STOP = chunk(finish_reason="stop")


def read(*parts: str, max_tokens: int = 8) -> tuple[list[str], Answer]:
    answer = Answer(Sanitizer(KEY), max_tokens)
    texts = [piece.text for piece in answer.feed("".join(parts).encode())]
    texts += [piece.text for piece in answer.finish()]
    answer.check_content()
    return texts, answer


def usage(prompt: Any = 3, completion: Any = 2, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion} | more


IN_MIDSTREAM = "the server reports an error in mid-stream"
FAILURES = {
    "in a choice": (SAID + chunk(error={"message": "no memory"}, finish_reason="stop") + DONE, "no memory"),
    "in the second choice": (
        event({"choices": [{"delta": {"content": "x"}}, {"error": {"message": "no memory"}}]}) + DONE,
        "no memory",
    ),
    "in a delta": (SAID + chunk({"error": "no memory"}) + STOP + DONE, "no memory"),
    "an event, then the end": (SAID + event({"type": "error", "message": "no memory"}) + STOP + DONE, "no memory"),
    "an event with a status": (SAID + event({"code": 500, "message": "no memory"}) + STOP + DONE, "no memory"),
    "an event of a web framework": (SAID + event({"detail": "no memory"}) + STOP + DONE, "no memory"),
    "an event whose type ends in error": (
        SAID + event({"type": "server_error", "message": "no memory"}) + STOP + DONE,
        "no memory",
    ),
    "plain text in an event": (SAID + event("no memory", "error") + DONE, "no memory"),
    "nothing in an event": (SAID + event("", "error") + DONE, IN_MIDSTREAM),
    "after the answer": (SAID + STOP + DONE + event({"error": "no memory"}), "no memory"),
    "an object without an event": (SAID + STOP + json.dumps({"error": {"message": "no memory"}}), "no memory"),
    "an object in several lines": (json.dumps({"error": {"message": "no memory"}}, indent=2), "no memory"),
    "an object of a web framework": (json.dumps({"detail": "no memory"}) + "\n", "no memory"),
    "plain text for a body": ("no memory: retry\n", "sent an empty stream; it says 'no memory: retry'"),
    "a reason": (SAID + chunk(finish_reason="error") + DONE, "its finish_reason is error"),
    "vLLM's abort": (SAID + chunk(finish_reason="abort") + DONE, "its finish_reason is abort"),
    "SGLang's abort": (
        SAID + chunk(finish_reason={"type": "abort", "message": "no memory"}) + DONE,
        "no memory",
    ),
    "nothing but a filter": (chunk(finish_reason="content_filter") + DONE, "withheld the answer"),
    "a secret": (SAID + event({"error": f"no memory for {KEY}"}), "no memory for ***"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_request_that_the_server_calls_failed_is_failed_with_its_words(name: str) -> None:
    body, expected = FAILURES[name]
    with pytest.raises(EngineError) as caught:
        read(body)
    assert expected in caught.value.message
    assert KEY not in caught.value.message


def test_an_answer_that_a_filter_cuts_short_is_an_answer() -> None:
    texts, answer = read(SAID, chunk(finish_reason="content_filter"), DONE)
    assert (texts, answer.finish_reason) == (["one"], "content_filter")


COUNTS = {
    "after the end": (
        STOP + DONE + event({"choices": [], "usage": usage()}),
        Usage(3, 2, "server_usage"),
        "usage",
    ),
    "as floats": (event({"choices": [], "usage": usage(3.0, 2.0)}), Usage(3, 2, "server_usage"), "usage"),
    "without a prompt": (
        event({"choices": [], "usage": {"completion_tokens": 2}}),
        Usage(None, 2, "server_usage"),
        "usage",
    ),
    "with a total": (
        event({"choices": [], "usage": {"completion_tokens": 2, "total_tokens": 5}}),
        Usage(3, 2, "server_usage"),
        "usage",
    ),
    "under the names of another interface": (
        event({"choices": [], "usage": {"input_tokens": 3, "output_tokens": 2}}),
        Usage(3, 2, "server_usage"),
        "usage",
    ),
    "in x_groq": (
        chunk() + event({"choices": [], "x_groq": {"usage": usage()}}),
        Usage(3, 2, "server_usage"),
        "x_groq.usage",
    ),
    "in a choice": (chunk(usage=usage()), Usage(3, 2, "server_usage"), "choices[0].usage"),
    "in timings": (
        event({"choices": [], "timings": {"prompt_n": 1, "cache_n": 2, "predicted_n": 2}}),
        Usage(3, 2, "server_timings"),
        "timings",
    ),
    "in both": (
        event({"choices": [], "usage": usage(), "timings": {"prompt_n": 1, "predicted_n": 9}})
        + event({"choices": [], "timings": {"prompt_n": 1, "predicted_n": 9}}),
        Usage(3, 2, "server_usage"),
        "usage",
    ),
    "with reasoning": (
        event({"choices": [], "usage": usage(3, 9, completion_tokens_details={"reasoning_tokens": 7})}),
        Usage(3, 9, "server_usage", reasoning_tokens=7),
        "usage",
    ),
    "with reasoning apart": (
        event(
            {
                "choices": [],
                "usage": usage(3, 9, total_tokens=19, completion_tokens_details={"reasoning_tokens": 7}),
            }
        ),
        Usage(3, 16, "server_usage", reasoning_tokens=7),
        "usage",
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_found_where_servers_put_them(name: str) -> None:
    body, expected, place = COUNTS[name]
    _, answer = read(SAID, body, "" if DONE in body else STOP + DONE)
    assert answer.counts == (expected, place)


@pytest.mark.parametrize(
    "noise",
    [
        "data: [DONE] \n\n",
        "data:\n\n",
        "data:   \n\n",
        event("2026-11-30T07:00:00Z", "ping"),
        event("17", "keep-alive"),
        event({"type": "ping"}, "ping"),
        event({"id": 3, "object": "heartbeat"}),
        event("null"),
        "event: ping\n\n",
        "id: 7\nretry: 100\n\n",
    ],
)
def test_an_event_of_another_kind_is_not_a_failure(noise: str) -> None:
    if "DONE" in noise:
        assert read(SAID, noise)[0] == ["one"]
        return
    texts, answer = read(noise, SAID, noise, TWO, STOP, noise, DONE, noise)
    assert texts == ["one", " two"]
    assert answer.events == 3, "what keeps a connection alive is not part of the answer"


@pytest.mark.parametrize("broken", [event('{"choices": [{"delta'), event("ping"), event("nonsense", "message")])
def test_an_event_that_should_be_a_chunk_and_is_not_one_is_a_failure(broken: str) -> None:
    with pytest.raises(EngineError, match="event 2 of the stream is not JSON"):
        read(SAID, broken, STOP, DONE)


def test_a_broken_chunk_of_a_kind_that_had_chunks_is_a_failure() -> None:
    with pytest.raises(EngineError, match="is not JSON"):
        read(event({"choices": [{"delta": {"content": "one"}}]}, "chunk"), event("{", "chunk"), DONE)


CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


@pytest.mark.parametrize(
    ("delta", "text", "reasoning"),
    [
        ({"content": [{"type": "text", "text": "o"}, {"type": "text", "text": "ne"}]}, "one", False),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, "hm", True),
        ({"thinking": "hm"}, "hm", True),
        ({"reasoning_text": "hm", "content": None}, "hm", True),
        ({"reasoning": {"content": "hm"}}, "hm", True),
        ({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, "hm", True),
        ({"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}]}, "hm", True),
        ({"thinking": "hm", "content": "one"}, "hmone", False),
        ({"tool_calls": [CALL]}, 'add{"a": 1}', False),
        ({"function_call": {"name": "add", "arguments": ""}}, "add", False),
        ({"refusal": "no"}, "no", False),
    ],
)
def test_text_is_found_where_servers_put_it(delta: dict[str, Any], text: str, reasoning: bool) -> None:
    (piece,) = Answer(Sanitizer(), 8).feed(chunk(delta).encode())
    assert (piece.text, piece.reasoning, piece.unknown) == (text, reasoning, ())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (chunk({"role": "assistant", "audio": {"data": "UklG"}}), "it sent what is not understood: audio"),
        (chunk() + event({"choices": [{"message": {"content": "whole"}}]}), "not understood: message"),
        (chunk() + event({"response": "one"}), "not understood: response"),
        (chunk(finish_reason="length"), "without any text; its finish_reason is length"),
        (
            chunk(usage=usage(3, 8, completion_tokens_details={"reasoning_tokens": 8})),
            "it counted 8 reasoning tokens that it does not send",
        ),
    ],
)
def test_an_answer_without_text_says_what_was_there_instead(body: str, expected: str) -> None:
    with pytest.raises(EngineError) as caught:
        read(body, DONE)
    assert expected in caught.value.message
    assert "the server ended the stream without any text" in caught.value.message


def measured(with_session: With, **options: Any) -> RequestSample:
    async def measure(session: EngineSession) -> RequestSample:
        request = GenerationRequest("hello", 8, ignore_eos=False)
        return await measure_request(session, request, clock=time.perf_counter)

    found: RequestSample = with_session(measure, **options)
    return found


def test_chunks_that_one_read_delivers_have_no_times(with_session: With, server: RunningServer) -> None:
    server.configure(body=[SAID + TWO + TWO + chunk(usage=usage(3, 3)) + STOP + DONE])
    sample = measured(with_session)
    assert (sample.error, sample.chunks, sample.shared_reads) == (None, 3, 2)
    assert (sample.tpot_ms, sample.no_tpot, list(sample.gaps_ms)) == (None, ONE_READ, [])


def test_a_request_that_was_sent_again_says_so(with_session: With, server: RunningServer) -> None:
    server.configure(faults=["1=429"], refuse=["seed"])
    assert measured(with_session).retries == 1


def test_counts_after_the_end_and_their_place_are_in_the_description(
    with_session: With, server: RunningServer
) -> None:
    late = event({"choices": [], "x_groq": {"usage": usage(3, 2)}})
    server.configure(body=[SAID, TWO + STOP + DONE, late], gap=0.01)

    async def run(session: EngineSession) -> tuple[Any, Any]:
        last = [each async for each in session.stream(GenerationRequest("hello", 2))][-1]
        return last.usage, session.describe()["token_counts_from"]

    assert with_session(run) == (Usage(3, 2, "server_usage"), ["x_groq.usage"])


def test_a_body_that_is_not_events_is_a_failed_request_with_its_words(ask: Ask, server: RunningServer) -> None:
    server.configure(body=[json.dumps({"error": {"message": f"no memory for {KEY}"}}, indent=1)])
    with pytest.raises(EngineError, match=r"an error in mid-stream: no memory for \*\*\*"):
        ask(api_key=KEY)
