"""The store passes the conformance kit, on each PostgreSQL version that is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from kitt_core.storage import ResultStore
from kitt_core.testing import StoreContract
from kitt_postgres import PostgresResultStore

if TYPE_CHECKING:
    from kitt_postgres.testing import Database


@pytest.mark.each_postgres
class TestPostgres(StoreContract):
    @pytest.fixture
    def database(self, new_database: Callable[[], Database]) -> Database:
        return new_database()

    @pytest.fixture
    def store(self, database: Database) -> Iterator[ResultStore]:
        with PostgresResultStore(database.dsn, **database.options) as store:
            store.initialize()
            yield store

    @pytest.fixture(autouse=True)
    def _reopening(self, database: Database) -> None:
        self.database = database

    def reopen(self, store: ResultStore) -> ResultStore:
        del store
        return PostgresResultStore(self.database.dsn, **self.database.options)
