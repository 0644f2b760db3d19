"""Timing both sides of a case alternately: medians and ratios.

A *round* calls every case's two sides alternately; which side goes first changes from call to call. A round's
figure is the median of its calls; a case's figure is the median of its rounds, and its ratio the median of the
rounds' ratios. If the machine is busy during a round, both sides are affected.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from attrs import field, frozen

__all__ = ["Call", "Figures", "Sides", "cpu_clock", "figures", "run_rounds", "timed_round"]

Call = Callable[[int], Callable[[], Any]]
"""Prepares one call, untimed: takes a number that is never repeated, returns the function to be timed."""


@frozen
class Sides:
    """What a case times.

    Attributes:
        measured: KITT's side.
        floor: The minimum of the same work.
        calls: How often each is called in a round.
    """

    measured: Call
    floor: Call
    calls: int


@frozen
class Figures:
    """The result of a case.

    Attributes:
        seconds: Median of the measured side.
        floor_seconds: Median of the floor.
        ratio: Median of the rounds' ratios.
        lowest: The smallest ratio of a round.
        highest: The greatest.
        rounds: How many rounds there were.
    """

    seconds: float
    floor_seconds: float
    ratio: float
    lowest: float
    highest: float
    rounds: int = field(kw_only=True)


def cpu_clock() -> float:
    """Return the CPU seconds of this process and the commands that it has run.

    For a machine that others use too: waiting for a CPU or for the disk is left out.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def run_rounds(
    cases: Sequence[Sides],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[int], None] | None = None,
) -> list[Figures]:
    """Return each case's figures, with the cases interleaved, after one round that does not count.

    Args:
        cases: What to time.
        rounds: How many rounds.
        clock: Returns the time.
        progress: Called after each round with how many are done.
    """
    pairs: list[list[tuple[float, float]]] = [[] for _ in cases]
    for number in range(rounds + 1):
        for case, measured in zip(cases, pairs, strict=True):
            pair = timed_round(case, number * case.calls, clock)
            if number:
                measured.append(pair)
        if progress is not None:
            progress(number)
    return [figures(measured) for measured in pairs]


def timed_round(case: Sides, first: int, clock: Callable[[], float] = time.perf_counter) -> tuple[float, float]:
    """Return the medians of one round: the measured side's and the floor's."""
    times: tuple[list[float], list[float]] = ([], [])
    gc.collect()  # what another case left behind is not this one's to clean up
    for number in range(first, first + case.calls):
        sides = list(enumerate((case.measured, case.floor)))
        for side, prepare in sides if number % 2 else reversed(sides):
            call = prepare(number)
            start = clock()
            call()
            times[side].append(clock() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def figures(rounds: Sequence[tuple[float, float]]) -> Figures:
    """Return the figures of a case from its rounds' medians."""
    ratios = [measured / floor for measured, floor in rounds]
    return Figures(
        seconds=statistics.median(measured for measured, _ in rounds),
        floor_seconds=statistics.median(floor for _, floor in rounds),
        ratio=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        rounds=len(rounds),
    )
