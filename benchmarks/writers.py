"""``python -m benchmarks writers``: how long a save takes while a whole team saves and reads in one store.

In PostgreSQL 16 processes save and 4 read, on a private server. In a SQLite file 8 processes save, once as KITT
takes turns and once with SQLite's own waiting (``busy_timeout``) in its place, everything else being the same.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from attrs import Factory, define

from benchmarks.report import Goal, Measurement, Section, duration, text_table
from benchmarks.workload import METRIC, run_document
from kitt_core import KittError, open_store

__all__ = ["Calls", "busy_timeout_section", "main", "measure", "server_section"]

_SPAWN: Final = multiprocessing.get_context("spawn")
_LONG: Final = 600
"""Seconds that SQLite's own waiting may take, so that nothing fails that only waits for long."""
_HEADINGS: Final = ("calls", "errors", "per second", "p50", "p99", "greatest")


@define
class Calls:
    """What the calls of all processes took.

    Attributes:
        saves: Seconds of each save.
        reads: Seconds of each reading call.
        errors: How many calls failed.
        seconds: From the first save to the last.
    """

    saves: list[float] = Factory(list)
    reads: list[float] = Factory(list)
    errors: int = 0
    seconds: float = 0.0

    @property
    def throughput(self) -> float:
        """Saves per second."""
        return len(self.saves) / self.seconds


def measure(target: str, writers: int, runs: int, readers: int = 0, *, only_busy_timeout: bool = False) -> Calls:
    """Let processes save and read at the same time.

    Args:
        target: The store.
        writers: Processes that save.
        runs: Saved by each.
        readers: Processes that list and aggregate until all is saved.
        only_busy_timeout: Wait for other writers to a SQLite file as SQLite does by itself.
    """
    with open_store(target) as store:
        store.initialize()
        before = store.count()
    start = _SPAWN.Barrier(writers + readers + 1)
    done, saved, read = _SPAWN.Event(), _SPAWN.SimpleQueue(), _SPAWN.SimpleQueue()
    save = _save_by_busy_timeout if only_busy_timeout else _save
    saving = [_SPAWN.Process(target=save, args=(target, n * runs, runs, start, saved)) for n in range(writers)]
    reading = [_SPAWN.Process(target=_read, args=(target, start, done, read)) for _ in range(readers)]
    for process in (*saving, *reading):
        process.start()
    start.wait()
    calls = Calls()
    clock = time.perf_counter()
    for _ in saving:
        times, errors = saved.get()
        calls.saves += times
        calls.errors += errors
    calls.seconds = time.perf_counter() - clock
    done.set()
    calls.reads += [seconds for _ in reading for seconds in read.get()]
    for process in (*saving, *reading):
        process.join()
    with open_store(target) as store:
        if store.count() - before != len(calls.saves):
            sys.exit(f"error: {len(calls.saves)} runs were saved, but there are {store.count() - before} more")
    return calls


def _save(target: str, first: int, number: int, start: Any, results: Any) -> None:
    documents = [run_document(n) for n in range(first, first + number)]
    times, errors = [], 0
    with open_store(target) as store:
        store.count()  # connects and checks the schema
        start.wait()
        for document in documents:
            try:
                times.append(_timed(partial(store.save_result, document)))
            except KittError as error:
                print(f"save failed: {error}", file=sys.stderr)
                errors += 1
    results.put((times, errors))


def _save_by_busy_timeout(target: str, first: int, number: int, start: Any, results: Any) -> None:
    from kitt_sql.sqlite.turns import BEGIN_WRITE, Turns

    def begin_write(_: Turns, connection: Any) -> None:
        connection.execute(f"PRAGMA busy_timeout={_LONG * 1000}")
        connection.execute(BEGIN_WRITE)

    with patch.object(Turns, "begin_write", begin_write):
        _save(target, first, number, start, results)


def _read(target: str, start: Any, done: Any, results: Any) -> None:
    times = []
    with open_store(target) as store:
        store.count()
        start.wait()
        while not done.is_set():
            times.append(_timed(lambda: store.list_results(limit=50)))
            times.append(_timed(lambda: store.aggregate("engine", METRIC)))
    results.put(times)


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def busy_timeout_section(directory: Path, writers: int = 8, runs: int = 50, rounds: int = 3) -> Section:
    """Compare KITT's turns with SQLite's own waiting, in new files of a directory."""
    ours: list[Calls] = []
    theirs: list[Calls] = []
    for number in range(rounds):
        print(f"writers: round {number + 1} of {rounds}", file=sys.stderr)
        sides = [(ours, "turns", False), (theirs, "busy", True)]
        for calls, name, only in sides if number % 2 else reversed(sides):
            target = f"sqlite:///{directory}/{name}-{number}.db"
            calls.append(measure(target, writers, runs, only_busy_timeout=only))
    pairs = list(zip(ours, theirs, strict=True))
    tail = statistics.median(_percentile(one.saves, 99) / _percentile(other.saves, 99) for one, other in pairs)
    rate = statistics.median(one.throughput / other.throughput for one, other in pairs)
    errors = sum(calls.errors for calls in ours)
    saved = f"{writers} processes that save in one SQLite file"
    lines = (
        _line("writers-sqlite", "KITT", ours, "saves", ratio=errors, goal=Goal(0), summary=f"{saved}: errors"),
        _line("writers-busy-timeout", "only `busy_timeout`", theirs, "saves"),
        Measurement(
            name="writers-sqlite-p99",
            cells=("p99, ratio", "", "", "", f"{tail:.2f}", ""),
            metrics={"ratio": tail},
            ratio=tail,
            goal=Goal(0.3),
            summary=f"{saved}: p99 against `busy_timeout` alone",
        ),
        Measurement(
            name="writers-sqlite-throughput",
            cells=("throughput, ratio", "", f"{rate:.2f}", "", "", ""),
            metrics={"ratio": rate},
            ratio=rate,
            goal=Goal(0.85, at_least=True),
            summary=f"{saved}: throughput against `busy_timeout` alone",
        ),
    )
    return Section("writers-sqlite", _HEADINGS, lines)


def server_section(target: str | None = None, writers: int = 16, runs: int = 50, readers: int = 4) -> Section:
    """Time saves and reads in a store, by default in one on a private PostgreSQL server."""
    with ExitStack() as stack:
        calls = [measure(target or stack.enter_context(_private_server()), writers, runs, readers)]
    goal = Goal(0)
    saved = f"{writers} processes save and {readers} read"
    lines = [
        _line("writers", "saves", calls, "saves", ratio=calls[0].errors, goal=goal, summary=f"{saved}: errors")
    ]
    if readers:
        lines.append(_line("readers", "reads", calls, "reads"))
    return Section("writers-postgres", _HEADINGS, tuple(lines))


@contextmanager
def _private_server() -> Iterator[str]:
    from kitt_postgres.testing import PrivateServer

    with PrivateServer() as server:
        yield server.create_database()


def _line(name: str, title: str, rounds: Sequence[Calls], kind: str, **goal: Any) -> Measurement:
    """Return the line of some rounds' calls: the medians of their figures."""
    errors = sum(calls.errors for calls in rounds)
    rate = statistics.median(len(getattr(calls, kind)) / calls.seconds for calls in rounds)
    middle, tail = (
        statistics.median(_percentile(getattr(calls, kind), percent) for calls in rounds) for percent in (50, 99)
    )
    greatest = max(max(getattr(calls, kind)) for calls in rounds)
    return Measurement(
        name=name,
        cells=(title, str(errors), f"{rate:.0f}", *map(duration, (middle, tail, greatest))),
        metrics={
            "errors": errors,
            "per_second": rate,
            "seconds.p50": middle,
            "seconds.p99": tail,
            "seconds.max": greatest,
        },
        **goal,
    )


def _percentile(seconds: Sequence[float], percent: int) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1]


def main(argv: Sequence[str] | None = None) -> int:
    """Print how long the calls took."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks writers", description="Time many writers on one store."
    )
    parser.add_argument("--store", metavar="URI", help="instead of a SQLite file and a private PostgreSQL server")
    parser.add_argument("--writers", type=int, help="processes that save (default: 8 for SQLite, 16)")
    parser.add_argument("--runs", type=int, default=50, help="runs that each saves (default: %(default)s)")
    parser.add_argument("--readers", type=int, default=4, help="processes that read (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="comparisons in SQLite (default: %(default)s)")
    arguments = parser.parse_args(argv)
    if arguments.store is None:
        with tempfile.TemporaryDirectory(prefix="kitt-benchmarks-") as directory:
            section = busy_timeout_section(
                Path(directory), arguments.writers or 8, arguments.runs, arguments.rounds
            )
        print(text_table(section), end="\n\n")
    print(text_table(server_section(arguments.store, arguments.writers or 16, arguments.runs, arguments.readers)))
    return 0
