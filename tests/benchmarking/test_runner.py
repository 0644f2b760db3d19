from __future__ import annotations

import asyncio
import gzip
import json
import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from kitt_core.benchmarking.concurrency_sweep import ConcurrencySweep
from kitt_core.benchmarking.latency import Latency, StreamingLatency
from kitt_core.benchmarking.memory import Memory
from kitt_core.benchmarking.outputs import OutputWriter
from kitt_core.benchmarking.runner import RunOptions, RunProgress, SuiteRun, build_document, encode, run_suite
from kitt_core.benchmarking.suites import PlannedBenchmark, Suite
from kitt_core.benchmarking.throughput import Throughput
from kitt_core.benchmarking.warmup_analysis import WarmupAnalysis
from kitt_core.benchmarking.workload import Workload
from kitt_core.engine import Usage
from kitt_core.errors import EngineError, EngineLostError, StoreUnavailableError
from kitt_core.runs import derive_rows

from .scripted import ScriptedSession, Step, VirtualClock, words

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SMALL = Suite(
    name="small",
    summary="",
    plan=(
        PlannedBenchmark(Latency(Workload(iterations=2, warmups=1)), runs=2),
        PlannedBenchmark(Throughput(Workload(iterations=3, warmups=0, concurrency=4))),
    ),
)
ONE_REQUEST = PlannedBenchmark(Latency(Workload(iterations=1, warmups=0)))
MEMORY = PlannedBenchmark(Memory())
GOOD = words(10, 5, usage=Usage(4, 2))


def run(
    *scripts: list[Step],
    suite: Suite = SMALL,
    options: RunOptions | None = None,
    outputs: OutputWriter | None = None,
    events: list[RunProgress] | None = None,
    concurrent: bool = False,
) -> SuiteRun:
    clock = VirtualClock()
    session = ScriptedSession(clock, *(scripts or (GOOD,)), concurrent=concurrent)
    return asyncio.run(
        run_suite(
            session,
            suite,
            options=options,
            on_progress=None if events is None else events.append,
            outputs=outputs,
            clock=clock,
            now=lambda: NOON,
        )
    )


def test_entries_have_the_keys_of_the_format() -> None:
    result = run()
    assert [(e["test_name"], e["run_number"]) for e in result.entries] == [
        ("latency", 1),
        ("latency", 2),
        ("throughput", 1),
    ]
    assert list(result.entries[0])[:8] == [
        "test_name",
        "test_version",
        "run_number",
        "passed",
        "metrics",
        "errors",
        "warmup_times",
        "timestamp",
    ]
    assert result.entries[0]["timestamp"] == "2026-01-02T12:00:00.000000+00:00"
    assert result.entries[0]["token_count_source"] == "engine"
    assert result.passed
    assert result.total_time_seconds == pytest.approx(9 * 0.015)


def test_the_settings_say_which_concurrency_there_was() -> None:
    assert run().entries[2]["settings"]["concurrency"] == 1
    assert run(concurrent=True).entries[2]["settings"]["concurrency"] == 3, "there are no more requests"


def test_progress_counts_every_request_once() -> None:
    events: list[RunProgress] = []
    run(events=events)
    assert [event.requests_done for event in events if event.benchmark == "throughput"] == [6, 7, 8, 9]
    assert events[0] == RunProgress("latency", 1, 0, 9)
    assert {event.requests_total for event in events} == {9}


def test_warm_ups_and_repeats_are_the_users() -> None:
    events: list[RunProgress] = []
    result = run(options=RunOptions(skip_warmup=True, runs_override=1), events=events)
    assert [entry["warmup_times"] for entry in result.entries] == [[], []]
    assert (events[-1].requests_done, events[-1].requests_total) == (5, 5)


def test_a_failed_request_fails_its_entry_and_nothing_else() -> None:
    result = run(GOOD, GOOD, [Step(1, error=EngineError("timed out"))], GOOD)
    assert [entry["passed"] for entry in result.entries] == [False, True, True]
    assert result.entries[0]["errors"] == ["request 2: timed out"]
    assert (result.passed, result.passed_count, result.stopped) == (False, 2, None)


def test_outputs_hold_each_measured_request(tmp_path: Path) -> None:
    writer = OutputWriter(tmp_path)
    run(outputs=writer)
    (attachment,) = writer.close()
    with attachment.open() as content:
        lines = [json.loads(line) for line in gzip.decompress(content.read()).splitlines()]
    assert [(line["benchmark"], line["run_number"], line["iteration"]) for line in lines] == [
        ("latency", 1, 1),
        ("latency", 1, 2),
        ("latency", 2, 1),
        ("latency", 2, 2),
        ("throughput", 1, 1),
        ("throughput", 1, 2),
        ("throughput", 1, 3),
    ]


class Noticing(ScriptedSession):
    """Has something to say once, and then raises."""

    told = 0

    def notices(self) -> list[str]:
        self.told += 1
        if self.told == 1:
            return ["2 requests were\nsent again"]
        if self.told == 2:
            return []
        raise RuntimeError("https://user:secret@host")


def test_what_the_engine_noticed_stands_in_the_entry_that_it_concerns(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    result = asyncio.run(run_suite(Noticing(clock, GOOD), SMALL, clock=clock))
    assert result.passed
    assert [entry.get("warnings") for entry in result.entries] == [["2 requests were sent again"], None, None]
    assert [record.getMessage() for record in caplog.records] == [
        "the engine's notices are missing: it raised RuntimeError"
    ]


def test_a_benchmark_that_was_cut_short_has_its_notices_too() -> None:
    clock = VirtualClock()
    session = Noticing(clock, GOOD, GOOD, [Step(1, error=EngineLostError("gone"))])
    result = asyncio.run(run_suite(session, SMALL, clock=clock))
    assert (result.stopped, result.entries[0]["warnings"]) == ("gone", ["2 requests were sent again"])


class FullWriter(OutputWriter):
    """The disk is full at the sixth line."""

    written = 0

    def write(self, item: Mapping[str, Any]) -> None:
        self.written += 1
        if self.written >= 6:
            raise StoreUnavailableError("the samples can't be written: No space left on device")
        super().write(item)


def test_outputs_that_cannot_be_written_cost_no_result(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = FullWriter(tmp_path)
    repeated = evolve(SMALL, plan=SMALL.plan * 2)
    result = run(suite=repeated, outputs=writer)
    assert (len(result.entries), result.passed, result.stopped) == (6, True, None)
    assert result.outputs_incomplete == "the samples can't be written: No space left on device"
    assert writer.written == 6, "nothing is tried after the first failure"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    (kept,) = writer.close()
    with kept.open() as content:
        assert len(gzip.decompress(content.read()).splitlines()) == 5


def test_an_interrupted_run_keeps_what_was_measured(tmp_path: Path) -> None:
    writer = OutputWriter(tmp_path)
    result = run(*[GOOD] * 5, [*words(1), Step(1, error=KeyboardInterrupt())], outputs=writer)
    assert [entry["passed"] for entry in result.entries] == [True, False]
    assert result.entries[1]["errors"] == ["interrupted after 1 of 2 requests"]
    assert result.entries[1]["incomplete"] == "1 of 2 requests"
    assert result.entries[1]["metrics"]["total_iterations"] == 1
    assert result.entries[1]["metrics"]["ttft_ms"]["p50"] == result.entries[0]["metrics"]["ttft_ms"]["p50"]
    assert (result.stopped, result.interrupted, result.passed) == ("interrupted", True, False)
    (attachment,) = writer.close()
    with attachment.open() as content:
        assert len(gzip.decompress(content.read()).splitlines()) == 3, "one of the run that was cut short"


def test_cancelling_the_task_from_outside_gives_the_partial_result() -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock, GOOD, concurrent=True)

    async def cancelled() -> tuple[SuiteRun, int]:
        task = asyncio.current_task()
        assert task is not None

        def cancel(event: RunProgress) -> None:
            if event.requests_done == 7:
                task.cancel()

        result = await run_suite(session, SMALL, on_progress=cancel, clock=clock)
        await asyncio.sleep(0)
        return result, task.cancelling()

    result, cancelling = asyncio.run(cancelled())
    assert result.interrupted
    assert [entry["passed"] for entry in result.entries] == [True, True, False]
    assert cancelling == 0, "the task can go on and store the result"
    assert session.in_flight == 0


def test_ctrl_c_under_asyncio_run_gives_the_partial_result() -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock, GOOD, concurrent=True)

    def press(event: RunProgress) -> None:
        if event.requests_done == 4:
            signal.raise_signal(signal.SIGINT)

    result = asyncio.run(run_suite(session, SMALL, on_progress=press, clock=clock))
    assert result.interrupted
    assert [entry["passed"] for entry in result.entries] == [True, False]


def run_until_the_engine_is_gone(*plan: PlannedBenchmark) -> SuiteRun:
    clock = VirtualClock()

    def read() -> dict[str, float]:
        raise EngineError("the engine is gone")

    session = ScriptedSession(clock, GOOD, memory=read)
    return asyncio.run(run_suite(session, Suite("m", "", plan), clock=clock))


def test_an_engine_that_gives_up_ends_the_run_with_what_there_is() -> None:
    result = run_until_the_engine_is_gone(ONE_REQUEST, MEMORY)
    assert [entry["passed"] for entry in result.entries] == [True, False]
    assert result.entries[1]["errors"] == ["the engine is gone after 0 of 10 requests"]
    assert (result.stopped, result.interrupted) == ("the engine is gone", False)


def test_before_the_first_answer_there_is_no_result() -> None:
    with pytest.raises(EngineError, match="gone"):
        run_until_the_engine_is_gone(MEMORY)
    with pytest.raises(KeyboardInterrupt):
        run([Step(1, error=KeyboardInterrupt())])


LOST = [*words(1), Step(1, error=EngineLostError("the server is gone"))]


@pytest.mark.parametrize("concurrent", [False, True])
def test_an_engine_that_cancels_itself_loses_a_request_and_no_worker(concurrent: bool) -> None:
    itself = [*words(1), Step(1, error=asyncio.CancelledError())]
    result = run(*[GOOD] * 7, itself, GOOD, concurrent=concurrent)
    assert (result.stopped, result.interrupted) == (None, False)
    assert result.entries[2]["errors"] == [
        "request 2: the engine raised CancelledError, which is a defect in its plugin"
    ]


def test_a_sweep_that_is_cut_short_names_level_and_number_of_what_had_failed() -> None:
    sweep = PlannedBenchmark(ConcurrencySweep(Workload(iterations=4, warmups=0), levels=(1, 2)))
    failed, pressed = [Step(1, error=EngineError("no"))], [Step(1, error=KeyboardInterrupt())]
    clock = VirtualClock()
    session = ScriptedSession(clock, GOOD, failed, *[GOOD] * 3, failed, GOOD, pressed, concurrent=True)
    with asyncio.Runner() as runner:
        task = runner.get_loop().create_task(run_suite(session, Suite("s", "", (sweep,)), clock=clock))
        with pytest.raises(KeyboardInterrupt):
            runner.get_loop().run_until_complete(task)
        result = runner.get_loop().run_until_complete(task)
    assert result.entries[0]["errors"] == [
        "concurrency 1: request 2: no",
        "concurrency 2: request 2: no",
        "interrupted after 7 of 8 requests",
    ]
    metrics = result.entries[0]["metrics"]
    assert [metrics[level]["total_iterations"] for level in ("c1", "c2")] == [3, 2]
    assert metrics["c2"]["ttft_ms"]["p50"] > 0


@pytest.mark.parametrize("concurrent", [False, True])
def test_a_lost_engine_ends_the_run_and_its_request_is_recorded(concurrent: bool, tmp_path: Path) -> None:
    writer = OutputWriter(tmp_path)
    result = run(*[GOOD] * 8, LOST, outputs=writer, concurrent=concurrent)
    assert [entry["passed"] for entry in result.entries] == [True, True, False]
    assert result.entries[2]["errors"] == [
        "request 3: the server is gone",
        "the server is gone after 3 of 3 requests",
    ]
    assert (result.stopped, result.interrupted) == ("the server is gone", False)
    (attachment,) = writer.close()
    with attachment.open() as content:
        lines = [json.loads(line) for line in gzip.decompress(content.read()).splitlines()]
    failed = [(line["request"], line["error"]) for line in lines if line["error"]]
    assert failed == [(3, "the server is gone")]


def test_an_engine_that_is_lost_before_it_answered_gives_no_result() -> None:
    with pytest.raises(EngineLostError, match="gone"):
        run(LOST)


REFUSED = [Step(60_000, error=EngineError("timed out"))]


def test_a_benchmark_gives_up_after_three_failures_in_a_row_and_says_what_was_not_sent() -> None:
    suite = Suite("s", "", (PlannedBenchmark(Latency(Workload(iterations=50, warmups=1))), ONE_REQUEST))
    result = run(GOOD, REFUSED, REFUSED, GOOD, *[REFUSED] * 3, GOOD, suite=suite)
    assert result.entries[0]["errors"][-2:] == [
        "request 6: timed out",
        "gave up after 3 failures in a row; 44 requests were not sent",
    ]
    assert result.entries[1]["passed"], "it had been answered before: the run goes on"
    assert result.stopped is None


def test_a_run_ends_when_a_benchmark_gives_up_without_an_answer() -> None:
    plan = (ONE_REQUEST, PlannedBenchmark(Latency(Workload(iterations=5, warmups=4)), runs=3))
    result = run(GOOD, REFUSED, suite=Suite("s", "", plan))
    assert [(entry["run_number"], entry["passed"]) for entry in result.entries] == [(1, True), (1, False)]
    assert result.entries[1]["errors"][-2:] == [
        "warm-up 3: timed out",
        "gave up after 3 failures in a row; 5 requests were not sent",
    ]
    assert result.stopped is not None


def test_a_server_that_lets_everything_time_out_is_left_after_three_requests() -> None:
    plan = tuple(PlannedBenchmark(Throughput(Workload(iterations=60, warmups=5))) for _ in range(5))
    result = run(REFUSED, suite=Suite("s", "", plan))
    assert result.total_time_seconds == pytest.approx(180)
    assert result.stopped == (
        "throughput: no request was answered; gave up after 3 failures in a row; 60 requests were not sent"
    )
    assert len(result.entries) == 1


def test_no_two_requests_of_a_run_have_the_same_prompt_nor_those_of_two_runs() -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock, GOOD, concurrent=True)
    plan = (*SMALL.plan, PlannedBenchmark(ConcurrencySweep(Workload(iterations=2))))
    for salt in ("1f", "2f"):
        result = asyncio.run(run_suite(session, Suite("s", "", plan), salt=salt, clock=clock))
        assert result.salt == salt
    prompts = [request.prompt[:40] for request in session.requests]
    assert len(set(prompts)) == len(prompts)
    assert "salt" not in result.entries[0]["settings"]


ALONE = PlannedBenchmark(StreamingLatency(Workload(iterations=2, concurrency=2)))
"""Skipped by a session whose requests cannot overlap."""


def test_a_skipped_benchmark_neither_passed_nor_failed() -> None:
    result = run(suite=Suite("s", "", (ONE_REQUEST, ALONE)))
    assert (result.passed, result.passed_count, result.failed_count, result.skipped_count) == (True, 1, 0, 1)
    assert [entry["passed"] for entry in result.entries] == [True, None]
    document = build_document(
        result, kitt_version="1", engine="e", model="m", engine_info={}, system_info={"fingerprint": "f"}
    )
    names = ("passed", "total_benchmarks", "passed_count", "failed_count", "skipped_count")
    assert [document[name] for name in names] == [True, 2, 1, 0, 1]
    assert [row.passed for row in derive_rows(document).benchmarks] == [True, None]
    nothing = run(suite=Suite("s", "", (ALONE,)))
    assert (nothing.passed, nothing.failed_count, nothing.skipped_count) == (False, 0, 1)


def test_the_document_has_its_keys_in_order() -> None:
    document = build_document(
        run(),
        kitt_version="0.1.0",
        engine="reference",
        model="tiny",
        engine_info={"dtype": "float32"},
        system_info={"fingerprint": "f"},
        labels={"team": "a"},
        config={"engine_options": {"seed": 0}},
    )
    assert list(document) == [
        "kitt_version",
        "suite_name",
        "timestamp",
        "engine",
        "model",
        "passed",
        "total_benchmarks",
        "passed_count",
        "failed_count",
        "skipped_count",
        "total_time_seconds",
        "results",
        "labels",
        "percentile_method",
        "engine_info",
        "config",
        "system_info",
    ]
    assert document["timestamp"] == "2026-01-02T12:00:00.000000+00:00"
    assert (document["total_benchmarks"], document["passed_count"], document["failed_count"]) == (3, 3, 0)
    assert document["percentile_method"].startswith("linear interpolation")
    assert document["config"] == {
        "skip_warmup": False,
        "runs_override": None,
        "engine_options": {"seed": 0},
    }


def test_a_stopped_run_has_not_passed_and_says_why() -> None:
    document = build_document(
        run_until_the_engine_is_gone(ONE_REQUEST, MEMORY),
        kitt_version="0",
        engine="e",
        model="m",
        engine_info={},
        system_info={},
    )
    assert document["passed"] is False
    assert document["stopped"] == "the engine is gone"
    assert "labels" not in document


def test_the_bytes_are_indented_ascii_with_a_final_newline() -> None:
    assert encode({"a": "é", "b": [1.5]}) == b'{\n  "a": "\\u00e9",\n  "b": [\n    1.5\n  ]\n}\n'


def test_what_was_measured_before_an_interruption_is_evaluated_in_every_benchmark() -> None:
    workload = Workload(iterations=400, warmups=0, concurrency=2)
    for benchmark, concurrent in (
        (Throughput(workload), True),
        (Latency(workload), False),
        (StreamingLatency(workload), True),
        (WarmupAnalysis(workload), False),
        (Memory(workload), False),
    ):
        clock = VirtualClock()
        scripts = [*[GOOD] * 43, [Step(1, error=EngineLostError("gone"))]]
        session = ScriptedSession(clock, *scripts, concurrent=concurrent, memory=lambda: {"cache_gb": 1.0})
        suite = Suite("s", "", (PlannedBenchmark(benchmark),))
        (entry,) = asyncio.run(run_suite(session, suite, clock=clock)).entries
        assert not entry["passed"]
        assert entry["incomplete"].endswith(" of 400 requests")
        assert entry["metrics"]["total_iterations"] >= 42
        assert len(entry["metrics"]) > 1
