"""What the HTTP library raises, in words; and answers that no well-behaved server gives."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from kitt_core.engine import Usage
from kitt_core.errors import EngineError, EngineLostError
from kitt_engines.openai import sse, stream
from kitt_engines.openai.connections import DaemonResolver
from kitt_engines.openai.failures import Failures, Sanitizer, is_connection_failure
from kitt_engines.openai.stream import Answer

FAILURES = Failures("https://host", Sanitizer(), connect_timeout=5, read_timeout=60)
KEY = ConnectionKey("host", 443, True, True, None, None, None)


def connector(error: OSError) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(KEY, error)


def certificate(code: int = 18) -> aiohttp.ClientConnectorCertificateError:
    error = ssl.SSLCertVerificationError("in words")
    error.verify_code = code
    return aiohttp.ClientConnectorCertificateError(KEY, error)


REFUSED = OSError(errno.ECONNREFUSED, "Connection refused")
CASES = [
    (aiohttp.ConnectionTimeoutError(), "did not accept a connection within 5 s", True, True),
    (aiohttp.SocketTimeoutError(), "was silent for 60 s", False, False),
    (connector(REFUSED), "refuses the connection", True, True),
    (connector(OSError("Multiple exceptions: [Errno 111] ::1, [Errno 111] 127.0.0.1")), "refuses", True, True),
    (connector(OSError(errno.EHOSTUNREACH, "x")), "cannot be reached: No route to host", True, True),
    (connector(OSError("odd")), "https://host cannot be reached", True, True),
    (connector(socket.gaierror(socket.EAI_NONAME, "x")), "the name host cannot be resolved", True, True),
    (connector(OSError(errno.EMFILE, "x")), "cannot open another connection", False, True),
    (certificate(), "the certificate of https://host is not trusted", False, False),
    (certificate(9), "the certificate of https://host is not valid yet", False, False),
    (certificate(10), "the certificate of https://host has expired", False, False),
    (certificate(62), "the certificate of https://host is for another host name", False, False),
    (certificate(64), "the certificate of https://host is for another host name", False, False),
    (aiohttp.ClientConnectorSSLError(KEY, OSError("wrong version")), "no TLS connection", False, False),
    (aiohttp.ServerDisconnectedError(), "dropped the connection", False, True),
    (ConnectionResetError(), "dropped the connection", False, True),
    (aiohttp.ClientPayloadError(), "dropped the connection", False, False),
    (aiohttp.InvalidURL("x"), "failed with InvalidU", False, False),
]


@pytest.mark.parametrize(("error", "expected", "lost", "again"), CASES, ids=lambda each: type(each).__name__)
def test_what_the_library_raises_has_a_meaning(error: Exception, expected: str, lost: bool, again: bool) -> None:
    found = FAILURES.of_connection(error)
    assert expected in found.message
    assert isinstance(found, EngineLostError) == lost
    assert is_connection_failure(error) == again


def said(*events: Any, max_tokens: int = 8) -> tuple[list[str], Answer]:
    answer = Answer(Sanitizer(), max_tokens)
    stream = "".join(f"data: {each if isinstance(each, str) else json.dumps(each)}\n\n" for each in events)
    pieces = [*answer.feed(stream.encode())]
    pieces += [] if answer.complete else answer.finish()
    return [piece.text for piece in pieces], answer


def choice(**fields: Any) -> dict[str, Any]:
    return {"choices": [fields]}


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "thought"},
        {"reasoning": "thought"},
        {"reasoning": "thought", "reasoning_content": "thought", "content": None},
        {"content": "thought", "reasoning": ""},
        {"reasoning": "thou", "content": "ght"},
    ],
)
def test_reasoning_is_read_under_both_names_once(delta: dict[str, Any]) -> None:
    texts, _ = said(choice(delta=delta), "[DONE]")
    assert texts == ["thought"]


@pytest.mark.parametrize(
    "usage",
    [
        None,
        3,
        {},
        {"prompt_tokens": 1},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": 1, "completion_tokens": "2"},
        {"prompt_tokens": True, "completion_tokens": True},
        {"prompt_tokens": 1, "completion_tokens": -2},
        {"prompt_tokens": 1, "completion_tokens": 2.5},
        {"prompt_tokens": 1, "completion_tokens": 10**400},
        {"prompt_tokens": 1, "completion_tokens": 1 << 31},
    ],
)
def test_a_count_that_is_none_is_not_taken(usage: Any) -> None:
    counted = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6}}
    _, answer = said(counted, {"choices": [], "usage": usage}, "[DONE]")
    assert answer.usage == Usage(5, 6, "server_usage")


def test_an_answer_without_done_is_whole_if_it_gives_its_reason() -> None:
    texts, answer = said(choice(text="a", finish_reason="stop"))
    assert (texts, answer.complete, answer.finish_reason) == (["a"], True, "stop")


def test_what_comes_after_the_end_is_not_read() -> None:
    texts, _ = said(choice(text="a"), "[DONE]", "nonsense", "[DONE]")
    assert texts == ["a"]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("[1]", "is not a JSON object"),
        ("[" * 100_000, "is not JSON"),
        ({"choices": [3]}, "a choice that is not an object"),
        ({"error": {"message": "no memory"}}, "reports an error in mid-stream: no memory"),
        ({"object": "error", "message": "no memory"}, "reports an error in mid-stream: no memory"),
        ({"error": "no memory", "error_type": "x"}, "reports an error in mid-stream: no memory"),
    ],
)
def test_an_event_that_is_not_part_of_an_answer_fails_the_request(event: Any, expected: str) -> None:
    with pytest.raises(EngineError, match=expected):
        said(event)


def test_an_event_that_says_that_it_is_an_error_is_one() -> None:
    with pytest.raises(EngineError, match="mid-stream: too bad"):
        list(Answer(Sanitizer(), 8).feed(b'event: error\ndata: {"message": "too bad"}\n\n'))


def test_an_event_without_an_end_fails_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST_EVENT", 10)
    with pytest.raises(EngineError, match="the server sends an event of more than"):
        list(Answer(Sanitizer(), 8).feed(b"data: aaaaaaaaaaaaaaaa"))


def test_an_event_that_the_end_cuts_off_is_named() -> None:
    answer = Answer(Sanitizer(), 8)
    assert list(answer.feed(b'data: {"choices": [{"te')) == []
    with pytest.raises(EngineError, match="event 1 of the stream is not JSON"):
        list(answer.finish())


def test_an_answer_may_have_many_events_for_each_token() -> None:
    texts, _ = said(*[choice(text="c")] * 300, "[DONE]", max_tokens=8)
    assert len(texts) == 300
    assert stream._EVENTS_PER_TOKEN >= 4


def resolved(host: str) -> list[Any]:
    async def ask() -> list[Any]:
        resolver = DaemonResolver()
        try:
            return list(await resolver.resolve(host, 80))
        finally:
            await resolver.close()

    return asyncio.run(ask())


def test_names_become_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {found["port"] for found in resolved("localhost")} == {80}
    entry = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 2))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [entry])
    (found,) = resolved("linked")
    assert found["host"] == "fe80::1%2"


def test_a_name_that_cannot_be_one_is_unknown() -> None:
    with pytest.raises(socket.gaierror):
        resolved("x" * 300)
