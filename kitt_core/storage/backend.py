"""The record that a storage plugin registers, and the options that open a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from kitt_core.options import attrs_class
from kitt_core.storage.contract import Capability, ResultStore

__all__ = ["STORAGE_API_VERSION", "StorageBackend"]

STORAGE_API_VERSION: Final = 1
"""The version of the storage contract; a backend that asks for a newer one is refused."""


def _recognises_nothing(_path: Path) -> bool:
    return False


@frozen
class StorageBackend:
    """A kind of store, chosen by name.

    Attributes:
        name: What the user types after ``--backend``; equal to the entry point's name.
        open: Opens a store with an ``options`` object. It only checks target and options, and imports drivers
            no earlier than here; the schema is checked by the first data call.
        options: An attrs class. The metadata of each field may hold ``help``, ``env`` (an environment
            variable), ``secret`` (True: never shown) and ``target``: ``"path"`` for the field that takes the
            path of a URI, ``"uri"`` for one that takes the URI as it is. `kitt_core.options` reads it.
        schemes: Further names under which it is found, such as URI schemes; each needs its own entry point.
        recognises: Whether a plain path given as a target is a store of this kind; opens nothing.
        summary: One line for listings.
        capabilities: The capabilities that its stores declare.
        api_version: The `STORAGE_API_VERSION` that it was written for.
    """

    name: str
    open: Callable[[Any], ResultStore] = field(repr=False)
    options: type[Any] = field(validator=attrs_class)
    schemes: tuple[str, ...] = ()
    recognises: Callable[[Path], bool] = field(default=_recognises_nothing, repr=False)
    summary: str = ""
    capabilities: frozenset[Capability] = frozenset()
    api_version: int = 1
