from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from kitt_core.service.run.signals import Interruptions


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        assert signal.getsignal(number) == handler
        signal.signal(number, handler)


async def answer() -> str:
    await asyncio.sleep(0)
    return "done"


async def interrupted(times: int = 1) -> str:
    """Be cancelled, and have a result all the same."""
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return "partial"
    raise AssertionError


def test_without_a_signal_nothing_is_different() -> None:
    with Interruptions() as interruptions:
        assert interruptions.measure(answer()) == "done"
    assert interruptions.received == 0


def test_a_signal_cancels_and_the_result_counts() -> None:
    with Interruptions() as interruptions:
        assert interruptions.measure(interrupted()) == "partial"
    assert interruptions.received == 1


def test_cancelled_without_a_result_is_an_interruption() -> None:
    async def nothing() -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(60)

    with Interruptions() as interruptions, pytest.raises(KeyboardInterrupt):
        interruptions.measure(nothing())


def test_a_second_signal_leaves_code_that_keeps_the_loop_from_running() -> None:
    async def blocking() -> str:
        signal.raise_signal(signal.SIGINT)
        try:
            signal.raise_signal(signal.SIGINT)
            time.sleep(60)  # noqa: ASYNC251 - that it blocks is the point
        except KeyboardInterrupt:
            return "partial"
        raise AssertionError

    with Interruptions() as interruptions:
        assert interruptions.measure(blocking()) == "partial"


def test_a_task_that_was_left_in_the_middle_still_gives_what_it_has() -> None:
    async def beside() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # raises out of the event loop

    async def work() -> str:
        try:
            await asyncio.gather(beside(), asyncio.sleep(60))
        except (asyncio.CancelledError, KeyboardInterrupt):
            return "partial"
        raise AssertionError

    with Interruptions() as interruptions:
        assert interruptions.measure(work()) == "partial"


def test_afterwards_signals_are_noted_unless_the_block_may_be_left() -> None:
    with Interruptions() as interruptions:
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        with interruptions.escapable():
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert interruptions.received == 6


@pytest.mark.parametrize("ignored", [False, True])
def test_sigterm_is_noted_once_and_whoever_handled_it_hears_of_it(ignored: bool) -> None:
    heard: list[int] = []

    def terminate(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            handler(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    interrupt, before = signal.getsignal(signal.SIGINT), signal.signal(signal.SIGTERM, terminate)
    if ignored:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruptions() as interruptions:
            signal.raise_signal(signal.SIGTERM)
            assert (signal.getsignal(signal.SIGINT) is signal.SIG_IGN) is ignored
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)
    assert (heard, interruptions.received) == ([signal.SIGTERM], 1)


def test_in_another_thread_signals_are_left_alone() -> None:
    found: list[str] = []

    def run() -> None:
        with Interruptions() as interruptions:
            found.append(interruptions.measure(answer()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(180)
    assert found == ["done"]
