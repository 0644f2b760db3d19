"""A store in memory: for tests, for experiments, and as the smallest complete backend."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from io import BytesIO
from operator import attrgetter
from typing import ClassVar

from attrs import evolve

from kitt_core.errors import RunExistsError, StoreUnavailableError
from kitt_core.runs.model import Attachment, CheckedRun, StoredRun
from kitt_core.runs.query import Filters, RunFilter, sought_id
from kitt_core.storage import fallbacks
from kitt_core.storage.contract import Capability, ResultStore

__all__ = ["MemoryStore"]


class MemoryStore(ResultStore):
    """Keeps runs until it is closed; each ``memory:`` is a separate store."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.DELETE, Capability.ATOMIC_BATCH, Capability.ATTACHMENTS}
    )

    def __init__(self) -> None:
        self._runs: dict[str, StoredRun] = {}
        self._attachments: dict[str, tuple[Attachment, ...]] = {}
        self._lock = threading.RLock()
        self._closed = False

    @property
    def location(self) -> str:
        """Where the store is, for messages."""
        return "memory:"

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        """Store checked runs, or none."""
        files = {
            run.id: tuple(_copied(file) for file in sorted(run.attachments, key=attrgetter("name")))
            for run in checked
        }
        with self._lock:
            self._check_open()
            for run in checked:
                if run.id in self._runs:
                    raise RunExistsError(f"run {run.id} is in memory already")
            self._attachments |= files
            self._runs |= {run.id: StoredRun(run.id, run.document, run.created_at, run.sha256) for run in checked}

    def get_document(self, run_id: str) -> bytes | None:
        """Return the bytes that were saved, None if there is no such run."""
        with self._lock:
            self._check_open()
            run = self._runs.get(sought_id(run_id))
        return None if run is None else run.document

    def attachments(self, run_id: str) -> Iterator[Attachment]:
        """Yield the run's files in order of their names."""
        with self._lock:
            self._check_open()
            return iter(self._attachments.get(sought_id(run_id), ()))

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        """Yield the runs that match, as they were when the scan began."""
        wanted = RunFilter.of(filters)
        with self._lock:
            self._check_open()
            runs = list(self._runs.values())
        return fallbacks.select(runs, wanted)

    def delete_result(self, run_id: str) -> bool:
        """Remove a run; False if there is no such run."""
        with self._lock:
            self._check_open()
            self._attachments.pop(sought_id(run_id), None)
            return self._runs.pop(run_id, None) is not None

    def close(self) -> None:
        """Discard all runs."""
        with self._lock:
            self._closed = True
            self._runs.clear()
            self._attachments.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailableError("memory: is closed", hint="open it again")


def _copied(attachment: Attachment) -> Attachment:
    with attachment.open() as file:
        data = file.read()
    return evolve(attachment, size=len(data), open=lambda: BytesIO(data))
