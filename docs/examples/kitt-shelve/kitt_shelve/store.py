"""The store: a shelf that maps run ids to what was saved, opened anew by each call."""

from __future__ import annotations

import dbm
import shelve
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import RLock
from typing import ClassVar

from kitt_core.errors import RunExistsError, StoreUnavailableError
from kitt_core.runs import CheckedRun, Filters, RunFilter, StoredRun
from kitt_core.storage import Capability, ResultStore, fallbacks

__all__ = ["ShelveStore"]

_AT_ONCE = 20
"""Runs that are read with one opening, which costs more than they do."""
_Kept = tuple[bytes, datetime, str]


class ShelveStore(ResultStore):
    """Keeps runs in the shelf of a directory."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.DELETE})

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / "kitt.shelf"
        self._lock = RLock()
        self._closed = False

    @property
    def location(self) -> str:
        """Where the store is."""
        return str(self._directory)

    @property
    def paths(self) -> tuple[Path, ...]:
        """What nobody else may write to."""
        return (self._directory,)

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        """Store checked runs, or none of them if an id is taken."""
        with self._shelf("c") as shelf:
            taken = next((run.id for run in checked if run.id in shelf), None)
            if taken is not None:
                raise RunExistsError(f"run {taken} is in {self.location} already")
            for run in checked:
                shelf[run.id] = (run.document, run.created_at, run.sha256)

    def get_document(self, run_id: str) -> bytes | None:
        """Return the bytes that were saved."""
        kept = self._get(run_id)
        return None if kept is None else kept[0]

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        """Yield the runs that match; the shelf is closed while the caller has one."""
        return fallbacks.select(self._runs(), RunFilter.of(filters))

    def delete_result(self, run_id: str) -> bool:
        """Remove a run."""
        with self._lock:  # between the question and the removal, too; a lookup alone creates no shelf
            if self._get(run_id) is None:
                return False
            with self._shelf("w") as shelf:
                del shelf[run_id]
                return True

    def close(self) -> None:
        """Refuse further calls."""
        self._closed = True

    def _runs(self) -> Iterator[StoredRun]:
        with self._shelf("r") as shelf:
            ids = sorted(shelf)
        for start in range(0, len(ids), _AT_ONCE):
            with self._shelf("r") as shelf:  # some may have been deleted since
                some = ids[start : start + _AT_ONCE]
                runs = [StoredRun(run_id, *shelf[run_id]) for run_id in some if run_id in shelf]
            yield from runs

    def _get(self, run_id: str) -> _Kept | None:
        with self._shelf("r") as shelf:
            return shelf.get(run_id) if run_id.isascii() else None  # what is asked for may be anything

    @contextmanager
    def _shelf(self, flag: str) -> Iterator[MutableMapping[str, _Kept]]:
        with self._lock:
            if self._closed:
                raise StoreUnavailableError(f"{self.location} is closed", hint="open it again")
            try:
                if flag == "r" and dbm.whichdb(self._file) is None:  # reading makes no file
                    yield {}
                    return
                self._directory.mkdir(parents=True, exist_ok=True)
                with shelve.open(self._file, flag) as shelf:  # type: ignore[arg-type]  # one of r, w and c
                    yield shelf
            except dbm.error as error:
                raise StoreUnavailableError(f"{self.location} cannot be used as a shelf") from error
