"""Running a suite with a session, and making the document from the result."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from attrs import evolve, field, frozen, validators

from kitt_core.benchmarking.benchmark import Benchmark, BenchmarkOutcome
from kitt_core.benchmarking.load import ClosedLoop
from kitt_core.benchmarking.outputs import OutputWriter, output_line
from kitt_core.benchmarking.samples import PERCENTILE_METHOD, Clock, RequestSample, SampleObserver, rounded
from kitt_core.benchmarking.suites import Suite
from kitt_core.engine import EngineSession
from kitt_core.errors import KittError, StoreUnavailableError

__all__ = ["RunOptions", "RunProgress", "SuiteRun", "build_document", "encode", "run_suite"]

_log = logging.getLogger(__name__)

INTERRUPTED: Final = "interrupted"


@frozen
class RunOptions:
    """How the user wants a suite to be run.

    Attributes:
        skip_warmup: Send no warm-up requests.
        runs_override: How often each repeatable benchmark runs, None for what the suite says.
    """

    skip_warmup: bool = False
    runs_override: int | None = field(default=None, validator=validators.optional(validators.ge(1)))


@frozen
class RunProgress:
    """How far a run has got.

    Attributes:
        benchmark: The benchmark that is running.
        run_number: The number of the benchmark's run, from 1.
        requests_done: Requests of the whole suite that have ended.
        requests_total: Requests of the whole suite.
    """

    benchmark: str
    run_number: int
    requests_done: int
    requests_total: int


@frozen
class SuiteRun:
    """The result of running a suite.

    Attributes:
        suite: The suite.
        options: The options that it was run with.
        started_at: When it began (UTC).
        total_time_seconds: How long it took.
        entries: The document's ``results``, one object per benchmark and run number.
        salt: Part of every prompt; equal salts give equal prompts.
        stopped: Why the run ended early, None if it did not. If so, the last entry has not passed, unless the
            interruption came when everything was measured and only samples were still to be written.
        interrupted: Whether the user stopped it (by a signal or cancellation).
        outputs_incomplete: Why samples are missing from the outputs, None if none are.
    """

    suite: Suite
    options: RunOptions
    started_at: datetime
    total_time_seconds: float
    entries: tuple[dict[str, Any], ...] = field(repr=False)
    salt: str = ""
    stopped: str | None = None
    interrupted: bool = False
    outputs_incomplete: str | None = None

    @property
    def passed_count(self) -> int:
        """How many entries passed."""
        return sum(1 for entry in self.entries if entry["passed"])

    @property
    def skipped_count(self) -> int:
        """How many entries were skipped; they neither passed nor failed."""
        return sum(1 for entry in self.entries if entry.get("skipped"))

    @property
    def failed_count(self) -> int:
        """How many entries failed."""
        return len(self.entries) - self.passed_count - self.skipped_count

    @property
    def passed(self) -> bool:
        """Whether something was measured, no entry failed and none is missing."""
        return self.stopped is None and self.passed_count > 0 and self.failed_count == 0


async def run_suite(
    session: EngineSession,
    suite: Suite,
    *,
    options: RunOptions | None = None,
    on_progress: Callable[[RunProgress], None] | None = None,
    outputs: OutputWriter | None = None,
    salt: str = "",
    clock: Clock = time.perf_counter,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> SuiteRun:
    """Run all benchmarks of a suite, one after another.

    Once a request has been answered, the run always returns: on cancellation, KeyboardInterrupt or an
    exception that ends a benchmark it returns what it has, and ``stopped`` says why.

    Args:
        session: The open engine; it is not closed.
        suite: What to run.
        options: How to run it.
        on_progress: Called at the start of each benchmark and after each request, in the event loop's thread.
        outputs: Receives one line per measured request after each benchmark; it is not closed. If it fails, the
            run goes on without it, and ``outputs_incomplete`` says why.
        salt: Part of every prompt. A new salt keeps a server from answering out of what it cached in an earlier
            run; within a run, prompts differ anyway.
        clock: Returns the time for measurements.
        now: Returns the time for timestamps, as aware datetimes.

    Raises:
        EngineError: The engine failed before it had answered a request; nothing was measured.
    """
    run = _Run(session, suite, options or RunOptions(), on_progress, outputs, salt, clock, now)
    return await run.run()


class _Run:
    """A run of a suite in progress."""

    def __init__(
        self,
        session: EngineSession,
        suite: Suite,
        options: RunOptions,
        on_progress: Callable[[RunProgress], None] | None,
        outputs: OutputWriter | None,
        salt: str,
        clock: Clock,
        now: Callable[[], datetime],
    ) -> None:
        self._suite = suite
        self._options = options
        self._on_progress = on_progress
        self._outputs = outputs
        self._salt = salt
        self._clock = clock
        self._now = now
        self._started = clock()
        self._load = ClosedLoop(session, clock, self._started)
        self._entries: list[dict[str, Any]] = []
        self._done = 0
        self._planned = 0
        self._answered = 0
        self._outputs_incomplete: str | None = None
        self._total = suite.total_requests(warm_up=not options.skip_warmup, runs_override=options.runs_override)

    async def run(self) -> SuiteRun:
        started_at = self._now()
        stopped, interrupted = None, False
        try:
            for planned in self._suite.plan:
                for run_number in range(1, planned.runs_of(self._options.runs_override) + 1):
                    await self._run_benchmark(planned.benchmark, run_number)
        except _StoppedError as stop:
            stopped, interrupted = stop.reason, stop.interrupted
        return SuiteRun(
            suite=self._suite,
            options=self._options,
            started_at=started_at,
            total_time_seconds=rounded(self._clock() - self._started),
            entries=tuple(self._entries),
            salt=self._salt,
            stopped=stopped,
            interrupted=interrupted,
            outputs_incomplete=self._outputs_incomplete,
        )

    async def _run_benchmark(self, benchmark: Benchmark, run_number: int) -> None:
        timestamp = self._now()
        samples: list[RequestSample] = []
        answered_before = self._answered

        def count(sample: RequestSample) -> None:
            self._done += 1
            self._answered += sample.error is None
            self._report(benchmark, run_number)

        def keep(sample: RequestSample) -> None:
            samples.append(sample)
            count(sample)

        self._report(benchmark, run_number)
        # Each run of each benchmark has its own prompts, because a server may cache those that it has seen.
        salted = evolve(benchmark, workload=benchmark.workload.salted(f"{self._salt}{len(self._entries)}"))
        outcome, stop = await self._outcome(salted, samples, on_sample=keep, on_warmup=count)
        if outcome.gave_up is not None and self._answered == answered_before:
            stop = _StoppedError(f"{benchmark.name}: no request was answered; {outcome.gave_up}")
        outcome = evolve(outcome, warnings=[*outcome.warnings, *self._notices()])
        self._planned += benchmark.total_requests(warm_up=not self._options.skip_warmup)
        self._done = self._planned  # in case the time limit came before all requests were sent
        settings = benchmark.settings_for(self._load)
        self._entries.append(_entry(benchmark, run_number, outcome, timestamp=timestamp, settings=settings))
        try:
            self._write(benchmark, run_number, _sent_order(samples))
        except KeyboardInterrupt:
            self._outputs_incomplete = INTERRUPTED
            stop = _StoppedError(INTERRUPTED, interrupted=True)
        if stop is not None:
            raise stop

    async def _outcome(
        self,
        benchmark: Benchmark,
        samples: Sequence[RequestSample],
        *,
        on_sample: SampleObserver,
        on_warmup: SampleObserver,
    ) -> tuple[BenchmarkOutcome, _StoppedError | None]:
        """Return what a benchmark found, with what ended the run in it, if anything did."""
        try:
            outcome = await benchmark.run(
                self._load, warm_up=not self._options.skip_warmup, on_sample=on_sample, on_warmup=on_warmup
            )
            cause = outcome.stopped
        except (Exception, asyncio.CancelledError, KeyboardInterrupt) as raised:  # noqa: BLE001 - it is evaluated below
            outcome = BenchmarkOutcome(errors=benchmark.failure_lines(_sent_order(samples)))
            cause = raised
        if cause is None:
            return outcome, None
        if not self._answered:
            raise cause
        stop = _stop(cause)
        measured = f"{len(samples)} of {benchmark.total_requests(warm_up=False)} requests"
        errors = [*outcome.errors, f"{stop.reason} after {measured}"]
        return evolve(outcome, incomplete=measured, errors=errors), stop

    def _notices(self) -> list[str]:
        try:
            return [" ".join(line.split()) for line in self._load.session.notices()]
        except Exception as error:  # noqa: BLE001 - engines are third-party code, and the measurement is complete
            _log.warning("the engine's notices are missing: it raised %s", type(error).__name__)
            return []

    def _report(self, benchmark: Benchmark, run_number: int) -> None:
        if self._on_progress is not None:
            self._on_progress(RunProgress(benchmark.name, run_number, self._done, self._total))

    def _write(self, benchmark: Benchmark, run_number: int, samples: list[RequestSample]) -> None:
        if self._outputs is None or self._outputs_incomplete is not None:
            return
        try:
            # After the benchmark and not during it, because compressing would delay the requests in flight.
            for iteration, sample in enumerate(samples, 1):
                self._outputs.write(output_line(benchmark.name, run_number, iteration, sample))
            self._outputs.complete()
        except StoreUnavailableError as error:
            self._outputs_incomplete = error.message
            _log.warning("%s; the run goes on without them", error.message)


class _StoppedError(Exception):
    """Ends a run that has results; never leaves this module."""

    def __init__(self, reason: str, *, interrupted: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.interrupted = interrupted


def _stop(cause: BaseException) -> _StoppedError:
    if isinstance(cause, asyncio.CancelledError):
        # The cancellation ends here, so that the task can go on to store what it has.
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        return _StoppedError(INTERRUPTED, interrupted=True)
    if isinstance(cause, KeyboardInterrupt):
        return _StoppedError(INTERRUPTED, interrupted=True)
    if isinstance(cause, KittError):
        return _StoppedError(cause.message)
    _log.debug("the benchmark stopped", exc_info=cause)
    return _StoppedError(f"stopped by {type(cause).__name__}, which is a defect of the engine or of KITT")


def _sent_order(samples: Sequence[RequestSample]) -> list[RequestSample]:
    return sorted(samples, key=lambda sample: (sample.started_at, sample.number))


def _entry(
    benchmark: Benchmark,
    run_number: int,
    outcome: BenchmarkOutcome,
    *,
    timestamp: datetime,
    settings: dict[str, Any],
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "test_name": benchmark.name,
        "test_version": benchmark.version,
        "run_number": run_number,
        "passed": None if outcome.skipped is not None else not outcome.errors,
        "metrics": dict(outcome.metrics),
        "errors": list(outcome.errors),
        "warmup_times": list(outcome.warmup_times),
        "timestamp": timestamp.isoformat(timespec="microseconds"),
        "settings": settings,
    }
    if outcome.token_count_source is not None:
        entry["token_count_source"] = outcome.token_count_source
    if outcome.warnings:
        entry["warnings"] = list(outcome.warnings)
    if outcome.not_measured:
        entry["not_measured"] = dict(outcome.not_measured)
    if outcome.incomplete is not None:
        entry["incomplete"] = outcome.incomplete
    if outcome.skipped is not None:
        entry["skipped"] = outcome.skipped
    return entry


def build_document(
    run: SuiteRun,
    *,
    kitt_version: str,
    engine: str,
    model: str,
    engine_info: Mapping[str, Any],
    system_info: Mapping[str, Any],
    labels: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the document of a run, its keys in KITT's order.

    Args:
        run: What was measured.
        kitt_version: The version of the core.
        engine: The engine's name.
        model: The model's name, as the session gives it.
        engine_info: What the session says about itself.
        system_info: The machine's fingerprint; the last key.
        labels: The user's labels; without any, the key is left out.
        config: Further settings of the run, in addition to the suite's options.
    """
    document: dict[str, Any] = {
        "kitt_version": kitt_version,
        "suite_name": run.suite.name,
        "timestamp": run.started_at.isoformat(timespec="microseconds"),
        "engine": engine,
        "model": model,
        "passed": run.passed,
        "total_benchmarks": len(run.entries),
        "passed_count": run.passed_count,
        "failed_count": run.failed_count,
        "skipped_count": run.skipped_count,
        "total_time_seconds": run.total_time_seconds,
        "results": list(run.entries),
    }
    if labels:
        document["labels"] = dict(labels)
    if run.stopped is not None:
        document["stopped"] = run.stopped
    if run.outputs_incomplete is not None:
        document["outputs_incomplete"] = run.outputs_incomplete
    document["percentile_method"] = PERCENTILE_METHOD
    document["engine_info"] = dict(engine_info)
    document["config"] = {
        "skip_warmup": run.options.skip_warmup,
        "runs_override": run.options.runs_override,
        **({"overrides": dict(run.suite.changed)} if run.suite.changed else {}),
        **({"prompt_salt": run.salt} if run.salt else {}),
        **(config or {}),
    }
    document["system_info"] = dict(system_info)
    return document


def encode(document: Mapping[str, Any]) -> bytes:
    """Return the document's bytes as KITT writes them: indented by two, ASCII, with a final newline.

    Raises:
        TypeError: It contains something that is not a JSON value.
    """
    return json.dumps(document, indent=2).encode("ascii") + b"\n"
