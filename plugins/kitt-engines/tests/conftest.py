"""One test server for all tests of a process; each test finds it as it was at first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

import pytest

from kitt_core.engine import Chunk, EngineSession, GenerationRequest
from kitt_core.options import build_options
from kitt_engines.openai.discovery import open_session
from kitt_engines.openai.options import OpenAIOptions
from kitt_engines.testing import RunningServer

T = TypeVar("T")
With = Callable[..., Any]


@pytest.fixture(scope="session")
def one_server() -> Iterator[RunningServer]:
    with RunningServer() as server:
        yield server


@pytest.fixture
def server(one_server: RunningServer) -> RunningServer:
    one_server.reset()
    return one_server


async def _opened(options: Mapping[str, Any]) -> EngineSession:
    return await open_session(build_options(OpenAIOptions, options, "engine openai"))


@pytest.fixture
def with_session(server: RunningServer) -> With:
    """Open a session on the server, use it, close it."""

    def run(use: Callable[[EngineSession], Awaitable[T]], **options: Any) -> T:
        async def whole() -> T:
            session = await _opened({"base_url": server.url} | options)
            try:
                return await use(session)
            finally:
                await session.aclose()

        return asyncio.run(whole())

    return run


@pytest.fixture
def ask(with_session: With) -> With:
    """Send one request and return the chunks of its answer."""

    def answer(
        prompt: str = "hello there",
        *,
        max_tokens: int = 8,
        ignore_eos: bool = True,
        seed: int | None = None,
        **options: Any,
    ) -> list[Chunk]:
        async def collect(session: EngineSession) -> list[Chunk]:
            request = GenerationRequest(prompt, max_tokens, ignore_eos=ignore_eos, seed=seed)
            return [chunk async for chunk in session.stream(request)]

        found: list[Chunk] = with_session(collect, **options)
        return found

    return answer
