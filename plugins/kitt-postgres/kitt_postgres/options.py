"""What the backend ``postgres`` can do and how it is opened, without importing its driver."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

from kitt_core.storage import Capability

__all__ = ["CAPABILITIES", "PostgresOptions"]

CAPABILITIES: Final = frozenset(
    {Capability.DELETE, Capability.ATOMIC_BATCH, Capability.MIGRATE, Capability.CONCURRENT}
)
_LONGEST_WAIT: Final = 86_400
_LONGEST_NAME: Final = 63  # PostgreSQL would truncate it silently
_MOST_CONNECTIONS: Final = 1_000


@frozen
class PostgresOptions:
    """Options of the backend ``postgres``; the ``help`` of a field says what it means."""

    dsn: str = field(
        default="",
        repr=False,
        metadata={
            "help": "URI or key=value text for libpq; by default libpq's environment (PGHOST, PGSERVICE …).",
            "env": "KITT_DB_DSN",
            "target": "uri",
        },
    )
    schema: str | None = field(
        default=None,
        metadata={"help": "The PostgreSQL schema of the tables; by default the first of the search path."},
    )
    pool_size: int = field(default=5, metadata={"help": "The most connections that one store opens."})
    application_name: str = field(
        default="kitt", metadata={"help": "KITT's name in pg_stat_activity, unless the DSN sets one."}
    )
    connect_timeout: float = field(
        default=10.0,
        metadata={"help": "Seconds to wait for a connection, and for others that are in the way."},
    )
    restart_timeout: float = field(
        default=30.0,
        metadata={"help": "Seconds that a call waits for a server that restarts; 0 to report that at once."},
    )
    statement_timeout: float = field(
        default=0.0, metadata={"help": "Seconds after which the server stops a statement; 0 for its own limit."}
    )
    prepare: bool = field(
        default=True, metadata={"help": "Prepare statements; false behind a pgbouncer older than 1.21."}
    )

    @dsn.validator
    def _check_dsn(self, _: object, value: str) -> None:
        if value and not value.strip():
            raise ValueError("dsn is blank, expected a URI such as postgresql://user@host/database, or nothing")

    @schema.validator
    def _check_schema(self, _: object, value: str | None) -> None:
        if value is not None and not 1 <= len(value.encode()) <= _LONGEST_NAME:
            raise ValueError(f"schema is {value!r}, expected a name of 1 to {_LONGEST_NAME} bytes")
        if value is not None and (value.startswith("pg_") or value == "information_schema"):
            raise ValueError(f"schema is {value!r}, which is PostgreSQL's own, expected another name")

    @pool_size.validator
    def _check_pool(self, _: object, value: int) -> None:
        if not 1 <= value <= _MOST_CONNECTIONS:
            raise ValueError(f"pool_size is {value}, expected 1 to {_MOST_CONNECTIONS}")

    @connect_timeout.validator
    def _check_connect_timeout(self, _: object, value: float) -> None:
        if not 1 <= value <= _LONGEST_WAIT:
            raise ValueError(f"connect_timeout is {value}, expected seconds between 1 and {_LONGEST_WAIT}")

    @restart_timeout.validator
    def _check_restart_timeout(self, _: object, value: float) -> None:
        if not 0 <= value <= _LONGEST_WAIT:
            raise ValueError(f"restart_timeout is {value}, expected seconds between 0 and {_LONGEST_WAIT}")

    @statement_timeout.validator
    def _check_statement_timeout(self, _: object, value: float) -> None:
        if not 0 <= value <= _LONGEST_WAIT:
            raise ValueError(f"statement_timeout is {value}, expected seconds between 0 and {_LONGEST_WAIT}")
