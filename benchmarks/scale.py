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
        total: Goal for the ratio of times.
        per_run: Goal for the ratio of times per matching run.
        filters: Which runs match.
    """

    name: str
    title: str
    ask: Callable[[ResultStore], Callable[[], object]]
    total: float | None = None
    per_run: float | None = None
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
    Question("mean", "mean of a metric by engine", _aggregate(["engine"], "avg"), per_run=1.2),
    Question(
        "percentiles",
        "p50 and p99 of a metric by model and engine",
        _aggregate(["model", "engine"], "p50", "p99"),
        per_run=1.2,
    ),
    Question("top", "the 50 runs with the greatest metric", _listing(order_by=_BY_METRIC), total=2, per_run=1.2),
    Question("condition", f"newest 50 with {METRIC} > 990", _listing(**_HIGH), per_run=1.2, filters=_HIGH),
    Question("pair-count", "count of model, engine, passed, since", _counting(_PAIR), per_run=1.5, filters=_PAIR),
    # In the smallest store, 34 runs match: a page of 50 would have more runs in the others.
    Question("pair", "newest 20 of model, engine, passed, since", _listing(limit=20, **_PAIR), total=1.5),
    Question("newest", "newest 50", _listing(), total=1.5),
    Question("model", "newest 50 of a model", _listing(model=MODELS[0]), total=1.5),
    Question("offset", "50 runs after all but the last 100, by offset", _offset, per_run=1.5),
    Question("cursor", "the same, after a cursor", _cursor, total=1.5),
    Question(
        "count",
        "count of an engine's runs",
        _counting({"engine": ENGINES[0]}),
        per_run=1.5,
        filters={"engine": ENGINES[0]},
    ),
)


@frozen
class Answer:
    """What a question took.

    Attributes:
        seconds: Median at each size.
        total: Ratio of the largest store's time to the smallest's.
        per_run: The same per matching run.
    """

    seconds: tuple[float, ...]
    total: float
    per_run: float


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
        lines = [line for question in _QUESTIONS for line in _lines(backend, question, sizes, stores, seconds)]
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


def _answer(question: Question, stores: Sequence[ResultStore], seconds: float) -> Answer:
    calls = [question.ask(store) for store in stores]
    for call in calls:
        call()
    gc.collect()
    times: list[list[float]] = []
    deadline = time.perf_counter() + seconds
    while len(times) < _LEAST_ROUNDS or (time.perf_counter() < deadline and len(times) < _MOST_ROUNDS):
        times.append([_timed(call) for call in calls])
    total = statistics.median(round_[-1] / round_[0] for round_ in times)
    matching = [max(store.count(question.filters), 1) for store in (stores[0], stores[-1])]
    return Answer(
        tuple(statistics.median(column) for column in zip(*times, strict=True)),
        total,
        total * matching[0] / matching[1],
    )


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _lines(
    backend: str, question: Question, sizes: Sequence[int], stores: Sequence[ResultStore], seconds: float
) -> Iterator[Measurement]:
    """Yield a line for each of the question's goals."""
    print(f"{backend}: {question.title}", file=sys.stderr)
    answer = _answer(question, stores, seconds)
    of_sizes = {f"seconds_{size}": value for size, value in zip(sizes, answer.seconds, strict=True)}
    for ratio, limit, of, name in (
        (answer.total, question.total, "times", ""),
        (answer.per_run, question.per_run, "times per run", "-per-run"),
    ):
        if limit is not None:
            yield Measurement(
                name=f"scale-{backend}-{question.name}{name}",
                cells=(question.title, *map(duration, answer.seconds), f"{ratio:.2f}", of),
                metrics={"ratio": ratio, **of_sizes},
                ratio=ratio,
                goal=Goal(limit),
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
