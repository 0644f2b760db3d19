"""What a benchmark is: something that sends requests through a load and returns metrics."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from attrs import Factory, evolve, frozen

from kitt_core.benchmarking.load import ClosedLoop, LoadResult, client_metrics, client_warnings, failure_lines
from kitt_core.benchmarking.samples import CHUNKS, RequestSample, SampleObserver, rounded
from kitt_core.benchmarking.streaming import Metrics, streaming_warnings
from kitt_core.benchmarking.workload import Workload, WorkloadChanges

__all__ = [
    "Benchmark",
    "BenchmarkOutcome",
    "Metrics",
    "Phases",
    "not_measured_for_failures",
    "token_count_source",
    "token_warnings",
]


@frozen
class BenchmarkOutcome:
    """What a benchmark found.

    Attributes:
        metrics: The numbers.
        errors: One line per failed request; the benchmark has passed if there are none.
        warmup_times: Seconds that each warm-up request took.
        not_measured: Metrics that are left out, each with the reason.
        warnings: What to bear in mind when reading the numbers, one line each.
        token_count_source: Who counted the output tokens, None if no count was needed.
        skipped: Why nothing was measured at all, None if something was.
        gave_up: After how many failures it stopped sending, as a sentence; None if it did not.
        incomplete: How many of its requests were measured if the run ended in it, as ``43 of 400 requests``.
        stopped: What ended it before all requests were answered, None if nothing did. The metrics are those of
            the requests that were answered until then.
    """

    metrics: Metrics = Factory(dict)
    errors: Sequence[str] = ()
    warmup_times: Sequence[float] = ()
    not_measured: Mapping[str, str] = Factory(dict)
    warnings: Sequence[str] = ()
    token_count_source: str | None = None
    skipped: str | None = None
    gave_up: str | None = None
    incomplete: str | None = None
    stopped: BaseException | None = None


@frozen
class Phases:
    """The two loads of a benchmark.

    Attributes:
        warmups: The warm-up requests.
        measured: The measured requests; none if the warm-up gave up already.
        planned: How many requests should have been measured.
    """

    warmups: LoadResult
    measured: LoadResult
    planned: int

    @property
    def stopped(self) -> BaseException | None:
        """What ended the loads early, None if nothing did."""
        return self.warmups.stopped or self.measured.stopped

    @property
    def gave_up(self) -> str | None:
        """After how many failures no more requests were sent, as a sentence; None if that did not happen."""
        failures = self.warmups.gave_up_after or self.measured.gave_up_after
        if failures is None:
            return None
        left = self.planned - len(self.measured.samples)
        unsent = "1 request was" if left == 1 else f"{left} requests were"
        return f"gave up after {failures} failures in a row; {unsent} not sent"

    @property
    def errors(self) -> list[str]:
        """One line for each request that failed, warm-up requests included, and one for giving up."""
        lines = [*failure_lines(self.warmups.samples, kind="warm-up"), *failure_lines(self.measured.samples)]
        return [*lines, self.gave_up] if self.gave_up else lines

    def outcome(
        self, metrics: Metrics, not_measured: Mapping[str, str] | None = None, *, counts_tokens: bool = True
    ) -> BenchmarkOutcome:
        """Return these metrics as an outcome, with everything else that the loads provide."""
        share = self.measured.client_busy_share
        return BenchmarkOutcome(
            metrics=metrics | client_metrics(share),
            errors=self.errors,
            warmup_times=[rounded(sample.finished_at - sample.started_at) for sample in self.warmups.samples],
            not_measured=not_measured or {},
            warnings=[
                *client_warnings(share),
                *(streaming_warnings(self.measured.successful) if counts_tokens else ()),
                *(token_warnings(self.measured.successful) if counts_tokens else ()),
            ],
            token_count_source=token_count_source(self.measured.successful) if counts_tokens else None,
            gave_up=self.gave_up,
            stopped=self.stopped,
        )


@frozen
class Benchmark(abc.ABC):
    """A benchmark with its settings.

    Attributes:
        workload: The requests that it sends.
    """

    name: ClassVar[str]
    """The ``test_name`` in the document."""
    version: ClassVar[str] = "1.0.0"
    """The ``test_version`` in the document; incremented when the meaning of a metric changes."""
    repeatable: ClassVar[bool] = True
    """False if a second run in the same session would measure something else."""
    overlapping: ClassVar[bool] = True
    """False if it sends one request at a time, whatever the workload says."""

    workload: Workload = Factory(Workload)

    def settings_for(self, load: ClosedLoop) -> dict[str, Any]:
        """Return what the metrics depend on, with the concurrency that the load supports."""
        return self.workload.settings() | {"concurrency": self.concurrency(load)}

    def concurrency(self, load: ClosedLoop) -> int:
        """Return the maximum number of requests in flight."""
        return (
            load.concurrency(min(self.workload.concurrency, self.workload.iterations)) if self.overlapping else 1
        )

    def total_requests(self, *, warm_up: bool = True) -> int:
        """Return how many requests one run of it sends."""
        return self.workload.iterations + (self.workload.warmups if warm_up else 0)

    def changed(self, changes: WorkloadChanges) -> Self:
        """Return the benchmark with the user's changes."""
        return evolve(self, workload=changes.applied(self.workload, overlapping=self.overlapping))

    def failure_lines(self, samples: Sequence[RequestSample]) -> list[str]:
        """Return one line for each measured request that failed, for a benchmark that a defect has ended."""
        return failure_lines(samples)

    @abc.abstractmethod
    async def run(
        self,
        load: ClosedLoop,
        *,
        warm_up: bool = True,
        on_sample: SampleObserver,
        on_warmup: SampleObserver,
    ) -> BenchmarkOutcome:
        """Send the requests and evaluate them.

        Args:
            load: How to send them.
            warm_up: Whether to send the warm-up requests first.
            on_sample: Called with each measured request when it ends.
            on_warmup: Called with each warm-up request when it ends.

        Returns:
            What was found; if the load ended early, in the requests that were answered until then, with the cause
            in `BenchmarkOutcome.stopped`.
        """

    async def _warm_up(self, load: ClosedLoop, *, wanted: bool, on_warmup: SampleObserver) -> LoadResult:
        return await load.run(self.workload.warmup_requests() if wanted else (), on_sample=on_warmup)

    async def _measure(self, load: ClosedLoop, warmups: LoadResult, *, on_sample: SampleObserver) -> Phases:
        hopeless = warmups.gave_up_after is not None or warmups.stopped is not None
        measured = await load.run(
            () if hopeless else self.workload.measured_requests(),
            concurrency=self.concurrency(load),
            seconds=self.workload.seconds,
            on_sample=on_sample,
        )
        return Phases(warmups, measured, planned=self.workload.iterations)


def token_count_source(samples: Sequence[RequestSample]) -> str | None:
    """Return who counted the output tokens (joined by commas if several did), None if no request succeeded."""
    return ",".join(sorted({sample.token_count_source or "" for sample in samples} - {""})) or None


def token_warnings(samples: Sequence[RequestSample]) -> list[str]:
    """Return a warning if the output tokens of any request were not counted."""
    if not any(sample.token_count_source == CHUNKS for sample in samples):
        return []
    return ["the tokens were not counted: each chunk was taken for one token; TPOT and token rates depend on that"]


def not_measured_for_failures(names: Sequence[str]) -> dict[str, str]:
    """Return the reason for metrics that are missing because every request failed."""
    return dict.fromkeys(names, "no request succeeded")
