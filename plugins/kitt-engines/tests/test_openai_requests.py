"""What is sent, what is read, what is remembered."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from kitt_core.engine import Chunk, EngineSession, GenerationRequest, Usage
from kitt_core.errors import EngineError
from kitt_engines.openai.options import OpenAIOptions
from kitt_engines.openai.requests import RequestBodies
from kitt_engines.testing import RunningServer

Ask = Callable[..., list[Chunk]]
With = Callable[..., Any]


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_a_chat_request_is_sent_as_documented(ask: Ask, server: RunningServer) -> None:
    ask("hello", max_tokens=5, seed=3)
    (received,) = server.requests()
    assert received["path"] == "/v1/chat/completions"
    assert received["body"] == {
        "model": "test-model",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 5,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "seed": 3,
        "ignore_eos": True,
    }
    assert received["headers"]["Accept-Encoding"] == "identity"
    assert not received["has_key"]


def test_a_completion_request_is_sent_as_documented(ask: Ask, server: RunningServer) -> None:
    options = {"api": "completions", "temperature": "0.5", "extra_body": '{"top_k": 4, "temperature": 0.7}'}
    ask("hello", max_tokens=5, ignore_eos=False, **options)
    (received,) = server.requests()
    assert received["path"] == "/v1/completions"
    assert received["body"] == {
        "model": "test-model",
        "prompt": "hello",
        "max_tokens": 5,
        "temperature": 0.7,
        "stream": True,
        "stream_options": {"include_usage": True},
        "top_k": 4,
    }


def test_the_key_is_sent_as_a_bearer_token(ask: Ask, server: RunningServer) -> None:
    server.configure(api_key="sk-1234")
    assert ask(api_key="sk-1234")
    assert server.requests()[0]["has_key"]


@pytest.mark.parametrize("url", ["root", "url"])
def test_the_url_may_lack_v1(ask: Ask, server: RunningServer, url: str) -> None:
    assert ask(base_url=getattr(server, url))


@pytest.mark.parametrize(("usage", "expected"), [("final", Usage(2, 8, "server_usage")), ("none", None)])
def test_the_servers_count_stands_in_the_last_chunk(
    ask: Ask, server: RunningServer, usage: str, expected: Usage | None
) -> None:
    server.configure(usage=usage)
    chunks = ask()
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].usage == expected


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_of_counts_in_every_chunk_the_last_is_taken(ask: Ask, server: RunningServer, api: str) -> None:
    server.configure(usage="every", tokens_per_chunk=3)
    chunks = ask(api=api)
    assert [len(chunk.text.split()) for chunk in chunks] == [3, 3, 2, 0]
    assert [chunk.usage for chunk in chunks] == [None, None, None, Usage(2, 8, "server_usage")]


def test_reasoning_is_text_like_any_other(ask: Ask, server: RunningServer) -> None:
    plain = ask()
    server.configure(reasoning=5)
    found = ask()
    assert [chunk.text for chunk in found] == [chunk.text for chunk in plain]
    assert [chunk.reasoning for chunk in found] == [True] * 5 + [False] * 4
    assert len(plain) == 9


@pytest.mark.parametrize("line_end", ["cr", "crlf"])
def test_lines_may_end_in_any_way(ask: Ask, server: RunningServer, line_end: str) -> None:
    plain = ask()
    server.configure(line_end=line_end)
    assert [chunk.text for chunk in ask()] == [chunk.text for chunk in plain]


@pytest.mark.parametrize("refusal", ["openai", "fastapi", "plain", "200", "404", "500"])
@pytest.mark.parametrize("name", ["ignore_eos", "stream_options", "seed", "temperature", "max_tokens"])
def test_a_field_that_is_refused_by_name_is_left_out_from_then_on(
    with_session: With, server: RunningServer, name: str, refusal: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.configure(refuse=[name], refusal=refusal, tokens=4)

    async def twice(session: EngineSession) -> list[str]:
        request = GenerationRequest("hello", 4, seed=1)
        for _ in range(2):
            assert len([chunk async for chunk in session.stream(request) if chunk.text]) == 4
        found: list[str] = session.describe()["refused_fields"]
        return found

    with caplog.at_level(logging.WARNING):
        assert with_session(twice) == [name]
    asked = [name in received["body"] for received in server.probes()]
    assert asked == [True, False] or (refusal == "plain" and len(asked) <= 8)
    assert [name in received["body"] for received in server.requests()] == [False, False]
    assert [name in record.message for record in caplog.records] == [True]


def test_all_optional_fields_can_be_refused_one_after_the_other(ask: Ask, server: RunningServer) -> None:
    server.configure(refuse=["seed", "ignore_eos", "stream_options"])
    assert len(ask(seed=1)) == 8
    assert (len(server.probes()), len(server.requests())) == (4, 1)


def test_a_refusal_in_the_middle_that_names_nothing_costs_the_usage_block(
    with_session: With, server: RunningServer
) -> None:
    async def run(session: EngineSession) -> Any:
        session._bodies._accepted.clear()  # type: ignore[attr-defined]
        server.configure(refuse=["stream_options"], refusal="plain")
        return [chunk async for chunk in session.stream(GenerationRequest("hello", 8)) if chunk.text]

    assert len(with_session(run)) == 8
    assert ["stream_options" in received["body"] for received in server.requests()] == [True, False]


def test_the_length_is_asked_for_by_its_other_name(ask: Ask, server: RunningServer) -> None:
    server.configure(refuse=["max_tokens", "temperature", "ignore_eos"], tokens=3)
    assert len([chunk for chunk in ask(max_tokens=5) if chunk.text]) == 3
    (received,) = server.requests()
    assert received["body"]["max_completion_tokens"] == 5
    assert received["body"].keys().isdisjoint({"max_tokens", "temperature", "ignore_eos"})


def test_several_fields_may_be_refused_without_a_reason(ask: Ask, server: RunningServer) -> None:
    server.configure(refuse=["max_tokens", "seed"], refusal="plain")
    assert ask(seed=1)
    body = server.requests()[0]["body"]
    assert body.keys() == {
        "model",
        "messages",
        "max_completion_tokens",
        "stream",
        "temperature",
        "stream_options",
        "ignore_eos",
    }


@pytest.mark.parametrize("fault", ["401", "404", "429", "500", "503", "reset", "empty", "web-page", "mid-error"])
def test_a_server_that_refuses_everything_costs_no_field(
    with_session: With, server: RunningServer, fault: str
) -> None:
    server.configure(faults=[f"*={fault}"])

    async def refused_fields(session: EngineSession) -> Any:
        return session.describe()["refused_fields"]

    assert with_session(refused_fields) == []
    assert len(server.probes()) <= 3


def test_a_model_that_is_called_like_a_field_costs_none(ask: Ask, server: RunningServer) -> None:
    server.configure(models=["seed"])
    with pytest.raises(EngineError, match="HTTP 404"):
        ask(model="seed-2", check_model="false", seed=1)
    assert "seed" in server.requests()[0]["body"]


def test_a_limit_of_the_length_is_not_a_refusal_of_its_name() -> None:
    bodies = RequestBodies(OpenAIOptions(), "m")
    body = bodies.probing(frozenset())
    assert bodies.named(400, "max_tokens must be at most 8", body) == set()
    assert bodies.named(400, "Unsupported parameter: 'max_tokens'", body) == {"max_tokens"}
    assert bodies.named(429, "max_tokens: unsupported", body) == set()


def test_a_field_of_the_user_cannot_be_left_out(ask: Ask, server: RunningServer) -> None:
    server.configure(refuse=["ignore_eos"])
    with pytest.raises(EngineError, match="ignore_eos"):
        ask(extra_body='{"ignore_eos": true}')


def test_ignore_eos_is_not_sent_where_the_user_or_the_request_does_not_want_it(
    with_session: With, server: RunningServer
) -> None:
    async def both(session: EngineSession) -> None:
        for wanted in (True, False):
            async for _ in session.stream(GenerationRequest("hello", 4, ignore_eos=wanted)):
                pass

    with_session(both, ignore_eos="false")
    with_session(both)
    assert ["ignore_eos" in received["body"] for received in server.requests()] == [False, False, True, False]


def test_answers_that_end_early_are_counted_and_logged_once(
    with_session: With, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.configure(tokens=3)

    async def some(session: EngineSession) -> int:
        for ignore_eos in (True, False, True):
            request = GenerationRequest("hello", 8, ignore_eos=ignore_eos)
            async for _ in session.stream(request):
                pass
        count: int = session.describe()["answers_ended_early"]
        return count

    with caplog.at_level(logging.WARNING):
        assert with_session(some, extra_body='{"ignore_eos": false}') == 2
    assert len(caplog.records) == 1


def test_connections_are_kept_and_answers_that_are_given_up_end_at_the_server(
    with_session: With, server: RunningServer
) -> None:
    server.configure(gap=0.02)

    async def give_up(session: EngineSession) -> None:
        stream = session.stream(GenerationRequest("hello", 500))
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
        async for _ in session.stream(GenerationRequest("hello", 4)):
            pass

    with_session(give_up)
    assert [received["outcome"] for received in server.requests()] == ["broken off", "answered"]
    assert server.state()["in_flight"] == 0


def test_the_description_says_what_was_measured(with_session: With, server: RunningServer) -> None:
    async def describe(session: EngineSession) -> dict[str, Any]:
        assert session.concurrent
        assert getattr(session, "remote", False)
        return dict(session.describe())

    server.configure(identity="vllm", version="0.11.0")
    info = with_session(describe, extra_body='{"top_k": 1}')
    assert info["base_url"] == server.url
    assert info["server"]["name"] == "vllm"
    assert info["server"]["version"] == "0.11.0"
    assert info["server"]["max_model_len"] == 4096
    assert (info["api"], info["streaming"], info["extra_body"]) == ("chat", True, {"top_k": 1})
