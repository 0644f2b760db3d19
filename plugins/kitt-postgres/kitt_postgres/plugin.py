"""The backend ``postgres``, as the plugin manager sees it: imports no driver."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import Registry
from kitt_core.storage import Capability, ResultStore, StorageBackend

__all__ = ["PostgresOptions"]

_LONGEST_WAIT: Final = 86_400
_LONGEST_NAME: Final = 63  # PostgreSQL would cut it without a word
_MOST_CONNECTIONS: Final = 1_000


@frozen
class PostgresOptions:
    """Options of the backend ``postgres``."""

    dsn: str = field(
        default="",
        repr=False,
        metadata={
            "help": "URI or key=value text for libpq; without it libpq's environment (PGHOST, PGSERVICE …).",
            "env": "KITT_DB_DSN",
            "target": "uri",
        },
    )
    schema: str | None = field(
        default=None,
        metadata={"help": "The PostgreSQL schema of the tables; the first of the search path without it."},
    )
    pool_size: int = field(default=5, metadata={"help": "The most connections that one store opens."})
    application_name: str = field(
        default="kitt", metadata={"help": "What pg_stat_activity calls us, unless the DSN names it."}
    )
    connect_timeout: float = field(
        default=10.0,
        metadata={"help": "Seconds to wait for a connection, and for a server that went away to come back."},
    )
    statement_timeout: float = field(
        default=0.0, metadata={"help": "Seconds after which the server gives a statement up; 0 is its own limit."}
    )
    prepare: bool = field(
        default=True, metadata={"help": "Prepare statements; false behind a pgbouncer older than 1.21."}
    )

    @dsn.validator
    def _check_dsn(self, attribute: object, value: str) -> None:
        del attribute
        if value and not value.strip():
            raise ValueError("dsn is blank, expected a URI such as postgresql://user@host/database, or nothing")

    @schema.validator
    def _check_schema(self, attribute: object, value: str | None) -> None:
        del attribute
        if value is not None and not 1 <= len(value.encode()) <= _LONGEST_NAME:
            raise ValueError(f"schema is {value!r}, expected a name of 1 to {_LONGEST_NAME} bytes")
        if value is not None and (value.startswith("pg_") or value == "information_schema"):
            raise ValueError(f"schema is {value!r}, which is PostgreSQL's own, expected another name")

    @pool_size.validator
    def _check_pool(self, attribute: object, value: int) -> None:
        del attribute
        if not 1 <= value <= _MOST_CONNECTIONS:
            raise ValueError(f"pool_size is {value}, expected 1 to {_MOST_CONNECTIONS}")

    @connect_timeout.validator
    def _check_connect_timeout(self, attribute: object, value: float) -> None:
        del attribute
        if not 1 <= value <= _LONGEST_WAIT:
            raise ValueError(f"connect_timeout is {value}, expected seconds between 1 and {_LONGEST_WAIT}")

    @statement_timeout.validator
    def _check_statement_timeout(self, attribute: object, value: float) -> None:
        del attribute
        if not 0 <= value <= _LONGEST_WAIT:
            raise ValueError(f"statement_timeout is {value}, expected seconds between 0 and {_LONGEST_WAIT}")


def _open(options: PostgresOptions) -> ResultStore:
    from kitt_postgres.store import PostgresResultStore  # SQLAlchemy and psycopg, only now

    return PostgresResultStore(
        options.dsn,
        schema=options.schema,
        pool_size=options.pool_size,
        application_name=options.application_name,
        connect_timeout=options.connect_timeout,
        statement_timeout=options.statement_timeout,
        prepare=options.prepare,
    )


@hookimpl
def kitt_register_storage(registry: Registry[StorageBackend]) -> None:
    """Register the backend."""
    registry.add(
        StorageBackend(
            name="postgres",
            open=_open,
            options=PostgresOptions,
            schemes=("postgresql",),
            summary="Runs in PostgreSQL: one truth for many machines.",
            capabilities=frozenset(
                {Capability.DELETE, Capability.ATOMIC_BATCH, Capability.MIGRATE, Capability.CONCURRENT}
            ),
        )
    )
