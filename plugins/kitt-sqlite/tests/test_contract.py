"""The store passes the conformance kit."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitt_core.storage import ResultStore
from kitt_core.testing import StoreContract
from kitt_sqlite.options import SQLiteOptions
from kitt_sqlite.store import SQLiteResultStore


def opened(path: Path) -> SQLiteResultStore:
    # Waiting for the disk would be most of the time; what survives a crash is tested elsewhere.
    return SQLiteResultStore(SQLiteOptions(path, synchronous="OFF"))


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables: creating them takes ten times as long as copying the file."""
    path = tmp_path_factory.mktemp("empty") / "runs.db"
    with opened(path) as store:
        store.initialize()
    return path


class TestSQLite(StoreContract):
    @pytest.fixture
    def store(self, empty: Path, tmp_path: Path) -> Iterator[ResultStore]:
        with opened(shutil.copyfile(empty, tmp_path / "runs.db")) as store:
            yield store

    def reopen(self, store: ResultStore) -> ResultStore:
        return opened(Path(store.location))
