"""KITT's PostgreSQL store on a private server with its default durability: saves, imports, listings."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Final

from attrs import frozen

from benchmarks.postgres_floor import PostgresFloor
from benchmarks.timing import Sides
from benchmarks.workload import MODELS, run_document
from kitt_core import ResultStore, open_store
from kitt_core.runs import CheckedRun, check_run
from kitt_core.runs.codec import encode
from kitt_postgres.testing import PrivateServer

__all__ = ["PostgresBench", "filtering", "importing", "listing", "saving"]

_BATCH: Final = 100
_FRESH: Final = 10_000_000
_FEW: Final = 10
_MANY: Final = 100
"""Small runs in the two databases whose listings are compared, as multiples of the bench's size."""


@frozen(slots=False)
class PostgresBench:
    """A private server with databases on it.

    Attributes:
        size: How many standard documents are stored before anything is timed.
    """

    size: int

    @cached_property
    def server(self) -> PrivateServer:
        """The newest installed server with its default durability; its files are in the system's /tmp."""
        server = PrivateServer()
        server.start()
        return server

    @cached_property
    def dsn(self) -> str:
        """The database that both sides save into."""
        return self.server.create_database()

    @cached_property
    def store(self) -> ResultStore:
        """KITT's store there, with runs."""
        return self._filled(self.dsn, self.size, small=False)

    @cached_property
    def floor(self) -> PostgresFloor:
        """The floor's connection to the same tables."""
        self.store.count()
        return PostgresFloor(self.dsn)

    @cached_property
    def few(self) -> ResultStore:
        """A store with ten times ``size`` small runs."""
        return self._filled(self.server.create_database(), self.size * _FEW, small=True)

    @cached_property
    def many(self) -> ResultStore:
        """A store with a hundred times ``size`` small runs."""
        return self._filled(self.server.create_database(), self.size * _MANY, small=True)

    def _filled(self, dsn: str, number: int, *, small: bool) -> ResultStore:
        store = open_store(dsn)
        store.initialize()
        for first in range(0, number, _BATCH):
            numbers = range(first, min(first + _BATCH, number))
            store.save_results([run_document(number, small=small) for number in numbers])
        self.server.execute("VACUUM ANALYZE", database=dsn.rpartition("/")[2])
        return store

    def close(self) -> None:
        """Close what was opened, and stop the server."""
        for name in ("store", "floor", "few", "many"):
            if name in vars(self):
                vars(self)[name].close()
        if "server" in vars(self):
            self.server.stop()


def saving(bench: PostgresBench) -> Sides:
    """One run: KITT checks, derives and saves; the floor is given the rows."""

    def measured(number: int) -> Callable[[], object]:
        return partial(bench.store.save_result, encode(run_document(_FRESH + number)))

    return Sides(measured, lambda number: partial(bench.floor.save, _checked(number)), 40)


def importing(bench: PostgresBench) -> Sides:
    """A batch of runs that an import has read: KITT looks up their bytes and uses COPY; the floor saves each."""

    def runs(number: int, side: int) -> list[CheckedRun]:
        # Bytes that nobody else has saved, because an import would find them.
        return [_checked(side * _FRESH + number * _BATCH + place) for place in range(_BATCH)]

    def measured(number: int) -> Callable[[], object]:
        return partial(bench.store.save_unless_stored, runs(number, 1))

    def floor(number: int) -> Callable[[], object]:
        return partial(bench.floor.save_all, runs(number, 2))

    return Sides(measured, floor, 1)


def listing(bench: PostgresBench) -> Sides:
    """The newest 50 of many runs, compared with a tenth as many."""
    return _same(partial(bench.many.list_results, limit=50), partial(bench.few.list_results, limit=50))


def filtering(bench: PostgresBench) -> Sides:
    """The newest 50 runs of a model among many runs, compared with a tenth as many."""
    wanted = {"model": MODELS[0], "passed": True}
    return _same(
        partial(bench.many.list_results, wanted, limit=50), partial(bench.few.list_results, wanted, limit=50)
    )


def _checked(number: int) -> CheckedRun:
    return check_run(encode(run_document(_FRESH + number)))


def _same(measured: Callable[[], object], floor: Callable[[], object]) -> Sides:
    return Sides(lambda _: measured, lambda _: floor, 50)
