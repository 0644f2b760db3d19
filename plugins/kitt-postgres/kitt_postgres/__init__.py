"""KITT's backend for teams: runs in PostgreSQL."""

from kitt_postgres.store import PostgresResultStore

__all__ = ["PostgresResultStore"]
