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

from kitt_core.benchmarking.population import SeenTokens, most_shared
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
        ttfo_ms: First content chunk that is not reasoning minus T0 (``ttfo.client``); None if there was none.
        gaps_ms: Each gap between consecutive content chunks (``itl.gap``); none if most chunks came together with
            others (see ``shared_reads``).
        tpot_ms: (E2E - TTFT) / (n - 1) (``tpot.excl_first``); None if there is a reason in ``no_tpot``, and if the
            request failed. Reasoning tokens that were counted but not sent are not among the n: it is the time per
            token that arrived.
        no_tpot: Why there is no TPOT.
        e2e_latency_ms: Last content chunk minus T0 (``e2e.client``); None if the request failed.
        prompt_tokens: Input tokens, None if nobody counted them.
        completion_tokens: Output tokens n.
        reasoning_tokens: How many of them are reasoning, None if nobody counted those.
        reasoning_chunks: Chunks that are reasoning.
        token_count_source: Who counted n: the source of the engine's `Usage`; ``engine`` if its chunks say how
            many tokens they contain; otherwise ``chunks``, which takes each content chunk for one token. None if
            there was nothing to count.
        output_length: Characters of text that arrived.
        chunks: Chunks of text that arrived.
        shared_reads: How many of them were delivered together with the chunk before, and so have no time of their
            own.
        retries: How often the request had to be sent again. The times of a request with retries include waiting.
        error: Why the request failed, in one line; None if it did not.
        number: The request's number in its load, from 1, in the order of sending.
        concurrency: The load's maximum number of requests in flight.
    """

    prompt: str = field(repr=False)
    started_at: float
    finished_at: float
    ttft_ms: float | None = None
    ttfo_ms: float | None = None
    gaps_ms: Sequence[float] = field(default=(), repr=False, hash=False)
    tpot_ms: float | None = None
    no_tpot: str | None = None
    e2e_latency_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int = 0
    reasoning_tokens: int | None = None
    reasoning_chunks: int = 0
    token_count_source: str | None = None
    output_length: int = 0
    chunks: int = 0
    shared_reads: int = 0
    retries: int = 0
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

    __slots__ = (
        "answered_at",
        "content_times",
        "output_length",
        "reasoning_chunks",
        "retries",
        "shared_reads",
        "tokens",
        "uncounted",
        "usage",
    )

    def __init__(self) -> None:
        self.answered_at: float | None = None
        self.content_times: list[float] = []
        self.reasoning_chunks = 0
        self.shared_reads = 0
        self.retries = 0
        self.output_length = 0
        self.tokens = 0
        self.uncounted = 0
        self.usage: Usage | None = None

    async def receive(self, stream: AsyncIterator[Chunk], clock: Clock) -> None:
        # At high concurrency this loop is the load generator, so the only calls per chunk are clock and append.
        async with closing(stream) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    now = clock()
                    self.content_times.append(now)
                    self.output_length += len(chunk.text)
                    if chunk.tokens:
                        self.tokens += chunk.tokens
                    else:
                        self.uncounted += 1
                    if chunk.reasoning:
                        self.reasoning_chunks += 1
                    elif self.answered_at is None:
                        self.answered_at = now
                    if not chunk.own_time:
                        self.shared_reads += 1
                elif chunk.tokens:
                    self.tokens += chunk.tokens
                if chunk.usage is not None:
                    self.usage = chunk.usage
                if chunk.retries:
                    self.retries = chunk.retries

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
    times, usage = arrivals.content_times, arrivals.usage
    tokens, source = arrivals.count()
    ttft = (times[0] - sent) * 1000 if times else None
    e2e = (times[-1] - sent) * 1000 if times and error is None else None
    seen = SeenTokens.of(
        tokens,
        usage,
        chunks=len(times),
        reasoning_chunks=arrivals.reasoning_chunks,
        shared_reads=arrivals.shared_reads,
        length=arrivals.output_length,
    )
    spread = e2e - ttft if e2e is not None and ttft is not None else None
    gaps = () if most_shared(len(times), arrivals.shared_reads) else pairwise(times)
    return RequestSample(
        prompt=request.prompt[:_PROMPT_CHARACTERS],
        started_at=sent - origin,
        finished_at=ended - origin,
        ttft_ms=ttft,
        ttfo_ms=None if arrivals.answered_at is None else (arrivals.answered_at - sent) * 1000,
        gaps_ms=array("d", ((late - early) * 1000 for early, late in gaps)),
        tpot_ms=spread / (seen.count - 1) if spread is not None and seen.reason is None else None,
        no_tpot=seen.reason,
        e2e_latency_ms=e2e,
        prompt_tokens=None if usage is None else usage.prompt_tokens,
        completion_tokens=tokens,
        reasoning_tokens=None if usage is None else usage.reasoning_tokens,
        reasoning_chunks=arrivals.reasoning_chunks,
        token_count_source=source,
        output_length=arrivals.output_length,
        chunks=len(times),
        shared_reads=arrivals.shared_reads,
        retries=arrivals.retries,
        error=error,
    )
