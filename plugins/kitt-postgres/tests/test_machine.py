"""Random sequences of operations, compared with a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from kitt_core.storage import ResultStore
from kitt_postgres.options import PostgresOptions
from kitt_postgres.store import PostgresResultStore
from kitt_sql.testing.recounting import RecountingMachine

if TYPE_CHECKING:
    from kitt_postgres.testing import Database, Databases


class PostgresMachine(RecountingMachine):
    database: ClassVar[Database]
    opened: ClassVar[set[Path]] = set()

    def open_store(self, directory: Path) -> ResultStore:
        store = PostgresResultStore(PostgresOptions(self.database.dsn, **self.database.options))
        if directory not in self.opened:  # a new sequence begins with an empty store
            self.opened.add(directory)
            with store.database.raw_writing() as driver:
                driver.execute("DELETE FROM quick_tests; DELETE FROM runs; DELETE FROM metric_rollup")
        return store


@pytest.fixture(scope="module", autouse=True)
def _database(postgres_databases: Databases) -> Iterator[None]:
    PostgresMachine.database = postgres_databases.new()
    with PostgresMachine.database.open() as store:
        store.initialize()
    yield
    postgres_databases.drop(PostgresMachine.database)


TestPostgresMachine = PostgresMachine.TestCase
