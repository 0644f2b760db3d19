"""The backend ``sqlite``, as the plugin manager sees it: imports no driver."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from attrs import field, frozen

from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import Registry
from kitt_core.storage import Capability, ResultStore, StorageBackend

__all__ = ["SQLiteOptions"]

_SUFFIXES: Final = {".db", ".sqlite", ".sqlite3"}
_HEADER: Final = b"SQLite format 3\x00"


@frozen
class SQLiteOptions:
    """Options of the backend ``sqlite``."""

    path: Path | None = field(
        default=None,
        metadata={
            "help": "The database file; kitt.db in KITT_HOME without it.",
            "env": "KITT_DB_PATH",
            "target": "path",
        },
    )
    synchronous: Literal["FULL", "NORMAL", "EXTRA", "OFF"] = field(
        default="FULL",
        metadata={"help": "FULL survives a power cut; NORMAL is faster and may lose the last saves then."},
    )
    busy_timeout: float = field(default=5.0, metadata={"help": "Seconds to wait while another process writes."})
    auto_migrate: bool | None = field(
        default=None,
        metadata={"help": "Upgrade an older database before the first write; without it only the default one is."},
    )

    @busy_timeout.validator
    def _check_timeout(self, attribute: object, value: float) -> None:
        del attribute
        if not 0 <= value <= 86_400:
            raise ValueError(f"busy_timeout is {value}, expected seconds between 0 and 86400")


def _open(options: SQLiteOptions) -> ResultStore:
    from kitt_sqlite.store import SQLiteResultStore  # SQLAlchemy, only now

    return SQLiteResultStore(
        options.path,
        synchronous=options.synchronous,
        busy_timeout=options.busy_timeout,
        auto_migrate=options.auto_migrate,
    )


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
            capabilities=frozenset(
                {Capability.DELETE, Capability.ATOMIC_BATCH, Capability.MIGRATE, Capability.CONCURRENT}
            ),
        )
    )
