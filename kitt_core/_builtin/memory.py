"""The backend ``memory``."""

from __future__ import annotations

from attrs import frozen

from kitt_core.hookspecs import hookimpl
from kitt_core.plugins.records import Registry
from kitt_core.storage.backend import StorageBackend
from kitt_core.storage.memory import MemoryStore


@frozen
class MemoryOptions:
    """A store in memory has no options."""


def _open(_options: MemoryOptions) -> MemoryStore:
    return MemoryStore()


@hookimpl
def kitt_register_storage(registry: Registry[StorageBackend]) -> None:
    """Register the backend."""
    registry.add(
        StorageBackend(
            name="memory",
            open=_open,
            options=MemoryOptions,
            summary="Runs in memory, lost when the program ends.",
            capabilities=MemoryStore.capabilities,
        )
    )
