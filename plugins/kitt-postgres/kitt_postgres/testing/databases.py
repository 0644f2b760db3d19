"""Empty databases for tests, each new and removed afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from kitt_core import open_store
from kitt_core.storage import ResultStore
from kitt_postgres.testing.server import PrivateServer

__all__ = ["Database", "Databases", "PrivateDatabases", "SchemaDatabases"]

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@frozen
class Database:
    """A database in which a test may do anything.

    Attributes:
        dsn: What `open_store` takes.
        options: What else it takes: the schema, if the test has no database of its own.
    """

    dsn: str = field(repr=False)
    options: Mapping[str, Any] = _NOTHING

    @property
    def uri(self) -> str:
        """Both in one text, for where options can't be given."""
        if "schema" not in self.options:
            return self.dsn
        return f"{self.dsn}{'&' if '?' in self.dsn else '?'}options=-csearch_path%3D{self.options['schema']}"

    def open(self, **options: Any) -> ResultStore:
        """Open a store there."""
        return open_store(self.dsn, **{**self.options, **options})


class Databases(Protocol):
    """Something that makes databases."""

    def new(self) -> Database:
        """Make an empty one."""

    def drop(self, database: Database) -> None:
        """Remove it, whoever is connected."""


@frozen
class PrivateDatabases:
    """Databases on a private server."""

    server: PrivateServer

    def new(self) -> Database:
        """Make an empty database."""
        return Database(self.server.create_database())

    def drop(self, database: Database) -> None:
        """Remove it, whoever is connected."""
        self.server.drop_database(unquote(urlsplit(database.dsn).path.removeprefix("/")))


@frozen
class SchemaDatabases:
    """Schemas in one database of a server that is not ours and may allow nothing more."""

    dsn: str = field(repr=False)

    def new(self) -> Database:
        """Make an empty schema."""
        name = f"kitt_test_{secrets.token_hex(6)}"
        self._execute(f"CREATE SCHEMA {name}")
        return Database(self.dsn, {"schema": name})

    def drop(self, database: Database) -> None:
        """Remove the schema with what is in it."""
        self._execute(f"DROP SCHEMA IF EXISTS {database.options['schema']} CASCADE")

    def _execute(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.encode())
