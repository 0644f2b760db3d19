"""A session that plays a script on a clock of its own, so that every measured value is exact."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from attrs import field, frozen

from kitt_core.engine import Chunk, EngineSession, GenerationRequest, Usage

T = TypeVar("T")


class VirtualClock:
    """Time that passes only when somebody says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@frozen
class Step:
    """Wait ``after_ms``, then give ``chunk`` or raise ``error``."""

    after_ms: float
    chunk: Chunk | None = None
    error: BaseException | None = None


def words(*delays_ms: float, usage: Usage | None = None) -> list[Step]:
    """One content chunk of one token after each delay, the usage in an empty chunk right behind."""
    steps = [Step(delay, Chunk("w ", tokens=1)) for delay in delays_ms]
    if usage is not None:
        steps.append(Step(0, Chunk("", usage=usage)))
    return steps


class _Instant(selectors.DefaultSelector):
    """Waits for nothing: the loop's time moves on to the moment that it was to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everything waits, and nothing will come")
        self.seconds += max(0.0, timeout)
        found: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in which sleeping takes no time, and exactly as long as was asked for."""

    def __init__(self) -> None:
        self._instant = _Instant()
        super().__init__(self._instant)

    def time(self) -> float:
        return self._instant.seconds


def run_virtually(work: Callable[[Callable[[], float]], Coroutine[Any, Any, T]]) -> T:
    """Run ``work(clock)`` in virtual time; the clock is the loop's."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work(runner.get_loop().time))


class SleepingSession(EngineSession):
    """Really waits for what is written down, one delay in ms per content chunk, so that requests overlap in time.

    Args:
        delays_ms: The delays before each chunk of a request, by the request's seed.
        tokens: How many tokens each chunk holds.
    """

    model = "sleeping"
    concurrent = True

    def __init__(
        self, delays_ms: Callable[[int], Sequence[float]], *, tokens: int = 1, remote: bool = False
    ) -> None:
        self.remote = remote
        self.in_flight = 0
        self.most_in_flight = 0
        self._delays_ms = delays_ms
        self._tokens = tokens

    async def stream(self, request: GenerationRequest) -> AsyncIterator[Chunk]:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            delays = self._delays_ms(request.seed or 0)
            for delay in delays:
                await asyncio.sleep(delay / 1000)
                yield Chunk("w " * self._tokens, tokens=self._tokens)
            yield Chunk("", usage=Usage(10, len(delays) * self._tokens, "server_usage"))
        finally:
            self.in_flight -= 1


class ScriptedSession(EngineSession):
    """Answers each request by the next script, the last of them for ever."""

    model = "scripted"

    def __init__(
        self,
        clock: VirtualClock,
        *scripts: Sequence[Step],
        concurrent: bool = False,
        remote: bool = False,
        memory: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self.concurrent = concurrent
        self.remote = remote
        self.requests: list[GenerationRequest] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.closed_streams = 0
        self._clock = clock
        self._scripts = scripts or (words(10, 5, 5),)
        self._memory = memory

    async def stream(self, request: GenerationRequest) -> AsyncIterator[Chunk]:
        script = self._scripts[min(len(self.requests), len(self._scripts) - 1)]
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            for step in script:
                await asyncio.sleep(0)
                self._clock.seconds += step.after_ms / 1000
                if step.error is not None:
                    raise step.error
                if step.chunk is not None:
                    yield step.chunk
        finally:
            self.in_flight -= 1
            self.closed_streams += 1

    def memory_gb(self) -> Mapping[str, float]:
        return self._memory()


@frozen
class Readings:
    """Values given one after the other, the last for ever."""

    values: Sequence[float]
    taken: list[float] = field(factory=list)

    def __call__(self) -> float:
        value = self.values[min(len(self.taken), len(self.values) - 1)]
        self.taken.append(value)
        return value
