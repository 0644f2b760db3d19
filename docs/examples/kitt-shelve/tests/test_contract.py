"""The whole certificate: the conformance kit."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kitt_core import ResultStore, open_store
from kitt_core.testing import StoreContract, StoreStateMachine

from kitt_shelve.store import ShelveStore


class TestShelve(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[ResultStore]:
        with ShelveStore(tmp_path / "runs") as store:
            yield store

    def reopen(self, store: ResultStore) -> ResultStore:
        return ShelveStore(Path(store.location))


class ShelveMachine(StoreStateMachine):
    def open_store(self, directory: Path) -> ResultStore:
        return open_store(f"shelve:///{directory}/runs")


TestShelveMachine = ShelveMachine.TestCase
