"""Threads, processes and kills: the kit's contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from kitt_core.testing.concurrency import StoreConcurrencyContract
from kitt_core.testing.worker import StoreTarget

if TYPE_CHECKING:
    from kitt_postgres.testing import Database


@pytest.mark.each_postgres
class TestPostgresTogether(StoreConcurrencyContract):
    @pytest.fixture
    def target(self, new_database: Callable[[], Database]) -> StoreTarget:
        database = new_database()
        with database.open() as store:
            store.initialize()
        return StoreTarget(database.dsn, dict(database.options))
