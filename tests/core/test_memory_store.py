from __future__ import annotations

from collections.abc import Iterator

import pytest

from kitt_core.storage import ResultStore
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Iterator[ResultStore]:
        with MemoryStore() as store:
            yield store
