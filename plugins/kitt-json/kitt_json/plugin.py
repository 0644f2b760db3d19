"""The backend ``json``, as the plugin manager sees it: imports nothing heavy."""

from __future__ import annotations

from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import Registry
from kitt_core.storage import ResultStore, StorageBackend
from kitt_json.options import CAPABILITIES, JSONOptions, is_tree

__all__ = ["kitt_register_storage"]


def _open(options: JSONOptions) -> ResultStore:
    from kitt_json.store import JSONResultStore

    return JSONResultStore(options.path)


@hookimpl
def kitt_register_storage(registry: Registry[StorageBackend]) -> None:
    """Register the backend."""
    registry.add(
        StorageBackend(
            name="json",
            open=_open,
            options=JSONOptions,
            recognises=is_tree,
            summary="Runs as plain files in a kitt-results tree.",
            capabilities=CAPABILITIES,
        )
    )
