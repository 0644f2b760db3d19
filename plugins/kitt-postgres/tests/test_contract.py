"""The store passes the conformance kit, on each installed PostgreSQL version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from kitt_core.storage import ResultStore
from kitt_core.testing import StoreContract
from kitt_postgres.options import PostgresOptions
from kitt_postgres.store import PostgresResultStore

if TYPE_CHECKING:
    from kitt_postgres.testing import Database, Databases


@pytest.fixture(scope="session")
def database(postgres_databases: Databases) -> Iterator[Database]:
    database = postgres_databases.new()
    with database.open() as store:
        store.initialize()
    yield database
    postgres_databases.drop(database)


@pytest.mark.each_postgres
class TestPostgres(StoreContract):
    @pytest.fixture
    def store(self, database: Database) -> Iterator[ResultStore]:
        self.database = database
        with PostgresResultStore(PostgresOptions(database.dsn, **database.options)) as store:
            yield store
            # Creating the tables takes a hundred times as long, TRUNCATE five times.
            with store.database.raw_writing() as driver:
                driver.execute("DELETE FROM quick_tests; DELETE FROM runs; DELETE FROM metric_rollup")

    def reopen(self, store: ResultStore) -> ResultStore:
        return PostgresResultStore(PostgresOptions(self.database.dsn, **self.database.options))
