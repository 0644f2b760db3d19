"""Stores with runs in them, and what is in a store."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

from kitt_core.runs import Attachment
from kitt_core.storage import ResultStore
from kitt_core.testing.documents import HOSTILE, UNFIT, small

BACKENDS: Final = ("memory", "sqlite", "json", "postgres")
CORPUS: Final = {f"run-{i:03}": document for i, document in enumerate([*HOSTILE.values(), *UNFIT.values()])}

NewTarget = Callable[[str], str]
"""Makes an empty store of a backend and returns what `open_store` takes for it."""
OpenStore = Callable[[str], ResultStore]
"""Opens an empty store of a backend."""


def attachment(name: str, content: bytes) -> Attachment:
    return Attachment(name, len(content), lambda: io.BytesIO(content))


def filled(store: ResultStore, number: int = 5) -> ResultStore:
    """Save so many small runs, ``run-000`` and on."""
    for i in range(number):
        store.save_result(small(i), run_id=f"run-{i:03}")
    return store


def documents(store: ResultStore) -> dict[str, bytes]:
    return {run.id: run.document for run in store.scan()}


def contents(store: ResultStore, run_id: str) -> dict[str, bytes]:
    """Return a run's files."""
    found = {}
    for file in store.attachments(run_id):
        with file.open() as stream:
            found[file.name] = stream.read()
    return found
