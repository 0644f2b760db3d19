"""The store in memory under the random operations; its contract test is in ``tests/core``."""

from __future__ import annotations

from pathlib import Path

from kitt_core.storage import ResultStore
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing.machine import StoreStateMachine


class MemoryMachine(StoreStateMachine):
    persistent = False

    def open_store(self, directory: Path) -> ResultStore:
        return MemoryStore()


TestMemoryMachine = MemoryMachine.TestCase
