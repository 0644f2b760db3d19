"""Everything that can go wrong with a request is a failed request with its reason, in one line and in time."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from kitt_core.engine import Chunk, EngineSession, GenerationRequest
from kitt_core.errors import EngineError, EngineLostError
from kitt_engines.openai import requests
from kitt_engines.testing import Fault, RunningServer

Ask = Callable[..., list[Chunk]]
With = Callable[..., Any]
KEY = "sk-secret-0123456789"
SILENCE = 1.0


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_PAUSE", 0.01)


FAILURES = [
    (Fault.UNAUTHORIZED, "HTTP 401: asked to answer 401", 1),
    (Fault.NO_MODEL, "HTTP 404: asked to answer 404", 1),
    (Fault.ERROR, "HTTP 500: asked to answer 500", 1),
    (Fault.BUSY, "HTTP 429: asked to answer 429", 3),
    (Fault.UNAVAILABLE, "HTTP 503: asked to answer 503", 3),
    (Fault.RESET, "dropped the connection before it answered", 3),
    (Fault.NEVER, f"was silent for {SILENCE:g} s", 1),
    (Fault.NOT_STREAMED, "the server does not stream", 1),
    (Fault.NOT_STREAMED_ERROR, "the server does not answer with a stream: out of memory", 1),
    (Fault.WEB_PAGE, "the server answers with a web page", 1),
    (Fault.EMPTY, "the server sent an empty stream", 1),
    (Fault.DONE_ONLY, "the server ended the stream without an answer", 1),
    (Fault.MID_ERROR, "the server reports an error in mid-stream: out of memory", 1),
    (Fault.MID_500, "the stream ended before the answer did; it says 'Internal Server Error'", 1),
    (Fault.MID_MALFORMED, 'of the stream is not JSON: \'{"choices": [{"delta\'', 1),
    (Fault.MID_RESET, "dropped the connection in mid-stream", 1),
    (Fault.MID_SILENCE, f"was silent for {SILENCE:g} s", 1),
    (Fault.MID_COMMENTS, f"was silent for {SILENCE:g} s", 1),
    (Fault.MID_ENDLESS, "the answer does not end: 384 events have arrived", 1),
    (Fault.MID_CUT, "the stream ended before the answer did", 1),
]


def test_every_fault_is_tested() -> None:
    assert {fault for fault, _, _ in FAILURES} == set(Fault)


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize(("fault", "expected", "sent"), FAILURES)
def test_a_fault_is_a_failed_request_with_its_reason(
    with_session: With, server: RunningServer, fault: Fault, expected: str, sent: int, api: str
) -> None:
    server.configure(faults=[f"bad={fault}"], api_key=KEY)
    texts: list[str] = []

    async def fail(session: EngineSession) -> None:
        async for chunk in session.stream(GenerationRequest("bad", 8)):
            texts.append(chunk.text)  # noqa: PERF401 - a comprehension would be lost with the exception

    async def fail_then_succeed(session: EngineSession) -> EngineError:
        with pytest.raises(EngineError) as caught:
            await fail(session)
        assert len([chunk async for chunk in session.stream(GenerationRequest("good", 8))]) == 9
        return caught.value

    patience = SILENCE if "silent" in expected else 60.0
    error = with_session(fail_then_succeed, api=api, read_timeout=patience, api_key=KEY)
    assert expected in error.message
    assert not isinstance(error, EngineLostError), "the server is still there"
    assert "\n" not in str(error)
    assert KEY not in str(error)
    assert len(texts[:3]) == (3 if fault.startswith("mid-") else 0)
    assert len(server.requests()) == sent + 1, "only what has not been answered is sent again, twice at most"


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.UNAVAILABLE, Fault.RESET])
def test_what_succeeds_when_it_is_sent_again_is_no_failure(
    with_session: With, server: RunningServer, fault: Fault
) -> None:
    server.configure(faults=[f"1={fault}", f"2={fault}"], retry_after=0.1)

    async def answer(session: EngineSession) -> tuple[int, float, int]:
        started = time.perf_counter()
        chunks = [chunk async for chunk in session.stream(GenerationRequest("hello", 8))]
        return len(chunks), time.perf_counter() - started, session.describe()["retries"]

    count, seconds, retries = with_session(answer)
    assert (count, retries) == (9, 2)
    assert seconds >= (0.01 if fault is Fault.RESET else 0.2), "the pauses are part of the request's time"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("3600", 0.05),
        ("0.02", 0.02),
        ("-5", 0.0),
        ("soon", None),
        ("", None),
        ("--5", None),
        ("1.2.3", None),
        ("nan", None),
        ("٣", None),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
    ],
)
def test_the_wish_of_a_server_to_be_left_alone_is_bounded(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: float | None
) -> None:
    monkeypatch.setattr(requests, "_LONGEST_PAUSE", 0.05)
    assert requests.pause_seconds(1, given) == (0.01 if expected is None else expected)


def test_a_date_to_come_back_at_is_read() -> None:
    past, future = "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2065 07:28:00 GMT"
    assert requests.pause_seconds(1, past) == 0
    assert requests.pause_seconds(1, future) == requests._LONGEST_PAUSE


def test_a_key_in_the_servers_answer_is_hidden(ask: Ask, server: RunningServer) -> None:
    server.configure(no_model_list=True, api_key="sk-another")
    with pytest.raises(EngineError) as caught:
        ask(model="test-model", api_key=KEY, check_model="false", base_url=server.url)
    assert KEY not in str(caught.value)
    assert "***" in str(caught.value) or "OPENAI_API_KEY" in str(caught.value.hint)


def test_a_server_that_is_gone_is_a_lost_engine(with_session: With) -> None:
    with RunningServer() as mine:

        async def lose(session: EngineSession) -> EngineError:
            assert [chunk async for chunk in session.stream(GenerationRequest("hello", 2))]
            mine.stop()
            with pytest.raises(EngineError) as caught:
                async for _ in session.stream(GenerationRequest("hello", 2)):
                    pass
            return caught.value

        error = with_session(lose, base_url=mine.url)
    assert type(error) is EngineLostError
    assert "refuses the connection" in error.message


def test_cancelling_ends_the_request_at_the_server(with_session: With, server: RunningServer) -> None:
    server.configure(gap=0.02, faults=["silent=mid-silence"])

    async def cancel(session: EngineSession) -> None:
        arrived = asyncio.Event()

        async def receive(prompt: str) -> None:
            async for _ in session.stream(GenerationRequest(prompt, 1000)):
                arrived.set()

        for prompt in ("long", "silent"):
            arrived.clear()
            task = asyncio.create_task(receive(prompt))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async for _ in session.stream(GenerationRequest("hello", 2)):
            pass

    with_session(cancel)
    assert [each["outcome"] for each in server.requests()] == ["broken off", "broken off", "answered"]


def test_a_lack_of_file_handles_is_not_the_servers_fault(
    with_session: With, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none_left(session: EngineSession) -> EngineError:
        def refuse(*_: Any, **__: Any) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(socket, "socket", refuse)
        with pytest.raises(EngineError) as caught:
            async for _ in session.stream(GenerationRequest("hello", 2)):
                pass
        monkeypatch.undo()
        return caught.value

    # A server that says its name is asked one thing more, on the one connection that the reset takes.
    server.configure(identity="vllm", faults=["1=reset"])
    error = with_session(none_left)
    assert type(error) is EngineError
    assert "cannot open another connection" in error.message
