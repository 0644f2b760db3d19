"""What is measured: each case with KITT, and the same work with the baseline ("floor")."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from benchmarks import startup
from benchmarks.floor import Floor
from benchmarks.kept import CACHE, batches, kept_floor, kept_sqlite
from benchmarks.timing import Call, Sides
from benchmarks.workload import ENGINES, METRIC, MODELS, Document, run_document, write_run_files
from kitt_core import PluginManager, ResultStore, open_store
from kitt_core.runs.checking import check_document
from kitt_core.service.transfer.importing import find_candidates, import_runs

if TYPE_CHECKING:
    from benchmarks.postgres import PostgresBench

__all__ = ["CASES", "LARGE_SIZE", "Bench", "Case", "opened"]

LARGE_SIZE: Final = 10_000
_BATCH: Final = 100
_FRESH: Final = 10_000_000
"""Documents that are saved while measuring are numbered from here; those stored beforehand have lower numbers."""


@frozen
class Case:
    """One thing that is measured.

    Attributes:
        name: What the user types.
        summary: What KITT does, and what the floor does.
        sides: Prepares both sides.
        goal: The ratio that should not be exceeded; None if there is no goal.
    """

    name: str
    summary: str
    sides: Callable[[Bench], Sides]
    goal: float | None = None


@frozen(slots=False)
class Bench:
    """Where measurements happen: a directory, and in it both databases with the same runs.

    Attributes:
        directory: An empty directory; its disk is what is measured.
        size: How many standard documents are stored before anything is timed.
        large_size: The same for what is measured in the databases that are kept.
        cache: Where these are kept.
    """

    directory: Path
    size: int
    large_size: int = LARGE_SIZE
    cache: Path = CACHE

    @cached_property
    def plugins(self) -> PluginManager:
        """KITT's plugins."""
        return PluginManager()

    @cached_property
    def store(self) -> ResultStore:
        """KITT's store, filled with runs."""
        return self._filled("kitt.db")

    @cached_property
    def relaxed_store(self) -> ResultStore:
        """Another one, opened with ``synchronous=NORMAL``."""
        return self._filled("relaxed.db", synchronous="NORMAL")

    @cached_property
    def large_store(self) -> ResultStore:
        """KITT's store with many runs, which is only read."""
        return kept_sqlite(self.cache, self.large_size, small=False)

    @cached_property
    def large_floor(self) -> Floor:
        """The floor's database with the same runs, which is only read."""
        return kept_floor(self.cache, self.large_size)

    @cached_property
    def repository(self) -> ResultStore:
        """The store of kitt-karr with a bare repository, filled with runs."""
        store = open_store(f"karr:///{self.directory}/karr", plugins=self.plugins)
        for batch in batches(self.size):
            store.save_results(batch)
        return store

    @cached_property
    def floor(self) -> Floor:
        """The floor's database, filled with runs."""
        floor = Floor(self.directory / "floor.db")
        for batch in batches(self.size):
            floor.save(batch)
        return floor

    @cached_property
    def postgres(self) -> PostgresBench:
        """A PostgreSQL server; its imports happen only for the cases that need one."""
        from benchmarks.postgres import PostgresBench

        return PostgresBench(self.size)

    def _filled(self, name: str, **options: str) -> ResultStore:
        store = open_store(f"sqlite:///{self.directory}/{name}", plugins=self.plugins, **options)
        for batch in batches(self.size):
            store.save_results(batch)
        return store

    def files(self, side: str, number: int) -> Path:
        """Return a directory of new run directories."""
        directory = self.directory / f"files-{side}-{number}"
        first = _FRESH + number * _BATCH
        write_run_files(directory, range(first, first + _BATCH))
        return directory


@contextmanager
def opened(directory: Path, size: int, *, large_size: int = LARGE_SIZE, cache: Path = CACHE) -> Iterator[Bench]:
    """Provide a bench, and close what it has opened."""
    bench = Bench(directory, size, large_size, cache)
    try:
        yield bench
    finally:
        for name in ("store", "relaxed_store", "large_store", "large_floor", "repository", "floor", "postgres"):
            if name in vars(bench):
                vars(bench)[name].close()


def _save(bench: Bench, *, small: bool = False) -> Sides:
    def measured(number: int) -> Callable[[], object]:
        return partial(bench.store.save_result, run_document(_FRESH + number, small=small))

    def floor(number: int) -> Callable[[], object]:
        return partial(bench.floor.save, [run_document(_FRESH + number, small=small)])

    return Sides(measured, floor, 40)


def _check(bench: Bench) -> Sides:
    def floor(number: int) -> Callable[[], object]:
        return partial(bench.floor.save, [run_document(2 * _FRESH + number)])

    return Sides(lambda number: partial(check_document, run_document(2 * _FRESH + number)), floor, 40)


def _save_relaxed(bench: Bench) -> Sides:
    def saving(store: ResultStore) -> Call:
        return lambda number: partial(store.save_result, run_document(_FRESH + number))

    return Sides(saving(bench.relaxed_store), saving(bench.store), 40)


def _save_batch(bench: Bench) -> Sides:
    def batch(number: int) -> list[Document]:
        first = _FRESH + number * _BATCH
        return [run_document(n) for n in range(first, first + _BATCH)]

    return Sides(
        lambda number: partial(bench.store.save_results, batch(number)),
        lambda number: partial(bench.floor.save, batch(number)),
        1,
    )


def _import(bench: Bench) -> Sides:
    def measured(number: int) -> Callable[[], object]:
        directory = bench.files("kitt", number)
        return lambda: import_runs(bench.store, find_candidates(bench.plugins, [directory]))

    def floor(number: int) -> Callable[[], object]:
        directory = bench.files("floor", number)
        return lambda: bench.floor.import_files(sorted(directory.rglob("metrics.json")))

    return Sides(measured, floor, 1)


def _same(measured: Callable[[], object], floor: Callable[[], object], calls: int = 20) -> Sides:
    """Return sides that do the same in every call."""

    def every(call: Callable[[], object]) -> Call:
        return lambda _: call

    return Sides(every(measured), every(floor), calls)


def _list(bench: Bench) -> Sides:
    return _same(partial(bench.store.list_results, limit=50), bench.floor.newest, 50)


def _filter(bench: Bench) -> Sides:
    model, engine = MODELS[0], ENGINES[0]
    wanted = {"model": model, "engine": engine}
    return _same(
        partial(bench.store.list_results, wanted, limit=50), partial(bench.floor.newest_of, model, engine), 50
    )


def _deep_page(bench: Bench) -> Sides:
    cursor = bench.store.list_results(limit=max(1, bench.size // 2)).next_cursor
    page = bench.store.list_results(limit=1, after=cursor)
    last = page[0].timestamp if page else None
    return _same(
        partial(bench.store.list_results, limit=50, after=cursor),
        partial(bench.floor.newest_before, "" if last is None else last.isoformat(timespec="microseconds")),
        50,
    )


def _count(bench: Bench) -> Sides:
    return _same(partial(bench.store.count, {"engine": ENGINES[0]}), partial(bench.floor.count, ENGINES[0]), 50)


def _aggregate(bench: Bench) -> Sides:
    return _same(partial(bench.store.aggregate, "engine", METRIC), partial(bench.floor.means, METRIC), 3)


def _aggregate_large(bench: Bench) -> Sides:
    return _same(
        partial(bench.large_store.aggregate, "engine", [METRIC]), partial(bench.large_floor.means, METRIC), 1
    )


def _percentiles(bench: Bench) -> Sides:
    return _same(
        partial(bench.store.aggregate, "engine", METRIC, statistics=("p50", "p99")),
        partial(bench.floor.percentiles, METRIC),
        3,
    )


def _save_to_git(bench: Bench) -> Sides:
    def saving(store: ResultStore) -> Call:
        return lambda number: partial(store.save_result, run_document(_FRESH + number))

    return Sides(saving(bench.repository), saving(bench.store), 20)


def _list_from_git(bench: Bench) -> Sides:
    return _same(partial(bench.repository.list_results, limit=50), partial(bench.store.list_results, limit=50), 50)


def _filter_from_git(bench: Bench) -> Sides:
    wanted = {"model": MODELS[0], "engine": ENGINES[0]}
    return _same(
        partial(bench.repository.list_results, wanted, limit=50),
        partial(bench.store.list_results, wanted, limit=50),
        50,
    )


def _get_document(bench: Bench) -> Sides:
    ours = bench.store.save_result(run_document(_FRESH - 1))
    theirs = bench.floor.save([run_document(_FRESH - 1)])
    return _same(partial(bench.store.get_document, ours), partial(bench.floor.document, theirs), 50)


def _help(bench: Bench) -> Sides:
    return _same(startup.kitt(bench.directory, "--help"), startup.python("pass"), 3)


def _storage_list(bench: Bench) -> Sides:
    bench.store.count()  # creates the directory's default store before it is listed
    return _same(startup.kitt(bench.directory, "-q", "storage", "list"), startup.python("pass"), 3)


def _import_sqlalchemy(_: Bench) -> Sides:
    return _same(startup.python("import sqlalchemy.dialects.sqlite"), startup.python("pass"), 3)


def _postgres(name: str) -> Callable[[Bench], Sides]:
    def sides(bench: Bench) -> Sides:
        from benchmarks import postgres

        made: Sides = getattr(postgres, name)(bench.postgres)
        return made

    return sides


CASES: Final = (
    Case("save", "save_result of a standard document, durable, against raw executemany", _save, goal=1),
    Case("save-check", "checking, serialising, hashing and deriving alone, against the floor's save", _check),
    Case("save-small", "save_result of a small document, durable", functools.partial(_save, small=True)),
    Case("save-normal", "save_result with synchronous=NORMAL, against KITT's own with FULL", _save_relaxed),
    Case("save-batch", f"save_results of {_BATCH} standard documents, one transaction", _save_batch),
    Case("import", f"import of {_BATCH} run directories (read, parse, store)", _import),
    Case("list", "list_results(limit=50), the newest, against raw SQL", _list, goal=2),
    Case("filter", "list_results(limit=50) of one model and engine", _filter),
    Case("deep-page", "list_results(limit=50) after a cursor in the middle", _deep_page),
    Case("count", "count of one engine's runs", _count),
    Case("aggregate", "aggregate: mean of one metric by engine", _aggregate),
    Case(
        "aggregate-large",
        f"mean of one metric by engine over {LARGE_SIZE:,} runs, against SQL on version-10 tables",
        _aggregate_large,
        goal=0.05,
    ),
    Case("percentiles", "aggregate: p50 and p99 of one metric by engine", _percentiles),
    Case("get-document", "get_document by id", _get_document),
    Case("postgres-save", "save_result into PostgreSQL against executemany of its rows", _postgres("saving"), 0.5),
    Case(
        "postgres-import",
        f"{_BATCH} imported runs into PostgreSQL against executemany of their rows",
        _postgres("importing"),
        0.33,
    ),
    Case("karr-save", "kitt-karr: one commit, durable, against KITT's SQLite store", _save_to_git),
    Case("karr-list", "kitt-karr: list_results(limit=50), against KITT's SQLite store", _list_from_git, goal=3),
    Case("karr-filter", "kitt-karr: the same of one model and engine", _filter_from_git, goal=3),
    Case("help", "`kitt --help` against `python -c pass`", _help, goal=7),
    Case("import-sqlalchemy", "importing SQLAlchemy for SQLite against `python -c pass`", _import_sqlalchemy),
    Case("storage-list", "`kitt storage list` (50 runs) against `python -c pass`", _storage_list, goal=15),
)
