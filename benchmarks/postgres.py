"""KITT's PostgreSQL store on a private server with its default durability: saves and imports."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Final

from attrs import frozen

from benchmarks.kept import batches
from benchmarks.postgres_floor import PostgresFloor
from benchmarks.timing import Sides
from benchmarks.workload import run_document
from kitt_core import ResultStore, open_store
from kitt_core.runs import CheckedRun, check_run
from kitt_core.runs.codec import encode
from kitt_postgres.testing import PrivateServer

__all__ = ["PostgresBench", "importing", "saving"]

_BATCH: Final = 100
_FRESH: Final = 10_000_000


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
        store = open_store(self.dsn)
        store.initialize()
        for batch in batches(self.size):
            store.save_results(batch)
        self.server.execute("VACUUM ANALYZE", database=self.dsn.rpartition("/")[2])
        return store

    @cached_property
    def floor(self) -> PostgresFloor:
        """The floor's connection to the same tables."""
        self.store.count()
        return PostgresFloor(self.dsn)

    def close(self) -> None:
        """Close what was opened, and stop the server."""
        for name in ("store", "floor"):
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


def _checked(number: int) -> CheckedRun:
    return check_run(encode(run_document(_FRESH + number)))
