from __future__ import annotations

import asyncio

import pytest

from kitt_core.benchmarking import LEAST_PROMPT_CHARACTERS
from kitt_core.benchmarking.load import ClosedLoop, LoadResult, failure_lines
from kitt_core.benchmarking.samples import RequestSample
from kitt_core.benchmarking.workload import Workload
from kitt_core.engine import Chunk, GenerationRequest
from kitt_core.errors import EngineError, EngineLostError

from .scripted import ScriptedSession, Step, VirtualClock, words

REQUESTS = [GenerationRequest(str(number), max_tokens=3) for number in range(7)]


def run(session: ScriptedSession, clock: VirtualClock, concurrency: int) -> LoadResult:
    return asyncio.run(ClosedLoop(session, clock, clock()).run(REQUESTS, concurrency=concurrency))


def test_requests_overlap_up_to_the_concurrency() -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock, concurrent=True)
    result = run(session, clock, 3)
    assert session.most_in_flight == 3
    assert [sample.prompt for sample in result.samples] == [request.prompt for request in REQUESTS]
    assert [(sample.number, sample.concurrency) for sample in result.samples] == [(n, 3) for n in range(1, 8)]


def test_a_session_that_cannot_overlap_is_asked_one_by_one() -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock, concurrent=False)
    result = run(session, clock, 3)
    assert session.most_in_flight == 1
    assert result.duration_seconds == pytest.approx(7 * 0.020)
    assert [sample.started_at for sample in result.samples] == pytest.approx([n * 0.02 for n in range(7)])


def test_failed_requests_stay_in_their_places() -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock, words(1), [Step(1, error=EngineError("no"))], words(1))
    result = run(session, clock, 1)
    assert failure_lines(result.samples) == ["request 2: no"]
    assert len(result.samples) == 7
    assert len(result.successful) == 6


def test_no_request_is_sent_when_the_time_is_up_but_one_always_is() -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock, concurrent=False)
    loop = ClosedLoop(session, clock, clock())
    assert len(asyncio.run(loop.run(REQUESTS, seconds=0.05)).samples) == 3  # each takes 0.02 s
    assert len(asyncio.run(loop.run(REQUESTS, seconds=0.001)).samples) == 1


@pytest.mark.parametrize(("concurrency", "failures"), [(1, 3), (2, 3), (5, 5)])
def test_failures_in_a_row_end_the_sending(concurrency: int, failures: int) -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock, [Step(1, error=EngineError("no"))], concurrent=True)
    many = [GenerationRequest(str(number), max_tokens=3) for number in range(100)]
    result = asyncio.run(ClosedLoop(session, clock).run(many, concurrency=concurrency))
    assert result.gave_up_after == failures
    assert failures <= len(result.samples) < failures + concurrency, "those in flight are waited for"


def test_a_success_in_between_makes_the_counting_begin_again() -> None:
    clock = VirtualClock()
    failed = [Step(1, error=EngineError("no"))]
    session = ScriptedSession(clock, failed, failed, words(1), failed, failed, words(1), failed)
    result = run(session, clock, 1)
    assert (len(result.samples), result.gave_up_after) == (7, None)


def test_a_lost_engine_ends_the_load_and_cancels_the_others() -> None:
    clock = VirtualClock()
    endless = [Step(1, Chunk("w"))] * 100_000
    lost = [Step(1, error=EngineLostError("gone"))]
    session = ScriptedSession(clock, endless, lost, lost, endless, concurrent=True)
    seen: list[RequestSample] = []
    found = asyncio.run(ClosedLoop(session, clock).run(REQUESTS, concurrency=4, on_sample=seen.append))
    assert isinstance(found.stopped, EngineLostError)
    assert found.stopped.message == "gone"
    assert set(found.samples) == set(seen)
    assert {sample.error for sample in seen} == {"gone"}
    assert (session.in_flight, session.closed_streams) == (0, 4)


def test_what_an_observer_raises_is_not_a_group_either() -> None:
    def broken(_: RequestSample) -> None:
        raise ZeroDivisionError

    clock = VirtualClock()
    session = ScriptedSession(clock, concurrent=True)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(ClosedLoop(session, clock).run(REQUESTS, concurrency=2, on_sample=broken))


@pytest.mark.parametrize("remote", [False, True])
def test_the_busy_share_is_that_of_remote_sessions(remote: bool) -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock, remote=remote)
    load = ClosedLoop(session, clock, busy_clock=lambda: clock() / 4)
    assert asyncio.run(load.run(REQUESTS)).client_busy_share == (pytest.approx(0.25) if remote else None)


def test_no_requests_take_no_time() -> None:
    clock = VirtualClock()
    result = asyncio.run(ClosedLoop(ScriptedSession(clock), clock).run([]))
    assert result == LoadResult((), 0.0)


def test_a_load_that_is_empty_or_over_at_once_says_nothing_of_the_load_generator() -> None:
    clock = VirtualClock()
    load = ClosedLoop(ScriptedSession(clock, words(1), remote=True), clock, busy_clock=clock)
    ticking = ClosedLoop(load.session, Ticking(1.0), busy_clock=Ticking(1.0))
    assert asyncio.run(ticking.run([])).client_busy_share is None, "its clocks run even without requests"
    assert asyncio.run(load.run(REQUESTS)).client_busy_share is None
    assert asyncio.run(load.run(REQUESTS * 2)).client_busy_share == 1.0


class Ticking:
    """A clock that moves on at each look."""

    def __init__(self, step: float) -> None:
        self.seconds = 0.0
        self.step = step

    def __call__(self) -> float:
        self.seconds += self.step
        return self.seconds


def test_prompts_differ_from_their_first_characters_on_and_have_the_length_asked_for() -> None:
    workload = Workload(iterations=12, warmups=3, prompt_characters=1000)
    prompts = [request.prompt for request in (*workload.warmup_requests(), *workload.measured_requests())]
    assert {len(prompt) for prompt in prompts} == {1000}
    assert len({prompt[:16] for prompt in prompts}) == 15
    again = [request.prompt for request in workload.measured_requests()]
    assert again == prompts[3:]


def test_the_shortest_prompts_still_differ_whatever_they_are_of() -> None:
    prompts: list[str] = []
    for salt in ("1a2b3c4d0", "1a2b3c4d12", "1a2b3c4d0c1", "1a2b3c4d0c10000", "1a2b3c4e0"):
        workload = Workload(prompt_characters=LEAST_PROMPT_CHARACTERS, salt=salt)
        numbers = (1, 2, 10, 999_999, 1_000_000)
        prompts += [
            workload._request(kind, number).prompt for kind in ("Warm-up", "Request") for number in numbers
        ]
    assert {len(prompt) for prompt in prompts} == {LEAST_PROMPT_CHARACTERS}
    assert len(set(prompts)) == len(prompts)
