"""The test server itself, in the event loop of the test: what it sends is what its script says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp import web

from kitt_engines.testing import Behaviour, Fault
from kitt_engines.testing.behaviour import fault_for
from kitt_engines.testing.server import ScriptedServer

T = TypeVar("T")
BODY: dict[str, Any] = {
    "model": "test-model",
    "messages": [{"role": "user", "content": "hello there"}],
    "max_tokens": 4,
    "stream": True,
    "stream_options": {"include_usage": True},
}


def serving(behaviour: Behaviour, use: Callable[[aiohttp.ClientSession, str], Awaitable[T]]) -> T:
    """Serve, and talk to the server without the engine."""

    async def whole() -> T:
        app = ScriptedServer(behaviour).application()
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30, sock_read=0.3)) as http:
                return await use(http, f"http://127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await runner.cleanup()

    return asyncio.run(whole())


def answer(behaviour: Behaviour, path: str = "/v1/chat/completions", **changes: Any) -> tuple[int, bytes]:
    """Return status and body of one answer; of a body that is cut off, what came."""

    async def ask(http: aiohttp.ClientSession, root: str) -> tuple[int, bytes]:
        body = {name: value for name, value in (BODY | changes).items() if value is not None}
        received = b""
        async with http.post(root + path, json=body) as response:
            try:
                async for part in response.content.iter_any():
                    received += part
                    if len(received) > 100_000:
                        break
            except (aiohttp.ClientError, TimeoutError):
                received += b"<cut>"
            return response.status, received

    return serving(behaviour, ask)


def events(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: {")]


def test_a_chat_is_role_tokens_end_count_and_done() -> None:
    status, body = answer(Behaviour(reasoning=1))
    assert status == 200
    role, *tokens, end, count = events(body)
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [list(each["choices"][0]["delta"]) for each in tokens] == [["reasoning_content"], *[["content"]] * 3]
    assert end["choices"][0]["finish_reason"] == "length"
    assert count["choices"] == []
    assert count["usage"] == {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}
    assert body.endswith(b"data: [DONE]\n\n")


def test_a_completion_has_text_and_the_count_in_every_chunk() -> None:
    _, body = answer(
        Behaviour(usage="every", tokens_per_chunk=3, line_end="crlf"),
        "/v1/completions",
        messages=None,
        prompt="hi",
    )
    first, second, end, count = events(body)
    assert [each["usage"]["completion_tokens"] for each in (first, second, count)] == [3, 4, 4]
    assert first["choices"][0]["text"] + second["choices"][0]["text"] == " the model has no"
    assert end["choices"][0]["text"] == ""
    assert body.endswith(b"data: [DONE]\r\n\r\n")


@pytest.mark.parametrize(
    ("changes", "length", "reason"),
    [
        ({"max_tokens": 3}, 3, "length"),
        ({"max_tokens": 9}, 5, "stop"),
        ({"max_tokens": 9, "ignore_eos": True}, 9, "length"),
        ({"max_tokens": None}, 5, "length"),
    ],
)
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.NOT_STREAMED, b'"chat.completion"'),
        (Fault.NOT_STREAMED_ERROR, b'"error"'),
        (Fault.WEB_PAGE, b"<html>"),
        (Fault.DONE_ONLY, b"data: [DONE]"),
        (Fault.MID_ERROR, b'data: {"error"'),
        (Fault.MID_500, b"Internal Server Error"),
        (Fault.MID_MALFORMED, b'data: {"choices": [{"delta\n\n'),
        (Fault.MID_RESET, b"<cut>"),
        (Fault.MID_SILENCE, b"<cut>"),
        (Fault.MID_COMMENTS, b": still here"),
        (Fault.MID_ENDLESS, b"data: {"),
        (Fault.MID_CUT, b"data: {"),
    ],
)
def test_a_fault_is_sent_as_described(fault: Fault, expected: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kitt_engines.testing.server._COMMENT_EVERY", 0.0)
    status, body = answer(Behaviour(faults=["there=" + fault]))
    assert status == 200
    assert expected in body
    assert (b"[DONE]" in body) == (fault is Fault.DONE_ONLY)


def test_keys_lists_versions_and_control() -> None:
    async def look(http: aiohttp.ClientSession, root: str) -> list[Any]:
        async def get(path: str, **headers: str) -> Any:
            async with http.get(root + path, headers=headers) as response:
                return response.status, await response.json()

        async def change(**changes: Any) -> int:
            async with http.post(f"{root}/control/behaviour", json=changes) as response:
                return response.status

        found = [(await get("/v1/models"))[0]]
        found.append((await get("/v1/models", Authorization="Bearer k"))[1]["data"][0]["owned_by"])
        found.append((await get("/version"))[1]["version"])
        found.append((await get("/info"))[0])
        await http.post(f"{root}/v1/chat/completions", json=BODY)
        (record,) = (await get("/control/requests"))[1]
        found += [record["body"] == BODY, record["has_key"], record["outcome"]]
        found.append((await get("/control/state"))[1])
        found += [await change(colour="red"), await change(ttft=-1), await change(no_model_list=True, api_key="")]
        found.append((await get("/v1/models"))[0])
        found.append((await get("/control/requests"))[1])
        return found

    expected = [401, "vllm", "1.2.3", 404, True, False, "answered", {"requests": 1, "in_flight": 0}]
    assert serving(Behaviour(api_key="k", identity="vllm"), look) == [*expected, 400, 400, 200, 404, []]


def test_a_fault_is_for_a_number_a_text_or_all() -> None:
    behaviour = Behaviour(faults=["2=500", "a=b=reset", "*=empty"])
    assert fault_for(behaviour, 2, "a=b") is Fault.ERROR
    assert fault_for(behaviour, 3, "has a=b in it") is Fault.RESET
    assert fault_for(behaviour, 3, "2") is Fault.EMPTY
    assert fault_for(Behaviour(), 1, "x") is None


@pytest.mark.parametrize("fault", ["500", "=500", "1=oops"])
def test_a_fault_that_does_not_exist_is_refused(fault: str) -> None:
    with pytest.raises(ValueError, match="expected WHEN=WHAT"):
        Behaviour(faults=[fault])
