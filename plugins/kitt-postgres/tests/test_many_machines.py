"""A team at work: many processes save into one server while others read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from kitt_core.testing.concurrency import assert_intact, together
from kitt_core.testing.worker import StoreTarget

if TYPE_CHECKING:
    from kitt_postgres.testing import Database


@pytest.mark.long  # the kit shows the same with four writers and one reader
@pytest.mark.parametrize(("machines", "runs", "readers"), [(16, 50, 4)])
def test_machines_save_while_others_read(
    new_database: Callable[[], Database], machines: int, runs: int, readers: int
) -> None:
    database = new_database()
    with database.open() as store:
        store.initialize()
    writers = [("save_many", f"m{n}", str(runs)) for n in range(machines)]
    reading = [("read_until", str(machines * runs))] * readers
    said = together(StoreTarget(database.dsn, dict(database.options)), [*writers, *reading])
    assert said[machines:] == [[]] * readers
    assert said[:machines] == [[f"m{n}-{i}" for i in range(runs)] for n in range(machines)]
    with database.open() as store:
        assert store.count() == machines * runs
        assert_intact(store)
