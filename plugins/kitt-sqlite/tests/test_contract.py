"""The store passes the conformance kit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitt_core.storage import ResultStore
from kitt_core.testing import StoreContract
from kitt_sqlite import SQLiteResultStore


class TestSQLite(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[ResultStore]:
        with SQLiteResultStore(tmp_path / "runs.db") as store:
            yield store

    def reopen(self, store: ResultStore) -> ResultStore:
        return SQLiteResultStore(Path(store.location))
