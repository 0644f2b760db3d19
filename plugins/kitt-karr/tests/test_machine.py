"""Random sequences of operations, compared with a model."""

from __future__ import annotations

from pathlib import Path

from kitt_core.storage import ResultStore
from kitt_core.testing.machine import StoreStateMachine
from kitt_karr.store import KarrResultStore


class KarrMachine(StoreStateMachine):
    def open_store(self, directory: Path) -> ResultStore:
        return KarrResultStore(directory / "karr", lfs_threshold=3)


TestKarrMachine = KarrMachine.TestCase
