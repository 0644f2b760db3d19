"""`EngineContract`: what `kitt_core.engine.Engine` and its sessions promise, as tests.

::

    class TestServer(EngineContract):
        plugin = "kitt_server.plugin"
        name = "server"
        options = {"model": "tiny", "base_url": "http://localhost:8000"}
        unusable = {"model": "no such model"}
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

import attrs
import pytest

from kitt_core.engine import Chunk, Engine, EngineSession, GenerationRequest, Usage
from kitt_core.errors import ConfigurationError, EngineError
from kitt_core.options import build_options
from kitt_core.plugins.loading import ENGINES, Kind
from kitt_core.testing._storage.questions import assert_readable
from kitt_core.testing.record import RecordContract

__all__ = ["EngineContract"]

T = TypeVar("T")

_PROMPT: Final = "The quick brown fox"
_PROMPTS: Final = ("", " ", "é🦙模", "a\0b", "\ud800", "line\nline\r\n\t", "word " * 50, "<|endoftext|>{{x}}%s")
_TOKENS: Final = 8


class EngineContract(RecordContract):
    """Tests of an engine that is opened with options that work on the machine where the tests run.

    Attributes:
        options: The options to open it with.
        unusable: Options that don't work, such as a model that does not exist; None if there are none.
    """

    kind: ClassVar[Kind[Engine]] = ENGINES
    options: ClassVar[Mapping[str, Any]] = {}
    unusable: ClassVar[Mapping[str, Any] | None] = None

    def test_options_are_an_attrs_class_whose_fields_say_what_they_are(self, record: Engine) -> None:
        assert attrs.has(record.options)
        assert [field.name for field in attrs.fields(record.options) if not field.metadata.get("help")] == []

    def test_a_session_names_its_model(self, record: Engine) -> None:
        async def look(session: EngineSession) -> None:
            assert isinstance(session, EngineSession)
            assert isinstance(session.model, str)
            assert session.model.strip()
            assert isinstance(session.concurrent, bool)
            assert session.inference_engine is None or session.inference_engine.strip()

        self._with(record, look)

    def test_an_answer_comes_in_chunks_the_last_of_which_counts(self, record: Engine) -> None:
        chunks = self._with(record, lambda session: _answer(session, _PROMPT))
        assert len(chunks) > 1, "nothing is streamed"
        assert [type(chunk) for chunk in chunks] == [Chunk] * len(chunks)
        assert all(isinstance(chunk.text, str) and chunk.tokens >= 0 for chunk in chunks)
        assert [chunk for chunk in chunks[:-1] if chunk.usage is not None] == []
        usage = chunks[-1].usage
        if usage is not None:
            assert type(usage) is Usage
            assert usage.prompt_tokens is None or usage.prompt_tokens >= 1
            assert usage.source in {"engine", "server_usage", "server_timings", "client_tokenizer"}

    def test_the_tokens_of_the_chunks_add_up(self, record: Engine) -> None:
        chunks = self._with(record, lambda session: _answer(session, _PROMPT))
        usage, counted = chunks[-1].usage, sum(chunk.tokens for chunk in chunks)
        assert counted in {0, _TOKENS}
        assert usage is None or usage.completion_tokens == _TOKENS

    def test_an_answer_is_no_longer_than_was_asked_for(self, record: Engine) -> None:
        async def lengths(session: EngineSession) -> list[int]:
            answers = [await _answer(session, _PROMPT, max_tokens=n, ignore_eos=False) for n in (1, 3)]
            return [sum(chunk.tokens for chunk in chunks) for chunks in answers]

        one, three = self._with(record, lengths)
        assert one <= 1
        assert three <= 3

    def test_equal_seeds_give_equal_answers(self, record: Engine) -> None:
        async def twice(session: EngineSession) -> list[list[Chunk]]:
            return [await _answer(session, _PROMPT, seed=7) for _ in range(2)]

        first, second = self._with(record, twice)
        assert [chunk.text for chunk in first] == [chunk.text for chunk in second]

    def test_any_prompt_is_answered_or_refused_by_name(self, record: Engine) -> None:
        async def ask(session: EngineSession) -> None:
            for prompt in _PROMPTS:
                try:
                    chunks = await _answer(session, prompt, max_tokens=2)
                except EngineError as error:
                    assert_readable(error)
                else:
                    assert chunks

        self._with(record, ask)

    def test_an_answer_may_be_given_up_and_the_session_goes_on(self, record: Engine) -> None:
        async def give_up(session: EngineSession) -> list[Chunk]:
            stream = session.stream(GenerationRequest(_PROMPT, max_tokens=_TOKENS))
            async for _ in stream:
                break
            await stream.aclose()  # type: ignore[attr-defined]  # an async generator, as `kitt run` relies on
            return await _answer(session, _PROMPT)

        assert len(self._with(record, give_up)) > 1

    def test_requests_may_overlap_where_the_session_says_so(self, record: Engine) -> None:
        async def overlap(session: EngineSession) -> list[list[Chunk]] | None:
            if not session.concurrent:
                return None
            return await asyncio.gather(*(_answer(session, f"{_PROMPT} {i}") for i in range(3)))

        answers = self._with(record, overlap)
        if answers is None:
            pytest.skip(f"{self.name} declares that requests may not overlap")
        assert [len(chunks) > 1 for chunks in answers] == [True] * 3

    def test_memory_is_in_gb_by_metric_name(self, record: Engine) -> None:
        async def look(session: EngineSession) -> Mapping[str, float]:
            await _answer(session, _PROMPT)
            return session.memory_gb()

        figures = self._with(record, look)
        assert [name for name in figures if not name.endswith("_gb")] == []
        assert [v for v in figures.values() if not (isinstance(v, (int, float)) and 0 <= v < math.inf)] == []

    def test_the_description_is_json(self, record: Engine) -> None:
        async def describe(session: EngineSession) -> Mapping[str, Any]:
            return session.describe()

        description = dict(self._with(record, describe))
        assert json.loads(json.dumps(description, allow_nan=False)) == description

    def test_notices_are_lines_and_given_once(self, record: Engine) -> None:
        async def listen(session: EngineSession) -> tuple[Sequence[str], Sequence[str]]:
            await _answer(session, _PROMPT)
            return session.notices(), session.notices()

        first, second = self._with(record, listen)
        assert not isinstance(first, str), "expected a sequence of lines, not a single text"
        assert [line for line in first if not isinstance(line, str) or not line.strip() or "\n" in line] == []
        assert list(second) == []

    def test_a_session_may_be_closed_twice(self, record: Engine) -> None:
        async def close(session: EngineSession) -> None:
            await session.aclose()

        self._with(record, close)  # which closes it again

    def test_an_engine_that_cannot_be_used_says_so_in_one_line(self, record: Engine) -> None:
        if self.unusable is None:
            pytest.skip(f"{type(self).__name__} has no options that don't work")
        # A wrong option is a configuration error, an unreachable server an engine error.
        with pytest.raises((EngineError, ConfigurationError)) as caught:
            asyncio.run(_opened(record, self.unusable))
        assert_readable(caught.value)

    def _with(self, engine: Engine, use: Callable[[EngineSession], Awaitable[T]]) -> T:
        """Open a session in a new event loop, use it, close it."""

        async def whole() -> T:
            session = await _opened(engine, self.options)
            try:
                return await use(session)
            finally:
                await session.aclose()

        return asyncio.run(whole())


async def _opened(engine: Engine, options: Mapping[str, Any]) -> EngineSession:
    return await engine.open(build_options(engine.options, options, f"engine {engine.name}"))


async def _answer(
    session: EngineSession,
    prompt: str,
    *,
    max_tokens: int = _TOKENS,
    ignore_eos: bool = True,
    seed: int | None = None,
) -> list[Chunk]:
    request = GenerationRequest(prompt, max_tokens=max_tokens, ignore_eos=ignore_eos, seed=seed)
    return [chunk async for chunk in session.stream(request)]
