"""Sending requests in a closed loop, and whether the load generator itself was the limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from kitt_core.benchmarking.samples import Clock, RequestSample, SampleObserver, measure_request, rounded
from kitt_core.engine import EngineSession, GenerationRequest
from kitt_core.errors import EngineLostError

__all__ = ["BUSY", "ClosedLoop", "LoadResult", "busy_time", "client_metrics", "client_warnings", "failure_lines"]

BUSY: Final = 0.8
"""From this share on, a measurement says as much about KITT as about the server."""
_SCHEDULER: Final = Path("/proc/thread-self/schedstat")


def busy_time() -> float:
    """Return the seconds for which this thread has been running or, if Linux reports it, waiting for a CPU.

    A thread that has to wait for a CPU is as late as one that has too much to do.
    """
    try:
        # The file's running time is only updated with each tick of the kernel's clock.
        _, waited, _ = _SCHEDULER.read_text(encoding="ascii").split()
    except (OSError, ValueError):  # another system, or a kernel without these statistics
        return time.thread_time()
    return time.thread_time() + int(waited) / 1e9


def client_metrics(share: float | None) -> dict[str, float]:
    """Return ``client_busy_share``: the share of the time in which the thread that sends and receives was busy.

    Args:
        share: The share for a load; None gives no metric.
    """
    return {} if share is None else {"client_busy_share": rounded(share)}


def client_warnings(share: float | None, *, where: str = "") -> list[str]:
    """Return a warning if the load generator was so busy that it may have been the limit.

    Args:
        share: The share for a load; None gives no warning.
        where: The prefix that names the part of the benchmark, if it has several.
    """
    if share is None or share < BUSY:
        return []
    return [
        f"{where}the load generator was busy {share:.0%} of the time: it may be the limit here, not the server"
    ]


_FEWEST_FAILURES: Final = 3
_SHORTEST_WATCHED: Final = 0.01
"""Seconds; the busy share of a shorter load says more about its start and end than about the machine."""


@frozen
class LoadResult:
    """The requests of one load.

    Attributes:
        samples: One per request that was sent, in the order of the requests.
        duration_seconds: Start of the first request to the end of the last (``duration.wall``).
        gave_up_after: After how many failures in a row no more requests were sent; None if that did not happen.
        stopped: What ended the load before all requests were answered, None if nothing did: a cancellation, an
            interruption or the loss of the engine. The samples are those of the requests that had ended.
        client_busy_share: The share of the time in which this thread was busy, 0 to 1; None if tokens are
            generated in this process, where it would say nothing about the load generator, and for a load without
            requests or shorter than 10 ms.
    """

    samples: tuple[RequestSample, ...] = field(repr=False)
    duration_seconds: float
    gave_up_after: int | None = None
    client_busy_share: float | None = None
    stopped: BaseException | None = None

    @property
    def successful(self) -> tuple[RequestSample, ...]:
        """The samples of requests that did not fail: the population of all metrics."""
        return tuple(sample for sample in self.samples if sample.error is None)


@frozen
class ClosedLoop:
    """Keeps a number of requests in flight until all are answered.

    Attributes:
        session: The open engine.
        clock: Returns the time.
        origin: The clock's reading that the samples' ``started_at`` is relative to.
        busy_clock: Returns the seconds for which the calling thread has been busy.
    """

    session: EngineSession
    clock: Clock = time.perf_counter
    origin: float = 0.0
    busy_clock: Clock = busy_time

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

        After as many failures in a row as requests may be in flight, but at least three, no more are sent, because
        an engine that lets every request time out would take all day.

        Args:
            requests: What to send, in order.
            concurrency: Requests in flight.
            seconds: Send no more requests after this time; each worker sends at least one.
            on_sample: Called with each request when it ends.

        What ends the load early is returned and not raised, so that what was measured can be evaluated: see
        `LoadResult.stopped`. Requests in flight are cancelled then.
        """
        workers = self.concurrency(concurrency)
        waiting = enumerate(requests, 1)
        answers = _Answers(on_sample, most_failures=max(_FEWEST_FAILURES, workers))
        started, busy_before = self.clock(), self.busy_clock()

        async def work() -> None:
            # The iterator is shared: each worker takes the next request as soon as its last one is answered.
            for number, request in waiting:
                await measure_request(
                    self.session,
                    request,
                    clock=self.clock,
                    origin=self.origin,
                    number=number,
                    concurrency=workers,
                    on_sample=answers.add,
                )
                if answers.hopeless or (seconds is not None and self.clock() - started >= seconds):
                    return

        stopped: BaseException | None = None
        try:
            if workers == 1:
                # Without a separate task, a KeyboardInterrupt reaches the caller instead of the event loop.
                await work()
            else:
                await _side_by_side(work, workers)
        except (EngineLostError, asyncio.CancelledError, KeyboardInterrupt) as cause:
            stopped = cause
        samples = answers.in_order()
        return LoadResult(
            samples=samples,
            duration_seconds=_duration(samples),
            gave_up_after=answers.most_failures if answers.hopeless and stopped is None else None,
            stopped=stopped,
            client_busy_share=(
                self._busy_share(self.clock() - started, self.busy_clock() - busy_before) if samples else None
            ),
        )

    def _busy_share(self, seconds: float, busy_seconds: float) -> float | None:
        if not self.session.remote or seconds < _SHORTEST_WATCHED:
            return None
        return min(1.0, busy_seconds / seconds)


class _Answers:
    """Collects the samples of a load as they come in."""

    def __init__(self, observer: SampleObserver | None, *, most_failures: int) -> None:
        self.most_failures = most_failures
        self.hopeless = False
        self._observer = observer
        self._samples: list[RequestSample] = []
        self._failures_in_a_row = 0

    def add(self, sample: RequestSample) -> None:
        self._samples.append(sample)
        self._failures_in_a_row = 0 if sample.error is None else self._failures_in_a_row + 1
        self.hopeless = self.hopeless or self._failures_in_a_row >= self.most_failures
        if self._observer is not None:
            self._observer(sample)

    def in_order(self) -> tuple[RequestSample, ...]:
        return tuple(sorted(self._samples, key=lambda sample: sample.number))


async def _side_by_side(work: Callable[[], Coroutine[Any, Any, None]], workers: int) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except BaseExceptionGroup as failures:
        # Several workers may fail for the same reason at once; raising one of the errors is enough.
        lost = (error for error in failures.exceptions if isinstance(error, EngineLostError))
        raise next(lost, failures.exceptions[0]) from None


def failure_lines(samples: Sequence[RequestSample], *, kind: str = "request") -> list[str]:
    """Return one line for each failed request, with its number in its load; ``kind`` is what to call it."""
    return [f"{kind} {sample.number}: {sample.error}" for sample in samples if sample.error is not None]


def _duration(samples: Sequence[RequestSample]) -> float:
    if not samples:
        return 0.0
    first = min(sample.started_at for sample in samples)
    return max(sample.finished_at for sample in samples) - first
