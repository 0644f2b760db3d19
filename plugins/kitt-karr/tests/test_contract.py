"""The conformance kit, on the repositories that KITT makes: bare ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitt_core.storage import ResultStore
from kitt_core.testing import StoreContract
from kitt_karr.store import KarrResultStore


class TestKarr(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[ResultStore]:
        with KarrResultStore(tmp_path / "karr") as store:
            yield store

    def reopen(self, store: ResultStore) -> ResultStore:
        return KarrResultStore(store.location)
