"""An engine that answers at once, or fails as a test wants it to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from attrs import field, frozen

from kitt_core.engine import Chunk, Engine, EngineSession, GenerationRequest, Usage
from kitt_core.errors import EngineError
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import Registry


@frozen
class ScriptedOptions:
    model: str = "scripted-1"
    base_url: str = "http://user:hunter2@localhost/v1"
    fail_after: int | None = field(default=None, metadata={"help": "Requests that are answered."})
    key: str | None = field(default=None, metadata={"secret": True, "env": "SCRIPTED_KEY", "help": "The key."})


@frozen
class OtherOptions:
    """No base URL."""

    model: str = "other-1"


class ScriptedSession(EngineSession):
    def __init__(self, options: Any, description: Mapping[str, Any], closing: Exception | None) -> None:
        self.model = options.model
        self._fail_after = getattr(options, "fail_after", None)
        self._description = description
        self._closing = closing
        self.answered = 0

    async def stream(self, request: GenerationRequest) -> AsyncIterator[Chunk]:
        if self._fail_after is not None and self.answered >= self._fail_after:
            raise EngineError("the server went away")
        self.answered += 1
        yield Chunk("word ", tokens=1)
        yield Chunk("word", tokens=1, usage=Usage(3, 2))

    def describe(self) -> Mapping[str, Any]:
        return self._description

    async def aclose(self) -> None:
        if self._closing is not None:
            raise self._closing


class ScriptedPlugin:
    """Registers the engine ``scripted``, and ``other`` beside it.

    Args:
        opening: Raised when the engine is opened.
        description: What the session says of itself.
        closing: Raised when the session is closed.
        session: Makes another session.
    """

    def __init__(
        self,
        *,
        opening: BaseException | None = None,
        description: Mapping[str, Any] | None = None,
        closing: Exception | None = None,
        session: Callable[[Any], EngineSession] | None = None,
    ) -> None:
        self.opening = opening
        self.description = {"name": "scripted"} if description is None else description
        self.closing = closing
        self.session = session
        self.opened: list[Any] = []

    async def open(self, options: Any) -> EngineSession:
        self.opened.append(options)
        if self.opening is not None:
            raise self.opening
        if self.session is not None:
            return self.session(options)
        return ScriptedSession(options, self.description, self.closing)

    @hookimpl
    def kitt_register_engine(self, registry: Registry[Engine]) -> None:
        registry.add(Engine(name="scripted", open=self.open, options=ScriptedOptions, summary="For tests."))
        registry.add(Engine(name="other", open=self.open, options=OtherOptions))
