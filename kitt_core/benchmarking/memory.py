"""Benchmark ``memory``: how much memory the engine uses while it works."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Final

import attrs
from attrs import frozen

from kitt_core.benchmarking.benchmark import Benchmark, BenchmarkOutcome, Metrics
from kitt_core.benchmarking.load import ClosedLoop
from kitt_core.benchmarking.samples import Clock, SampleObserver, closing, rounded
from kitt_core.engine import Chunk, EngineSession, GenerationRequest
from kitt_core.runs.statistics import mean

__all__ = ["Memory"]

_INTERVAL_SECONDS: Final = 0.02
_EXPECTED: Final = {
    "gpu_memory_gb": "the engine reports no GPU memory",
    "host_memory_gb": "the engine reports no host memory",
}


@frozen
class Memory(Benchmark):
    """Peak and average of each memory figure that the engine reports, read while requests are answered."""

    name: ClassVar[str] = "memory"

    async def run(
        self, load: ClosedLoop, *, warm_up: bool = True, on_sample: SampleObserver, on_warmup: SampleObserver
    ) -> BenchmarkOutcome:
        """Send the workload and evaluate it; see `Benchmark.run`."""
        reported = load.session.memory_gb()
        if not reported:
            return BenchmarkOutcome(skipped="the engine reports no memory figures")
        before = await self._warm_up(load, wanted=warm_up, on_warmup=on_warmup)
        watched = _WatchedSession(load.session, load.clock)
        phases = await self._measure(attrs.evolve(load, session=watched), before, on_sample=on_sample)
        metrics: Metrics = {"total_iterations": len(phases.measured.successful)}
        for name, readings in watched.readings.items():
            metrics[f"overall_peak_{name}"] = rounded(max(readings))
            metrics[f"overall_avg_{name}"] = rounded(mean(readings))
        reasons = _EXPECTED | dict.fromkeys(reported, "nothing was measured, since no request was answered")
        missing = {
            f"overall_{statistic}_{name}": why
            for name, why in reasons.items()
            if name not in watched.readings
            for statistic in ("peak", "avg")
        }
        return phases.outcome(metrics, missing, counts_tokens=False)


class _WatchedSession(EngineSession):
    """A session whose memory is read while its chunks pass, every 20 ms and at the end of a request.

    Reading between chunks needs no second task, so each figure belongs to the moment at which a token arrived.
    """

    def __init__(self, session: EngineSession, clock: Clock) -> None:
        self.model = session.model
        self.concurrent = session.concurrent
        self.remote = session.remote
        self.readings: dict[str, list[float]] = {}
        self._session = session
        self._clock = clock
        self._read_at: float | None = None

    async def stream(self, request: GenerationRequest) -> AsyncIterator[Chunk]:
        async with closing(self._session.stream(request)) as chunks:
            async for chunk in chunks:
                if self._is_due() or chunk.usage is not None:
                    self._read()
                yield chunk

    def memory_gb(self) -> Mapping[str, float]:
        return self._session.memory_gb()

    def describe(self) -> Mapping[str, Any]:
        return self._session.describe()

    def _is_due(self) -> bool:
        return self._read_at is None or self._clock() - self._read_at >= _INTERVAL_SECONDS

    def _read(self) -> None:
        self._read_at = self._clock()
        for name, value in self._session.memory_gb().items():
            self.readings.setdefault(name, []).append(value)
