"""Threads, processes and kills: the kit's contract."""

from pathlib import Path

import pytest

from kitt_core.testing.concurrency import StoreConcurrencyContract
from kitt_core.testing.worker import StoreTarget


class TestSQLiteTogether(StoreConcurrencyContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> StoreTarget:
        # Eight writers on a busy machine may keep one of them waiting for longer than a user would.
        return StoreTarget(f"sqlite:///{tmp_path}/runs.db", {"busy_timeout": 120})
