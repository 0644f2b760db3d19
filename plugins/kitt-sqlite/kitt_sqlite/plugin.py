"""The backend ``sqlite``, as the plugin manager sees it: imports no driver."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import Registry
from kitt_core.storage import ResultStore, StorageBackend
from kitt_sqlite.options import CAPABILITIES, SQLiteOptions

__all__ = ["kitt_register_storage"]

_SUFFIXES: Final = {".db", ".sqlite", ".sqlite3"}
_HEADER: Final = b"SQLite format 3\x00"


def _open(options: SQLiteOptions) -> ResultStore:
    from kitt_sqlite.store import SQLiteResultStore  # imports SQLAlchemy: only now

    return SQLiteResultStore(options)


def _recognises(path: Path) -> bool:
    if path.is_file():
        with path.open("rb") as file:
            return file.read(len(_HEADER)) == _HEADER or path.suffix in _SUFFIXES
    return not path.exists() and path.suffix in _SUFFIXES


@hookimpl
def kitt_register_storage(registry: Registry[StorageBackend]) -> None:
    """Register the backend."""
    registry.add(
        StorageBackend(
            name="sqlite",
            open=_open,
            options=SQLiteOptions,
            recognises=_recognises,
            summary="Runs in a SQLite file: the default, safe across processes.",
            capabilities=CAPABILITIES,
        )
    )
