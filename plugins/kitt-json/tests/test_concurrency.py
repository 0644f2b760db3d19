"""Threads, processes and kills: the kit's contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitt_core.testing.concurrency import StoreConcurrencyContract
from kitt_core.testing.worker import StoreTarget


class TestJSONTogether(StoreConcurrencyContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> StoreTarget:
        return StoreTarget("kitt_json.store:JSONResultStore", {"path": str(tmp_path)})
