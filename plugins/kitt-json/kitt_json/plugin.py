"""The plugin: registers the backend ``json``; imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from kitt_core.hookspecs import hookimpl
from kitt_core.storage import Capability, ResultStore, StorageBackend
from kitt_json.tree import is_tree

if TYPE_CHECKING:
    from kitt_core.plugins import Registry

__all__ = ["JSONOptions", "kitt_register_storage"]


@frozen
class JSONOptions:
    """Where the tree is.

    Attributes:
        path: The directory that holds ``kitt-results/``, or the tree itself if it is called so.
    """

    path: Path = field(
        default=Path(),
        converter=Path,
        metadata={"help": "Directory that holds kitt-results/, or the tree itself.", "target": "path"},
    )


@hookimpl
def kitt_register_storage(registry: Registry[StorageBackend]) -> None:
    """Add the backend ``json``."""
    registry.add(
        StorageBackend(
            name="json",
            open=_open,
            options=JSONOptions,
            recognises=is_tree,
            summary="Runs as plain files in a kitt-results tree.",
            capabilities=frozenset({Capability.DELETE, Capability.CONCURRENT, Capability.ATTACHMENTS}),
        )
    )


def _open(options: JSONOptions) -> ResultStore:
    from kitt_json.store import JSONResultStore

    return JSONResultStore(options.path)
