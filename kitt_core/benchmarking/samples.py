"""One streamed request and what was measured of it.

The definitions are those of the catalogue: T0 is the moment at which the request is sent, T1 that of the
first chunk with text; chunks without text (a role, a finish reason, a usage report) are no content.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Final

from attrs import field, frozen

from kitt_core.engine import Chunk, EngineSession, GenerationRequest, Usage
from kitt_core.errors import EngineLostError, KittError

__all__ = ["Clock", "RequestSample", "SampleObserver", "closing", "measure_request"]

Clock = Callable[[], float]
"""Gives seconds that never run backwards, such as `time.perf_counter`."""

_NO_CONTENT: Final = "the engine ended the stream without any text"

_log = logging.getLogger(__name__)


@frozen
class RequestSample:
    """What one request took. Times in milliseconds are None where the request did not get so far.

    Attributes:
        request: What was asked.
        started_at: T0 in seconds after the origin that the load was given.
        finished_at: End of the response, or of the failure, on the same scale.
        ttft_ms: First content chunk minus T0 (``ttft.client``).
        gaps_ms: Each gap between consecutive content chunks (``itl.gap``).
        tpot_ms: (E2E - TTFT) / (n - 1); None for fewer than two output tokens (``tpot.excl_first``).
        e2e_latency_ms: End of the response minus T0 (``e2e.client``).
        prompt_tokens: Input tokens, None if nobody counted them.
        completion_tokens: Output tokens n.
        token_count_source: Who counted n: the source of the engine's `Usage`; ``engine`` if its chunks say
            how many tokens they hold; else ``chunks``, which takes each content chunk for one token.
        output_length: Characters of text that arrived.
        error: Why the request failed, in one line; None if it did not.
    """

    request: GenerationRequest = field(repr=False)
    started_at: float
    finished_at: float
    ttft_ms: float | None = None
    gaps_ms: tuple[float, ...] = field(default=(), repr=False)
    tpot_ms: float | None = None
    e2e_latency_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int = 0
    token_count_source: str = "chunks"  # noqa: S105 - a token of text
    output_length: int = 0
    error: str | None = None

    @property
    def tokens_per_second(self) -> float | None:
        """Output tokens by end-to-end latency (``user.osl_over_e2e``); None if the request failed."""
        if not self.e2e_latency_ms:
            return None
        return self.completion_tokens / (self.e2e_latency_ms / 1000)


SampleObserver = Callable[[RequestSample], None]
"""Told of each request as it ends, failed ones too; from the event loop's thread."""


class _Arrivals:
    """What has arrived of one stream, as far as it came."""

    __slots__ = ("content_times", "output_length", "tokens", "uncounted", "usage")

    def __init__(self) -> None:
        self.content_times: list[float] = []
        self.output_length = 0
        self.tokens = 0
        self.uncounted = 0
        self.usage: Usage | None = None

    async def receive(self, stream: AsyncIterator[Chunk], clock: Clock) -> None:
        # At high concurrency this loop is the load generator: no call per chunk but the clock and the list.
        async with closing(stream) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    self.content_times.append(clock())
                    self.output_length += len(chunk.text)
                    if chunk.tokens:
                        self.tokens += chunk.tokens
                    else:
                        self.uncounted += 1
                elif chunk.tokens:
                    self.tokens += chunk.tokens
                if chunk.usage is not None:
                    self.usage = chunk.usage

    def count(self) -> tuple[int, str]:
        if self.usage is not None:
            return self.usage.completion_tokens, self.usage.source
        if not self.uncounted:
            return self.tokens, "engine"
        return len(self.content_times), "chunks"


async def measure_request(
    session: EngineSession,
    request: GenerationRequest,
    *,
    clock: Clock,
    origin: float = 0.0,
    on_sample: SampleObserver | None = None,
) -> RequestSample:
    """Stream one request to its end and measure it.

    A request that fails gives a sample with ``error``: whatever the engine raises, be it a defect of its
    plugin, concerns this request only. Cancellation passes.

    Args:
        session: The open engine.
        request: What to ask.
        clock: Where the time comes from.
        origin: The clock's reading that ``started_at`` counts from.
        on_sample: Told of the sample, before `EngineLostError` is raised too.

    Raises:
        EngineLostError: The engine is gone; the request has failed, and so would every further one.
    """
    arrivals = _Arrivals()
    error: str | None = None
    lost: EngineLostError | None = None
    sent = clock()
    try:
        await arrivals.receive(session.stream(request), clock)
    except KittError as failure:
        error = failure.message
        lost = failure if isinstance(failure, EngineLostError) else None
    except Exception as failure:  # noqa: BLE001 - engines are third-party code
        # Only the type is kept: the text of a foreign exception may quote an URL with a password.
        _log.debug("the engine raised", exc_info=True)
        error = f"the engine raised {type(failure).__name__}, which is a defect of its plugin"
    ended = clock()
    if error is None and not arrivals.content_times:
        error = _NO_CONTENT
    sample = _sample(request, arrivals, sent=sent, ended=ended, origin=origin, error=error)
    if on_sample is not None:
        on_sample(sample)
    if lost is not None:
        raise lost
    return sample


@asynccontextmanager
async def closing(stream: AsyncIterator[Chunk]) -> AsyncIterator[AsyncIterator[Chunk]]:
    """Close ``stream`` at the end of the block, if it is of a kind that can be closed.

    A generator left half-way would keep its connection until the garbage collector comes by.
    """
    try:
        yield stream
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


def _sample(
    request: GenerationRequest,
    arrivals: _Arrivals,
    *,
    sent: float,
    ended: float,
    origin: float,
    error: str | None,
) -> RequestSample:
    times = arrivals.content_times
    tokens, source = arrivals.count()
    ttft = (times[0] - sent) * 1000 if times else None
    e2e = (ended - sent) * 1000 if error is None else None
    return RequestSample(
        request=request,
        started_at=sent - origin,
        finished_at=ended - origin,
        ttft_ms=ttft,
        gaps_ms=tuple((late - early) * 1000 for early, late in pairwise(times)),
        tpot_ms=(e2e - ttft) / (tokens - 1) if e2e is not None and ttft is not None and tokens > 1 else None,
        e2e_latency_ms=e2e,
        prompt_tokens=None if arrivals.usage is None else arrivals.usage.prompt_tokens,
        completion_tokens=tokens,
        token_count_source=source,
        output_length=arrivals.output_length,
        error=error,
    )
