"""Threads, processes and kills: the kit's contract; afterwards git itself finds the repository intact."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitt_core.testing.concurrency import StoreConcurrencyContract
from kitt_core.testing.worker import StoreTarget


class TestKarrTogether(StoreConcurrencyContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[StoreTarget]:
        path = tmp_path / "karr"
        yield StoreTarget("kitt_karr.store:KarrResultStore", {"path": str(path)})
        fsck = ["git", "-C", str(path), "fsck", "--strict", "--no-dangling"]
        done = subprocess.run(fsck, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")
