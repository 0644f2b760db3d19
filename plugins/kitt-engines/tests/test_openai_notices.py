"""What a reader of the figures sees: retries, refused fields, short answers; and when a server is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from kitt_core.engine import EngineSession, GenerationRequest
from kitt_core.errors import EngineError, EngineLostError
from kitt_engines.openai import requests
from kitt_engines.openai.failures import Sanitizer
from kitt_engines.openai.notices import Notices
from kitt_engines.openai.stream import Answer
from kitt_engines.testing import RunningServer

With = Callable[..., Any]
LEFT_OUT = "latencies leave out such requests, throughput does not"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_PAUSE", 0.01)


def notices(with_session: With, *, requests: int = 1, max_tokens: int = 4, **options: Any) -> list[list[str]]:
    """The notices before, after some requests and once more."""

    async def run(session: Any) -> list[list[str]]:
        lines = [[*session.notices()]]
        for _ in range(requests):
            try:
                async for _ in session.stream(GenerationRequest("hello", max_tokens, seed=1)):
                    pass
            except EngineError:
                pass
        return [*lines, [*session.notices()], [*session.notices()]]

    found: list[list[str]] = with_session(run, **options)
    return found


def test_without_incidents_there_are_no_notices(with_session: With) -> None:
    assert notices(with_session) == [[], [], []]


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (["1=503"], f"1 request was sent again after 503; {LEFT_OUT}"),
        (
            ["1=503", "2=429", "4=reset"],
            f"2 requests were sent again after 429, 503 or a broken connection; {LEFT_OUT}",
        ),
    ],
)
def test_retries_are_noticed_once(
    with_session: With, server: RunningServer, faults: list[str], expected: str
) -> None:
    server.configure(faults=faults)
    assert notices(with_session, requests=2) == [[], [expected], []]


def test_what_failed_in_the_end_is_an_error_and_not_a_notice(with_session: With, server: RunningServer) -> None:
    server.configure(faults=["*=503"])
    assert notices(with_session) == [[], [], []]


def test_refused_fields_are_noticed(with_session: With, server: RunningServer) -> None:
    server.configure(refuse=["seed", "ignore_eos"])
    expected = [
        "the server refuses the field ignore_eos: answers may end early",
        "the server refuses the field seed: answers may differ from run to run",
    ]
    assert notices(with_session, requests=2) == [[], expected, []]


def test_fields_that_are_refused_in_the_middle_are_noticed(with_session: With, server: RunningServer) -> None:
    async def run(session: EngineSession) -> list[str]:
        server.configure(refuse=["seed", "ignore_eos"])
        for _ in range(2):
            async for _ in session.stream(GenerationRequest("hello", 4, seed=1)):
                pass
        return [*session.notices()]

    assert with_session(run) == [
        "the server refuses the field ignore_eos: answers may end early",
        "the server refuses the field seed: answers may differ from run to run",
        f"1 request was sent again without ignore_eos, seed; {LEFT_OUT}",
    ]


def test_short_answers_are_noticed(with_session: With, server: RunningServer) -> None:
    server.configure(tokens=2)
    lines = notices(with_session, requests=2, ignore_eos="false")
    assert lines[1] == ["2 answers ended before the requested length"]


@pytest.mark.parametrize(("reason", "expected"), [("stop", 1), ("length", 0), (None, None)])
def test_without_a_count_the_reason_for_the_end_decides(reason: str | None, expected: int | None) -> None:
    counted, answer = Notices(), Answer(Sanitizer(), 8)
    answer.finish_reason = reason
    counted.answered(GenerationRequest("hello", 8), answer)
    assert counted.ended_early == expected


def test_short_answers_of_a_server_that_does_not_count(with_session: With, server: RunningServer) -> None:
    server.configure(tokens=2, usage="none")

    async def run(session: EngineSession) -> Any:
        async for _ in session.stream(GenerationRequest("hello", 8)):
            pass
        return session.describe()["answers_ended_early"]

    assert with_session(run, ignore_eos="false") == 1


@pytest.mark.parametrize("others", [True, False])
def test_a_server_that_answers_others_is_not_lost(
    with_session: With, server: RunningServer, others: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.configure(gap=0.01)
    monkeypatch.setattr(requests, "_PAUSE", 0.2)

    async def run(session: Any) -> EngineError:
        real = session._http.post
        started = asyncio.Event()

        async def read() -> None:
            async for _ in session.stream(GenerationRequest("long", 1000)):
                started.set()

        async def refuse(*_: Any, **__: Any) -> Any:
            raise aiohttp.ConnectionTimeoutError

        reader = asyncio.create_task(read()) if others else None
        if others:
            await started.wait()
        session._http.post = refuse
        with pytest.raises(EngineError) as caught:
            async for _ in session.stream(GenerationRequest("hello", 2)):
                pass
        session._http.post = real
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        return caught.value

    error = with_session(run)
    assert "did not accept a connection" in error.message
    assert isinstance(error, EngineLostError) != others
