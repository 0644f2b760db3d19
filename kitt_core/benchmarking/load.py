"""How requests follow each other.

A load is a class with ``run(requests) -> LoadResult``. `ClosedLoop` sends the next request when one has been
answered; an open loop, which sends by the clock whatever has been answered, fits beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from attrs import field, frozen

from kitt_core.benchmarking.samples import Clock, RequestSample, measure_request
from kitt_core.engine import EngineSession, GenerationRequest

__all__ = ["ClosedLoop", "LoadResult", "SampleObserver", "failure_lines"]

SampleObserver = Callable[[RequestSample], None]
"""Told of each request as it ends, failed ones too; from the event loop's thread."""


@frozen
class LoadResult:
    """The requests of one load.

    Attributes:
        samples: One per request, in the order of the requests.
        duration_seconds: Start of the first request to the end of the last (``duration.wall``).
    """

    samples: tuple[RequestSample, ...] = field(repr=False)
    duration_seconds: float

    @property
    def successful(self) -> tuple[RequestSample, ...]:
        """The samples of requests that did not fail: the population of all metrics."""
        return tuple(sample for sample in self.samples if sample.error is None)


@frozen
class ClosedLoop:
    """Keeps a number of requests in flight until all are answered.

    Attributes:
        session: The open engine.
        clock: Where the time comes from.
        origin: The clock's reading that the samples' ``started_at`` counts from.
    """

    session: EngineSession
    clock: Clock = time.perf_counter
    origin: float = 0.0

    def concurrency(self, wanted: int) -> int:
        """Return how many requests will be in flight: one for a session whose requests can't overlap."""
        return max(1, wanted) if self.session.concurrent else 1

    async def run(
        self,
        requests: Iterable[GenerationRequest],
        *,
        concurrency: int = 1,
        seconds: float | None = None,
        on_sample: SampleObserver | None = None,
    ) -> LoadResult:
        """Send the requests, at most ``concurrency`` at a time, and return when the last has ended.

        Args:
            requests: What to send, in order.
            concurrency: Requests in flight.
            seconds: Send no further request after this time; each worker sends one at least.
            on_sample: Told of each request as it ends.
        """
        waiting = enumerate(requests)
        samples: dict[int, RequestSample] = {}
        started = self.clock()

        async def work() -> None:
            # The iterator is shared: each worker takes the next request as soon as its own is answered.
            for index, request in waiting:
                sample = await measure_request(self.session, request, clock=self.clock, origin=self.origin)
                samples[index] = sample
                if on_sample is not None:
                    on_sample(sample)
                if seconds is not None and self.clock() - started >= seconds:
                    return

        workers = self.concurrency(concurrency)
        if workers == 1:
            # Without a task of its own a KeyboardInterrupt reaches the caller instead of the event loop.
            await work()
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(work())
        ordered = tuple(samples[index] for index in sorted(samples))
        return LoadResult(samples=ordered, duration_seconds=_duration(ordered))


def failure_lines(samples: Sequence[RequestSample], *, kind: str = "request") -> list[str]:
    """Return a line for each failed request, with its number from 1; ``kind`` says what it is called."""
    return [
        f"{kind} {number}: {sample.error}" for number, sample in enumerate(samples, 1) if sample.error is not None
    ]


def _duration(samples: Sequence[RequestSample]) -> float:
    if not samples:
        return 0.0
    first = min(sample.started_at for sample in samples)
    return max(sample.finished_at for sample in samples) - first
