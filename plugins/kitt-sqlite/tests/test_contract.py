"""The store passes the conformance kit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitt_core.storage import ResultStore
from kitt_core.testing import StoreContract
from kitt_sqlite.options import SQLiteOptions
from kitt_sqlite.store import SQLiteResultStore


class TestSQLite(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[ResultStore]:
        with SQLiteResultStore(SQLiteOptions(tmp_path / "runs.db")) as store:
            yield store

    def reopen(self, store: ResultStore) -> ResultStore:
        return SQLiteResultStore(SQLiteOptions(Path(store.location)))
