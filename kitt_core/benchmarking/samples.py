"""Measuring one streamed request, and summarising many."""

from __future__ import annotations

import asyncio
import logging
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Final

from attrs import evolve, field, frozen

from kitt_core.engine import Chunk, EngineSession, GenerationRequest, Usage
from kitt_core.errors import EngineLostError, KittError
from kitt_core.runs.statistics import mean, percentile, sample_deviation

__all__ = [
    "CHUNKS",
    "PERCENTILE_METHOD",
    "Clock",
    "RequestSample",
    "SampleObserver",
    "closing",
    "distribution",
    "measure_request",
    "rounded",
]

PERCENTILE_METHOD: Final = "linear interpolation between closest ranks (Hyndman-Fan type 7)"
"""The ``percentile_method`` of every document; `kitt_core.runs.statistics.percentile` implements it."""

_PERCENTILES: Final = (50.0, 90.0, 95.0, 99.0)
_DECIMALS: Final = 6


def distribution(samples: Sequence[float]) -> dict[str, float]:
    """Summarise samples as the keys ``mean stddev min max p50 p90 p95 p99``, in the samples' unit.

    ``stddev`` is the sample standard deviation and is missing for a single sample; percentiles interpolate
    between the closest ranks. Values are rounded to six decimals.

    Raises:
        ValueError: There are no samples.
    """
    ordered = sorted(samples)
    summary = {"mean": mean(ordered)}
    deviation = sample_deviation(ordered)
    if deviation is not None:
        summary["stddev"] = deviation
    summary["min"] = ordered[0]
    summary["max"] = ordered[-1]
    for percent in _PERCENTILES:
        summary[f"p{percent:g}"] = percentile(ordered, percent)
    return {name: rounded(value) for name, value in summary.items()}


def rounded(value: float) -> float:
    """Round as all measured values in a document are rounded: to six decimals (a nanosecond, for values in ms)."""
    return round(value, _DECIMALS)


Clock = Callable[[], float]
"""Returns seconds that never run backwards, such as `time.perf_counter`."""

CHUNKS: Final = "chunks"
"""The source when nobody counted: each content chunk is taken for one token."""
_PROMPT_CHARACTERS: Final = 100
"""How much of a prompt is kept: thousands of long ones would fill the memory."""
_NO_CONTENT: Final = "the engine ended the stream without any text"

_log = logging.getLogger(__name__)


@frozen
class RequestSample:
    """What was measured of one request. Times in milliseconds are None if the request did not get that far.

    Attributes:
        prompt: The beginning of the prompt, at most 100 characters.
        started_at: T0, in seconds after the load's origin.
        finished_at: When the response had ended or failed, on the same scale, including whatever came after the
            last text.
        ttft_ms: First content chunk minus T0 (``ttft.client``).
        gaps_ms: Each gap between consecutive content chunks (``itl.gap``).
        tpot_ms: (E2E - TTFT) / (n - 1) (``tpot.excl_first``); None for fewer than two output tokens, and if all of
            them came in one chunk.
        e2e_latency_ms: Last content chunk minus T0 (``e2e.client``); None if the request failed.
        prompt_tokens: Input tokens, None if nobody counted them.
        completion_tokens: Output tokens n.
        token_count_source: Who counted n: the source of the engine's `Usage`; ``engine`` if its chunks say how
            many tokens they contain; otherwise ``chunks``, which takes each content chunk for one token. None if
            there was nothing to count.
        output_length: Characters of text that arrived.
        error: Why the request failed, in one line; None if it did not.
        number: The request's number in its load, from 1, in the order of sending.
        concurrency: The load's maximum number of requests in flight.
    """

    prompt: str = field(repr=False)
    started_at: float
    finished_at: float
    ttft_ms: float | None = None
    gaps_ms: Sequence[float] = field(default=(), repr=False, hash=False)
    tpot_ms: float | None = None
    e2e_latency_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int = 0
    token_count_source: str | None = None
    output_length: int = 0
    error: str | None = None
    number: int = 1
    concurrency: int = 1

    @property
    def tokens_per_second(self) -> float | None:
        """Output tokens divided by end-to-end latency (``user.osl_over_e2e``); None if the request failed."""
        if not self.e2e_latency_ms:
            return None
        return self.completion_tokens / (self.e2e_latency_ms / 1000)


SampleObserver = Callable[[RequestSample], None]
"""Called with each request when it ends, even if it failed, in the event loop's thread."""


class _Arrivals:
    """What has arrived of one stream so far."""

    __slots__ = ("content_times", "output_length", "tokens", "uncounted", "usage")

    def __init__(self) -> None:
        self.content_times: list[float] = []
        self.output_length = 0
        self.tokens = 0
        self.uncounted = 0
        self.usage: Usage | None = None

    async def receive(self, stream: AsyncIterator[Chunk], clock: Clock) -> None:
        # At high concurrency this loop is the load generator, so the only calls per chunk are clock and append.
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

    def count(self) -> tuple[int, str | None]:
        if self.usage is not None:
            return self.usage.completion_tokens, self.usage.source
        if not self.content_times and not self.tokens:
            return 0, None
        if not self.uncounted:
            return self.tokens, "engine"
        return len(self.content_times), CHUNKS


async def measure_request(
    session: EngineSession,
    request: GenerationRequest,
    *,
    clock: Clock,
    origin: float = 0.0,
    number: int = 1,
    concurrency: int = 1,
    on_sample: SampleObserver | None = None,
) -> RequestSample:
    """Stream one request to its end and measure it.

    A request that fails gives a sample with ``error``: whatever the engine raises, even because of a defect in its
    plugin, affects only this request. Cancellation of the task is passed on, but a `CancelledError` without a
    cancellation is the engine's own and counts as a failure.

    Args:
        session: The open engine.
        request: The request to send.
        clock: Returns the time.
        origin: The clock's reading that ``started_at`` is relative to.
        number: The request's number in its load, for the sample.
        concurrency: How many requests the load keeps in flight, for the sample.
        on_sample: Called with the sample, also before `EngineLostError` is raised.

    Raises:
        EngineLostError: The engine was lost; the request failed, and every further one would too.
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
    except asyncio.CancelledError as failure:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        error = _defect(failure)
    except Exception as failure:  # noqa: BLE001 - engines are third-party code
        error = _defect(failure)
    ended = clock()
    if error is None and not arrivals.content_times:
        error = _NO_CONTENT
    sample = evolve(
        _sample(request, arrivals, sent=sent, ended=ended, origin=origin, error=error),
        number=number,
        concurrency=concurrency,
    )
    if on_sample is not None:
        on_sample(sample)
    if lost is not None:
        raise lost
    return sample


def _defect(failure: BaseException) -> str:
    # Only the type is kept, because the message of a third-party exception may contain a URL with a password.
    _log.debug("the engine raised", exc_info=failure)
    return f"the engine raised {type(failure).__name__}, which is a defect in its plugin"


@asynccontextmanager
async def closing(stream: AsyncIterator[Chunk]) -> AsyncIterator[AsyncIterator[Chunk]]:
    """Close ``stream`` at the end of the block, if it can be closed.

    A generator that is left unfinished would keep its connection until it is garbage-collected.
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
    e2e = (times[-1] - sent) * 1000 if times and error is None else None
    several = tokens > 1 and len(times) > 1  # one chunk says nothing about the time between its tokens
    return RequestSample(
        prompt=request.prompt[:_PROMPT_CHARACTERS],
        started_at=sent - origin,
        finished_at=ended - origin,
        ttft_ms=ttft,
        gaps_ms=array("d", ((late - early) * 1000 for early, late in pairwise(times))),
        tpot_ms=(e2e - ttft) / (tokens - 1) if several and e2e is not None and ttft is not None else None,
        e2e_latency_ms=e2e,
        prompt_tokens=None if arrivals.usage is None else arrivals.usage.prompt_tokens,
        completion_tokens=tokens,
        token_count_source=source,
        output_length=arrivals.output_length,
        error=error,
    )
