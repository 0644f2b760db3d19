"""``python -m benchmarks.writers``: how long a save takes while a whole team saves and reads on one server."""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from benchmarks.workload import METRIC, run_document
from kitt_core import open_store

__all__ = ["main"]

_SPAWN = multiprocessing.get_context("spawn")


def main(argv: Sequence[str] | None = None) -> int:
    """Let processes save and read at the same time, and print how long the calls took."""
    arguments = _parser().parse_args(argv)
    with ExitStack() as stack:
        target = arguments.store or stack.enter_context(_private_server())
        with open_store(target) as store:
            store.initialize()
            before = store.count()
        number = arguments.writers * arguments.runs
        saves, reads, seconds = _measure(target, arguments.writers, arguments.runs, arguments.readers)
        with open_store(target) as store:
            if store.count() - before != number:
                sys.exit(f"error: {number} runs were saved, but the store has {store.count() - before}")
    print(f"{arguments.writers} writers x {arguments.runs} runs, {arguments.readers} readers: nothing lost")
    print(f"saves  {number / seconds:.0f}/s  {_times(saves)}")
    if reads:
        print(f"reads  {len(reads) / seconds:.0f}/s  {_times(reads)}")
    return 0


@contextmanager
def _private_server() -> Iterator[str]:
    from kitt_postgres.testing import PrivateServer

    with PrivateServer() as server:
        yield server.create_database()


def _measure(target: str, writers: int, runs: int, readers: int) -> tuple[list[float], list[float], float]:
    start = _SPAWN.Barrier(writers + readers + 1)
    done, saves, reads = _SPAWN.Event(), _SPAWN.SimpleQueue(), _SPAWN.SimpleQueue()
    saving = [_SPAWN.Process(target=_save, args=(target, n * runs, runs, start, saves)) for n in range(writers)]
    reading = [_SPAWN.Process(target=_read, args=(target, start, done, reads)) for _ in range(readers)]
    for process in (*saving, *reading):
        process.start()
    start.wait()
    clock = time.perf_counter()
    saved = [seconds for _ in saving for seconds in saves.get()]
    elapsed = time.perf_counter() - clock
    done.set()
    read = [seconds for _ in reading for seconds in reads.get()]
    for process in (*saving, *reading):
        process.join()
    return saved, read, elapsed


def _save(target: str, first: int, number: int, start: Any, times: Any) -> None:
    documents = [run_document(n) for n in range(first, first + number)]
    with open_store(target) as store:
        store.count()  # connects and checks the schema
        start.wait()
        times.put([_timed(partial(store.save_result, document)) for document in documents])


def _read(target: str, start: Any, done: Any, times: Any) -> None:
    taken = []
    with open_store(target) as store:
        store.count()
        start.wait()
        while not done.is_set():
            taken.append(_timed(lambda: store.list_results(limit=50)))
            taken.append(_timed(lambda: store.aggregate("engine", METRIC)))
    times.put(taken)


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _times(seconds: Sequence[float]) -> str:
    percentiles = statistics.quantiles(seconds, n=100)
    wanted = {"p50": percentiles[49], "p99": percentiles[98], "max": max(seconds)}
    return "  ".join(f"{name} {1000 * value:.1f} ms" for name, value in wanted.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.writers", description="Time many writers on one store."
    )
    parser.add_argument("--store", metavar="URI", help="the store (default: a private PostgreSQL server)")
    parser.add_argument("--writers", type=int, default=16, help="processes that save (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=50, help="runs that each saves (default: %(default)s)")
    parser.add_argument("--readers", type=int, default=4, help="processes that read (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
