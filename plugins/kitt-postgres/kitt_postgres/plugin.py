"""The backend ``postgres``, as the plugin manager sees it: imports no driver."""

from __future__ import annotations

from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import Registry
from kitt_core.storage import ResultStore, StorageBackend
from kitt_postgres.options import CAPABILITIES, PostgresOptions

__all__ = ["kitt_register_storage"]


def _open(options: PostgresOptions) -> ResultStore:
    from kitt_postgres.store import PostgresResultStore  # imports SQLAlchemy and psycopg: only now

    return PostgresResultStore(options)


@hookimpl
def kitt_register_storage(registry: Registry[StorageBackend]) -> None:
    """Register the backend."""
    registry.add(
        StorageBackend(
            name="postgres",
            open=_open,
            options=PostgresOptions,
            schemes=("postgresql",),
            summary="Runs in PostgreSQL: one store for many machines.",
            capabilities=CAPABILITIES,
        )
    )
