"""The plugin: registers the backend ``shelve``; imports no driver."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import Registry
from kitt_core.storage import Capability, ResultStore, StorageBackend

__all__ = ["ShelveOptions", "kitt_register_storage"]


@frozen
class ShelveOptions:
    """What the user can set.

    Attributes:
        path: The directory that holds the shelf.
    """

    path: Path = field(default=Path("shelf"), metadata={"help": "Directory of the shelf.", "target": "path"})


def _open(options: ShelveOptions) -> ResultStore:
    from kitt_shelve.store import ShelveStore

    return ShelveStore(options.path)


@hookimpl
def kitt_register_storage(registry: Registry[StorageBackend]) -> None:
    """Add the backend."""
    registry.add(
        StorageBackend(
            name="shelve",
            open=_open,
            options=ShelveOptions,
            recognises=lambda path: path.is_dir() and any(path.glob("kitt.shelf*")),
            summary="Runs in a shelf of the standard library.",
            capabilities=frozenset({Capability.DELETE}),
            api_version=1,
        )
    )
