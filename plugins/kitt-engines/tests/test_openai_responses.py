"""Bodies that come in pieces, are cut off or do not end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from kitt_core.engine import EngineSession, GenerationRequest
from kitt_core.errors import EngineError
from kitt_engines.openai import connections
from kitt_engines.openai.connections import ConnectionReuse, capped_body
from kitt_engines.openai.discovery import open_session
from kitt_engines.openai.failures import Sanitizer
from kitt_engines.openai.identity import ServerIdentity, identify
from kitt_engines.openai.options import OpenAIOptions
from kitt_engines.testing import RunningServer

With = Callable[..., Any]


@asynccontextmanager
async def raw_server(answers: dict[str, list[bytes]]) -> AsyncIterator[str]:
    """Answer a request for a path with its pieces, a moment after each other, and close the connection."""
    tasks: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        asked = await reader.readuntil(b"\r\n\r\n")
        for part in answers.get(asked.split()[1].decode(), [head("404 Not Found", 0)]):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)


def head(status: str, length: int) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n".encode()


@pytest.mark.parametrize("filling", [0, 300_000])
def test_a_version_that_comes_in_pieces_is_read(filling: int) -> None:
    body = json.dumps({"filling": "x" * filling, "version": "0.9.1"}).encode()

    async def ask() -> dict[str, Any]:
        async with (
            raw_server({"/version": [head("200 OK", len(body)), body[:5], body[5:]]}) as url,
            aiohttp.ClientSession() as http,
        ):
            return await identify(http, url, ServerIdentity(entry={"owned_by": "vllm"}), Sanitizer())

    assert asyncio.run(ask()) == {"name": "vllm", "name_from": "owned_by", "version": "0.9.1"}


def test_of_a_body_that_is_too_long_the_beginning_is_read() -> None:
    async def read() -> tuple[bytes, bool]:
        async with raw_server({"/": [head("200 OK", 6), b"abc", b"def"]}) as url, aiohttp.ClientSession() as http:
            response = await http.get(url)
            return await capped_body(response, 4), response.closed

    assert asyncio.run(read()) == (b"abcd", True)


def test_a_status_whose_body_is_cut_off_is_still_the_reason() -> None:
    models = b'{"data": [{"id": "m"}]}'
    answers = {
        "/v1/models": [head("200 OK", len(models)), models],
        "/v1/chat/completions": [head("500 Oh", 1000), b'{"error":'],
    }

    async def ask() -> str:
        async with raw_server(answers) as url:
            session = await open_session(OpenAIOptions(base_url=url))
            try:
                with pytest.raises(EngineError) as caught:
                    async for _ in session.stream(GenerationRequest("hello", 2)):
                        pass
            finally:
                await session.aclose()
            return caught.value.message

    assert asyncio.run(ask()) == "HTTP 500"


class _Content:
    """A body that does not end; counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0

    def at_eof(self) -> bool:
        return False

    async def readany(self) -> bytes:
        self.reads += 1
        await asyncio.sleep(60)
        return b""


def test_a_server_that_keeps_a_response_open_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_END_OF_RESPONSE", 0.01)

    class Response:
        content = _Content()

    async def twice() -> list[bool]:
        reuse = ConnectionReuse()
        return [await reuse.possible(Response(), bytearray()) for _ in range(2)]  # type: ignore[arg-type]  # all that is used

    assert asyncio.run(twice()) == [False, False]
    assert Response.content.reads == 1


def test_requests_to_a_server_that_keeps_responses_open_succeed(with_session: With, server: RunningServer) -> None:
    server.configure(linger=30)

    async def thrice(session: EngineSession) -> list[int]:
        request = GenerationRequest("hello", 4)
        return [len([chunk async for chunk in session.stream(request)]) for _ in range(3)]

    assert with_session(thrice) == [5, 5, 5]
    assert [each["outcome"] for each in server.requests()] == ["broken off"] * 3


def test_a_head_that_comes_drop_by_drop_is_silence() -> None:
    drops = [b"HTTP/1.1 200 OK\r\nX-Endless: "] + [b"x"] * 200  # ten seconds of it

    async def ask() -> None:
        async with raw_server({"/v1/chat/completions": drops}) as url:
            options = OpenAIOptions(
                base_url=url, model="m", check_model=False, connect_timeout=0.2, read_timeout=0.4
            )
            session = await open_session(options)
            try:
                with pytest.raises(EngineError, match=r"was silent for 0\.4 s"):
                    async for _ in session.stream(GenerationRequest("hello", 1)):
                        pass
            finally:
                await session.aclose()

    asyncio.run(ask())
