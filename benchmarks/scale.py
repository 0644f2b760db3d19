"""``python -m benchmarks scale``: what questions cost in stores of 10,000 to 1,000,000 small runs.

The stores are generated once and kept (`benchmarks.kept`). A round asks each store once, in turn; a time is the
median of a question's rounds, and a ratio that of the rounds' ratios of the largest store to the smallest.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from benchmarks.kept import CACHE, kept_server, kept_sqlite, postgres_store
from benchmarks.report import Goal, Measurement, Section, duration, text_table
from benchmarks.workload import ENGINES, METRIC, MODELS, time_after
from kitt_core import ResultStore

__all__ = ["BACKENDS", "SIZES", "main", "measure"]

SIZES: Final = (10_000, 100_000, 1_000_000)
BACKENDS: Final = ("sqlite", "postgres")
_LEAST_ROUNDS: Final = 3
_MOST_ROUNDS: Final = 25
_SECONDS: Final = 10.0
"""For a question, after its least number of rounds."""

_PAIR: Final[Mapping[str, Any]] = {
    "model": MODELS[0],
    "engine": ENGINES[0],
    "passed": True,
    "since": time_after(0.25).isoformat(),
}
_HIGH: Final[Mapping[str, Any]] = {"metrics": f"{METRIC}>990"}
_BY_METRIC: Final = f"-metric:{METRIC}"


@frozen
class Question:
    """What a store is asked.

    Attributes:
        name: Part of the entry's name.
        title: The table's.
        ask: Prepares the question to a store, untimed, and returns what is timed.
        goal: For the ratio of the largest store's time to the smallest's.
        per_run: Whether that is of times per matching run.
        filters: Which runs match.
    """

    name: str
    title: str
    ask: Callable[[ResultStore], Callable[[], object]]
    goal: float
    per_run: bool = False
    filters: Mapping[str, Any] = field(factory=dict)


def _listing(*, limit: int = 50, order_by: str = "-timestamp", **filters: Any) -> Callable[..., Any]:
    return lambda store: lambda: store.list_results(filters, order_by=order_by, limit=limit)


def _counting(filters: Mapping[str, Any]) -> Callable[..., Any]:
    return lambda store: lambda: store.count(filters)


def _aggregate(group_by: Sequence[str], *names: str) -> Callable[..., Any]:
    return lambda store: lambda: store.aggregate(group_by, [METRIC], statistics=names)


def _offset(store: ResultStore) -> Callable[[], object]:
    offset = max(store.count() - 100, 0)
    return lambda: store.list_results(limit=50, offset=offset)


def _cursor(store: ResultStore) -> Callable[[], object]:
    cursor = store.list_results(limit=1, offset=max(store.count() - 101, 0)).next_cursor
    return lambda: store.list_results(limit=50, after=cursor)


_QUESTIONS: Final = (
    Question("mean", "mean of a metric by engine", _aggregate(["engine"], "avg"), goal=1.2, per_run=True),
    Question(
        "percentiles",
        "p50 and p99 of a metric by model and engine",
        _aggregate(["model", "engine"], "p50", "p99"),
        goal=1.2,
        per_run=True,
    ),
    Question("top", "the 50 runs with the greatest metric", _listing(order_by=_BY_METRIC), goal=2),
    Question(
        "condition", f"newest 50 with {METRIC} > 990", _listing(**_HIGH), goal=1.2, per_run=True, filters=_HIGH
    ),
    Question(
        "pair-count",
        "count of model, engine, passed, since",
        _counting(_PAIR),
        goal=1.5,
        per_run=True,
        filters=_PAIR,
    ),
    # In the smallest store, 34 runs match: a page of 50 would have more runs in the others.
    Question("pair", "newest 20 of model, engine, passed, since", _listing(limit=20, **_PAIR), goal=1.5),
    Question("newest", "newest 50", _listing(), goal=1.5),
    Question("model", "newest 50 of a model", _listing(model=MODELS[0]), goal=1.5),
    Question("offset", "50 runs after all but the last 100, by offset", _offset, goal=1.5, per_run=True),
    Question("cursor", "the same, after a cursor", _cursor, goal=1.5),
    Question(
        "count",
        "count of an engine's runs",
        _counting({"engine": ENGINES[0]}),
        goal=1.5,
        per_run=True,
        filters={"engine": ENGINES[0]},
    ),
)


def measure(backend: str, sizes: Sequence[int] = SIZES, cache: Path = CACHE, seconds: float = _SECONDS) -> Section:
    """Ask all questions in stores of these sizes.

    Args:
        backend: One of `BACKENDS`.
        sizes: Runs in each store.
        cache: Where the stores are, or are generated.
        seconds: How long a question is asked again.
    """
    sizes = sorted(sizes)
    with _stores(backend, sizes, cache) as stores:
        lines = [_line(backend, question, sizes, stores, seconds) for question in _QUESTIONS]
    headings = ("question", *(f"{size:,} runs" for size in sizes), "ratio", "of")
    return Section(f"scale-{backend}", headings, tuple(lines))


@contextmanager
def _stores(backend: str, sizes: Sequence[int], cache: Path) -> Iterator[list[ResultStore]]:
    with ExitStack() as stack:
        if backend == "sqlite":
            stores = [stack.enter_context(kept_sqlite(cache, size, small=True)) for size in sizes]
        else:
            server = stack.enter_context(kept_server(cache))
            stores = [stack.enter_context(postgres_store(server, size, small=True)) for size in sizes]
        yield stores


def _answer(question: Question, stores: Sequence[ResultStore], seconds: float) -> tuple[tuple[float, ...], float]:
    """Return the median at each size, and the ratio of the last store to the first."""
    calls = [question.ask(store) for store in stores]
    for call in calls:
        call()
    gc.collect()
    times: list[list[float]] = []
    deadline = time.perf_counter() + seconds
    while len(times) < _LEAST_ROUNDS or (time.perf_counter() < deadline and len(times) < _MOST_ROUNDS):
        times.append([_timed(call) for call in calls])
    ratio = statistics.median(of_round[-1] / of_round[0] for of_round in times)
    if question.per_run:
        few, many = (max(store.count(question.filters), 1) for store in (stores[0], stores[-1]))
        ratio *= few / many
    return tuple(statistics.median(column) for column in zip(*times, strict=True)), ratio


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _line(
    backend: str, question: Question, sizes: Sequence[int], stores: Sequence[ResultStore], seconds: float
) -> Measurement:
    print(f"{backend}: {question.title}", file=sys.stderr)
    times, ratio = _answer(question, stores, seconds)
    of = "times per run" if question.per_run else "times"
    return Measurement(
        name=f"scale-{backend}-{question.name}",
        cells=(question.title, *map(duration, times), f"{ratio:.2f}", of),
        metrics={"ratio": ratio, **{f"seconds_{size}": taken for size, taken in zip(sizes, times, strict=True)}},
        ratio=ratio,
        goal=Goal(question.goal),
        summary=f"{backend}: {question.title}: {of}, {sizes[-1]:,} runs against {sizes[0]:,}",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of each backend."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks scale", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--sizes", type=sizes_of, default=SIZES, help="runs in each store, e.g. 1000,10000")
    parser.add_argument("--backend", choices=BACKENDS, action="append", help="by default both")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="for a question (default: %(default)s)")
    parser.add_argument("--directory", type=Path, default=CACHE, help="keeps the stores (default: %(default)s)")
    arguments = parser.parse_args(argv)
    for backend in arguments.backend or BACKENDS:
        print(text_table(measure(backend, arguments.sizes, arguments.directory, arguments.seconds)))
    return 0


def sizes_of(text: str) -> tuple[int, ...]:
    """Read sizes such as ``1000,10000``."""
    sizes = tuple(int(size) for size in text.split(","))
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text} has a size below 1")
    return sizes
