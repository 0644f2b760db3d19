"""What the backend ``sqlite`` can do and how it is opened, without importing its driver."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from attrs import field, frozen

from kitt_core.storage import Capability

__all__ = ["CAPABILITIES", "SQLiteOptions"]

CAPABILITIES: Final = frozenset(
    {Capability.DELETE, Capability.ATOMIC_BATCH, Capability.MIGRATE, Capability.CONCURRENT}
)


@frozen
class SQLiteOptions:
    """Options of the backend ``sqlite``; the ``help`` of a field says what it means."""

    path: Path | None = field(
        default=None,
        metadata={
            "help": "The database file; by default kitt.db in KITT_HOME.",
            "env": "KITT_DB_PATH",
            "target": "path",
        },
    )
    synchronous: Literal["FULL", "NORMAL", "EXTRA", "OFF"] = field(
        default="FULL",
        metadata={"help": "FULL survives a power cut; NORMAL is faster and may lose the last saves in one."},
    )
    busy_timeout: float | None = field(
        default=None,
        metadata={
            "help": "Seconds to wait while other processes write; by default as long as they make progress, and"
            " 5 seconds without any."
        },
    )
    auto_migrate: bool | None = field(
        default=None,
        metadata={"help": "Upgrade an older database before the first write; by default only the default file."},
    )

    @busy_timeout.validator
    def _check_timeout(self, _: object, value: float | None) -> None:
        if value is not None and not 0 <= value <= 86_400:
            raise ValueError(f"busy_timeout is {value}, expected seconds between 0 and 86400")
