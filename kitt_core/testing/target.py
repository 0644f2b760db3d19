"""Where a store is, in a form that another process can be told."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import asdict, field, frozen

from kitt_core.storage import ResultStore
from kitt_core.stores import open_store

__all__ = ["StoreTarget"]

_IMPORT_PATH: Final = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_][\w.]*)")


@frozen
class StoreTarget:
    """What several processes open.

    Attributes:
        where: What `open_store` takes (``sqlite:////tmp/runs.db``), or the import path of a class or function
            that returns a store (``kitt_shelf.store:ShelfStore``).
        options: Keyword arguments of either, as JSON can express them.
    """

    where: str
    options: Mapping[str, Any] = field(factory=dict)

    def open(self) -> ResultStore:
        """Open the store."""
        match = _IMPORT_PATH.fullmatch(self.where)
        if match is None:
            return open_store(self.where, **self.options)
        factory: Any = importlib.import_module(match["module"])
        for name in match["name"].split("."):
            factory = getattr(factory, name)
        store = factory(**self.options)
        if not isinstance(store, ResultStore):
            raise TypeError(f"{self.where} returned a {type(store).__name__}, expected a ResultStore")
        return store

    def encode(self) -> str:
        """Return the target as one argument of a command."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> StoreTarget:
        """Read what `encode` wrote."""
        return cls(**json.loads(text))
