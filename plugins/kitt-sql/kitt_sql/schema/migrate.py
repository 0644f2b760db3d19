"""Migrations: yoyo behind a wrapper that lends it our connection and our transaction.

yoyo itself opens a second connection, records what it did in another transaction and locks with a row that
outlives a killed process. Here it gets the store's connection, inside a transaction that the store opened: all
pending migrations are committed with their bookkeeping, or none is, and the lock is the database's own.
The wrapper touches yoyo's internals (``_in_transaction``, ``internalmigrations``), hence the pin ``<10``.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Final

from yoyo import internalmigrations, read_migrations
from yoyo.backends.base import DatabaseBackend

from kitt_core.errors import MigrationError
from kitt_core.runs import Progress, format_utc
from kitt_sql.dialect import QueryDialect
from kitt_sql.schema.released import MIGRATIONS, expand
from kitt_sql.schema.tables import SCHEMA_VERSION

__all__ = ["apply_pending", "migration_names"]

_FOLDER: Final = "migrations"

logging.getLogger("yoyo").setLevel(logging.WARNING)  # it logs every step at INFO


def migration_names() -> list[str]:
    """Return the names of all migrations, in order: the n-th makes version n.

    Raises:
        MigrationError: The package is damaged: the files are not those of `MIGRATIONS`.
    """
    folder = resources.files("kitt_sql.schema").joinpath(_FOLDER)
    names = sorted(file.name.removesuffix(".sql") for file in folder.iterdir() if file.name.endswith(".sql"))
    if names != list(MIGRATIONS) or [int(name.split("-")[1]) for name in names] != list(range(1, len(names) + 1)):
        raise MigrationError(
            f"kitt-sql holds {len(names)} migrations, expected the {len(MIGRATIONS)} up to {MIGRATIONS[-1]}",
            hint="reinstall kitt-sql",
        )
    return names


def apply_pending(
    connection: Any,
    driver: str,
    dialect: QueryDialect,
    progress: Progress | None = None,
    *,
    until: int = SCHEMA_VERSION,
) -> list[str]:
    """Apply the pending migrations and return their names, in order.

    Args:
        connection: The driver's connection, inside a transaction that excludes other writers.
        driver: The driver's module, such as ``sqlite3``.
        dialect: Replaces the macros.
        progress: Called after each migration.
        until: The version to stop at.

    Raises:
        Exception: Whatever the driver raises; the caller rolls back.
    """
    names = migration_names()
    backend = _BorrowedBackend(connection, driver, dialect)
    with resources.as_file(resources.files("kitt_sql.schema").joinpath(_FOLDER)) as folder:
        pending = [
            migration
            for migration in backend.to_apply(read_migrations(str(folder)))
            if names.index(migration.id) < until
        ]
        for done, migration in enumerate(pending, 1):
            backend.apply_one(migration)
            backend.execute(
                "INSERT INTO schema_version (version, applied_at) VALUES (:version, :now)",
                {"version": names.index(migration.id) + 1, "now": format_utc(datetime.now(UTC))},
            )
            if progress is not None:
                progress(done, len(pending))
    return [migration.id for migration in pending]


class _BorrowedBackend(DatabaseBackend):  # type: ignore[misc]  # yoyo has no types
    """yoyo's backend on a connection that is not its own.

    It overrides only these of yoyo's methods; a test compares the class with this list, and fails if a new yoyo
    lacks one of them:

    - `connect` and `copy` use the caller's connection instead of another one.
    - `savepoint` and `savepoint_rollback` do nothing: a failure undoes the whole, and yoyo never releases one.
      Seventy open savepoints cost SQLite a copy of every page that an adoption changes, and memory that grows with
      the database.
    - `cursor` replaces macros.
    - `list_tables` runs the dialect's statement; yoyo's own needs a URI.
    - `ensure_internal_schema_updated` works inside a transaction, which yoyo's own refuses, and commits nothing.
    - `get_log_data` leaves out user and host: the former fails in containers, the latter may wait for DNS.
    """

    _in_transaction = True  # ours: yoyo's own transactions would become savepoints
    _internal_schema_updated: bool = False

    def __init__(self, connection: Any, driver: str, dialect: QueryDialect) -> None:
        self._borrowed = connection
        self._dialect = dialect
        self.driver_module = driver
        super().__init__(None, "_yoyo_migration")

    def connect(self, _: object) -> Any:
        return self._borrowed

    @contextmanager
    def copy(self) -> Iterator[_BorrowedBackend]:
        yield self

    def cursor(self) -> _ExpandingCursor:
        return _ExpandingCursor(self._borrowed.cursor(), self._dialect.macros)

    def savepoint(self, id: str) -> None:  # noqa: A002  # yoyo's name
        """Do nothing."""

    def savepoint_rollback(self, id: str) -> None:  # noqa: A002  # yoyo's name
        """Do nothing: the caller rolls everything back."""

    def list_tables(self, **_: object) -> list[str]:
        return [row[0] for row in self.execute(self._dialect.list_tables).fetchall()]

    def ensure_internal_schema_updated(self) -> None:
        if not self._internal_schema_updated:
            if internalmigrations.needs_upgrading(self):
                internalmigrations.upgrade(self)
            self._internal_schema_updated = True

    def get_log_data(self, migration: Any = None, operation: str = "apply") -> dict[str, Any]:
        return {
            "id": str(uuid.uuid4()),
            "migration_id": migration.id if migration else None,
            "migration_hash": migration.hash if migration else None,
            "username": None,
            "hostname": None,
            "comment": None,
            "created_at_utc": datetime.now(UTC),
            "operation": operation,
        }


class _ExpandingCursor:
    """A cursor that replaces macros, and passes times as text so that no driver needs an adapter."""

    def __init__(self, cursor: Any, macros: Mapping[str, str]) -> None:
        self._cursor = cursor
        self._macros = macros

    def execute(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> None:
        if isinstance(parameters, Mapping):
            parameters = {name: _plain(value) for name, value in parameters.items()}
        else:
            parameters = [_plain(value) for value in parameters]
        if parameters:
            self._cursor.execute(statement, parameters)
        elif (expanded := expand(statement, self._macros)) is not None:
            self._cursor.execute(expanded)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
