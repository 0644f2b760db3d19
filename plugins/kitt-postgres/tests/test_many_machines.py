"""A team at work: many processes save into one server while others read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kitt_core.testing.concurrency import assert_whole, together
from kitt_core.testing.target import StoreTarget

if TYPE_CHECKING:
    from kitt_postgres.testing import Database

WRITERS, RUNS, READERS = 16, 50, 4


def test_sixteen_machines_save_while_four_read(new_database: Callable[[], Database]) -> None:
    database = new_database()
    with database.open() as store:
        store.initialize()
    writers = [("save_many", f"m{n}", str(RUNS)) for n in range(WRITERS)]
    readers = [("read_until", str(WRITERS * RUNS))] * READERS
    said = together(StoreTarget(database.dsn, dict(database.options)), [*writers, *readers])
    assert said[WRITERS:] == [[]] * READERS
    assert said[:WRITERS] == [[f"m{n}-{i}" for i in range(RUNS)] for n in range(WRITERS)]
    with database.open() as store:
        assert store.count() == WRITERS * RUNS
        assert_whole(store)
