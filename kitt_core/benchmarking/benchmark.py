"""What a benchmark is: something that sends requests through a load and returns metrics."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
from attrs import Factory, frozen

from kitt_core.benchmarking.distribution import rounded
from kitt_core.benchmarking.load import ClosedLoop, LoadResult, SampleObserver, failure_lines
from kitt_core.benchmarking.samples import RequestSample
from kitt_core.benchmarking.workload import Workload

__all__ = [
    "Benchmark",
    "BenchmarkOutcome",
    "Metrics",
    "failures",
    "not_measured_for_failures",
    "token_count_source",
    "warmup_times",
]

Metrics = dict[str, float | dict[str, float]]
"""Numbers by name; a nested object becomes dotted names in the store (``ttft_ms.p99``)."""


@frozen
class BenchmarkOutcome:
    """What a benchmark found.

    Attributes:
        metrics: The numbers.
        errors: A line per failed request; the benchmark has passed if there is none.
        warmup_times: Seconds that each warm-up request took.
        not_measured: Metrics that are left out, each with the reason.
        token_count_source: Who counted the output tokens, None if none were needed.
        skipped: Why nothing was measured at all, None if something was.
    """

    metrics: Metrics = Factory(dict)
    errors: Sequence[str] = ()
    warmup_times: Sequence[float] = ()
    not_measured: Mapping[str, str] = Factory(dict)
    token_count_source: str | None = None
    skipped: str | None = None


@frozen
class Benchmark(abc.ABC):
    """A benchmark with its settings.

    Attributes:
        workload: The requests that it sends.
    """

    name: ClassVar[str]
    """What stands as ``test_name`` in the document."""
    version: ClassVar[str] = "1.0.0"
    """Raised when the meaning of a metric changes; ``test_version`` in the document."""
    repeatable: ClassVar[bool] = True
    """False if a second run in the same session would measure something else."""

    workload: Workload = Factory(Workload)

    def settings_for(self, load: ClosedLoop) -> dict[str, Any]:
        """Return what the metrics depend on, with the concurrency that the load makes possible."""
        settings = attrs.asdict(self.workload)
        return settings | {"concurrency": load.concurrency(self.workload.concurrency)}

    def total_requests(self, *, warm_up: bool = True) -> int:
        """Return how many requests one run of it sends."""
        return self.workload.iterations + (self.workload.warmups if warm_up else 0)

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
            on_sample: Told of each measured request as it ends.
            on_warmup: Told of each warm-up request as it ends.
        """

    async def _warm_up(self, load: ClosedLoop, *, wanted: bool, on_warmup: SampleObserver) -> LoadResult:
        return await load.run(self.workload.warmup_requests() if wanted else (), on_sample=on_warmup)

    async def _measure(self, load: ClosedLoop, *, on_sample: SampleObserver) -> LoadResult:
        workload = self.workload
        return await load.run(
            workload.measured_requests(),
            concurrency=workload.concurrency,
            seconds=workload.seconds,
            on_sample=on_sample,
        )


def warmup_times(warmups: LoadResult) -> list[float]:
    """Return what each warm-up request took, in seconds; failed ones too, for they warmed something up."""
    return [rounded(sample.finished_at - sample.started_at) for sample in warmups.samples]


def failures(warmups: LoadResult, measured: LoadResult) -> list[str]:
    """Return a line for each request that failed; a failed warm-up is a failure too."""
    return [*failure_lines(warmups.samples, kind="warm-up"), *failure_lines(measured.samples)]


def token_count_source(samples: Sequence[RequestSample]) -> str | None:
    """Return who counted the output tokens, several joined by commas, None if no request succeeded."""
    return ",".join(sorted({sample.token_count_source for sample in samples})) or None


def not_measured_for_failures(names: Sequence[str]) -> dict[str, str]:
    """Return the reason for metrics that are missing because every request failed."""
    return dict.fromkeys(names, "no request succeeded")
