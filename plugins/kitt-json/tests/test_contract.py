from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitt_core.storage import ResultStore
from kitt_core.testing import StoreContract
from kitt_json.store import JSONResultStore


class TestJSON(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ResultStore]:
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no power cut here, and waiting takes long
        with JSONResultStore(tmp_path) as store:
            yield store

    def reopen(self, store: ResultStore) -> ResultStore:
        return JSONResultStore(store.location)
