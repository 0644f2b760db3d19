"""Connections to a PostgreSQL server as KITT needs them.

Nothing depends on the session: what a transaction needs is set when it begins (``SET LOCAL``), so that a pooler
may give each transaction another server connection. The driver is in autocommit mode; transactions begin where
SQLAlchemy says so, for a read as read-only snapshots.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import psycopg
from attrs import define, field
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Engine, create_engine, event, exc

from kitt_core.errors import ConfigurationError, StoreUnavailableError
from kitt_postgres.options import PostgresOptions

__all__ = ["Driver", "PostgresServer", "make_engine", "writing"]

Driver = psycopg.Connection[tuple[Any, ...]]

_BEGIN: Final = "kitt_begin"
# Numbers come with all their digits, whatever the server's default.
_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL extra_float_digits = 1"
_WRITE: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
_OLDEST: Final = 130_000
_PREPARE: Final = "for a pgbouncer older than 1.21 add -O prepare=false"
_KEYS: Final = re.compile(r"(?:^|[?&\s])(\w+)\s*=")
_SLASHES: Final = re.compile(r"postgres(?:ql)?:(?!//)")
_FOREIGN_KEYS: Final = {  # of Prisma, JDBC, SQLAlchemy, asyncpg, node-postgres
    "pgbouncer": _PREPARE,
    "prepareThreshold": _PREPARE,
    "statement_cache_size": _PREPARE,
    "schema": "name it with -O schema=…",
    "currentSchema": "name it with -O schema=…",
    "search_path": "name it with -O schema=…",
    "pool_size": "give it as -O pool_size=…",
    "connection_limit": "give it as -O pool_size=…",
    "statement_timeout": "give it as -O statement_timeout=…",
    "pool_timeout": "give it as -O connect_timeout=…",
    "ssl": "sslmode=require is libpq's word for it",
    "sslaccept": "sslmode=require is libpq's word for it",
    "ApplicationName": "application_name is libpq's word for it",
}
_IDLE: Final = 0.1
"""Seconds unused after which a pooled connection is tested; a restart takes longer."""


@define
class PostgresServer:
    """A database on a server, and how to connect to it.

    Attributes:
        options: As the user gave them.
        answered: Whether it has accepted a connection of this process.
    """

    options: PostgresOptions
    answered: bool = field(default=False, init=False)

    def check(self) -> None:
        """Raise `ConfigurationError` if libpq can't read the DSN; does not connect."""
        self._parameters()

    def _parameters(self) -> dict[str, Any]:
        try:
            given = conninfo_to_dict(self.options.dsn)
        except (psycopg.ProgrammingError, UnicodeError):
            _check_keys(self.options.dsn)
            given = None
        # For libpq a slash in a password ends the host; the rest looks like port and database.
        if given is None or "@" in f"{given.get('host', '')}{given.get('dbname', '')}":
            # Without libpq's text and without the cause: both may quote a part of the password.
            raise ConfigurationError(
                "the PostgreSQL DSN cannot be read, expected postgresql://user:password@host:port/database",
                hint="write special characters of user and password as %XX (@ is %40, / is %2F)",
            ) from None
        if not _are_ports(given):
            # Without its value: for libpq the beginning of a password with a slash is a port.
            raise ConfigurationError(
                "the port of the PostgreSQL DSN is not a number from 1 to 65535",
                hint="correct it; a slash or colon in the password is written as %2F or %3A",
            )
        return given

    @property
    def location(self) -> str:
        """The server and database, without user and password."""
        try:
            given = self._parameters()
        except ConfigurationError:
            return "postgresql://?"
        if "service" in given:
            return f"postgresql://?service={given['service']}"
        host = str(given.get("host", given.get("hostaddr", "")))
        if host.startswith(("/", "@")):  # the directory of a socket, which is not a part of a path
            parameters = {"host": host} | ({"port": given["port"]} if "port" in given else {})
            place = f"postgresql:///{given.get('dbname', '')}?{urlencode(parameters, safe='/,', quote_via=quote)}"
        else:
            port = f":{given['port']}" if "port" in given else ""
            place = f"postgresql://{host}{port}/{given.get('dbname', '')}"
        return place if self.options.schema is None else f"{place} (schema {self.options.schema})"

    def connect(self) -> Driver:
        """Open a connection.

        Raises:
            psycopg.OperationalError: The server refuses it or can't be reached.
            StoreUnavailableError: The server is too old or the database has another encoding than UTF-8.
        """
        given: dict[str, Any] = {
            "application_name": self.options.application_name,
            "connect_timeout": max(2, round(self.options.connect_timeout)),
            **self._parameters(),
            "client_encoding": "UTF8",  # whatever the DSN says: documents have every character
        }
        connection = psycopg.connect(
            make_conninfo("", **given), autocommit=True, prepare_threshold=5 if self.options.prepare else None
        )
        self.answered = True
        try:
            self._check_server(connection)
            # The driver reads ISO times only, and years 1 and 9999 would leave the calendar in another zone.
            # Poolers keep track of both settings.
            if not str(connection.info.parameter_status("DateStyle")).startswith("ISO"):
                connection.execute("SET DateStyle TO ISO")
            if connection.info.parameter_status("TimeZone") != "UTC":
                connection.execute("SET TIME ZONE 'UTC'")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_server(self, connection: Driver) -> None:
        info = connection.info
        if info.server_version < _OLDEST:
            raise StoreUnavailableError(
                f"{self.location} runs PostgreSQL {info.server_version // 10_000}, expected 13 or newer",
                hint="upgrade the server",
            )
        encoding = info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise StoreUnavailableError(
                f"{self.location} has the encoding {encoding}, expected UTF8",
                hint="make a database for KITT: CREATE DATABASE kitt ENCODING 'UTF8' TEMPLATE template0",
            )

    @property
    def has_settings(self) -> bool:
        """Whether a transaction must begin with more than BEGIN."""
        return self.options.schema is not None or self.options.statement_timeout > 0

    def begin_read(self) -> bytes:
        """Return the message that a read begins with, including the settings that it needs."""
        return self._begin(_READ)

    def begin_write(self) -> bytes:
        """Return the message that a write begins with."""
        return self._begin(_WRITE)

    def _begin(self, begin: str) -> bytes:
        statements = [begin]
        if self.options.schema is not None:
            statements.append(f"SET LOCAL search_path TO {sql.Identifier(self.options.schema).as_string()}")
        if self.options.statement_timeout > 0:
            milliseconds = max(1, round(self.options.statement_timeout * 1000))
            statements.append(f"SET LOCAL statement_timeout = {milliseconds}")
        return "; ".join(statements).encode()


def _check_keys(dsn: str) -> None:
    """Refuse parameters that libpq does not know or can't read, by their names, and a URI without its slashes.

    An unknown name may be a part of a password: it is shown only from a URI's end, and if it is nowhere else.
    """
    if _SLASHES.match(dsn):
        raise ConfigurationError(
            "the PostgreSQL DSN has too few slashes, expected postgresql://user:password@host:port/database",
            hint="write two slashes after the first colon",
        )
    for key in _KEYS.findall(dsn.rpartition("@")[2] if "://" in dsn else dsn):
        if key in _FOREIGN_KEYS:
            raise _unknown(key, _FOREIGN_KEYS[key])
    if "://" not in dsn or "password" in dsn:
        return
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    for parameter in dsn.rpartition("@")[2].partition("?")[2].split("&"):
        key, _, value = parameter.partition("=")
        if key in known and "=" in value:
            raise ConfigurationError(
                f"the PostgreSQL DSN's parameter {key} has a second =, expected one",
                hint="write = within a value as %3D; the schema is named with -O schema=…",
            )
        if key not in known and key.isidentifier() and dsn.count(key) == 1:
            raise _unknown(key, "the documentation of libpq lists the parameters")


def _unknown(key: str, cure: str) -> ConfigurationError:
    return ConfigurationError(
        f"the PostgreSQL DSN has the parameter {key}, which libpq does not know",
        hint=f"remove {key} from the DSN; {cure}",
    )


def _are_ports(given: Mapping[str, Any]) -> bool:
    ports = str(given.get("port", "")).split(",")
    return all(
        not port or (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 1 << 16)
        for port in ports
    )


def make_engine(server: PostgresServer) -> Engine:
    """Return the engine; it connects when it is first used.

    The pool is SQLAlchemy's: it connects in the caller's thread, so that a refusal is known at once with its
    reason, and it survives a fork.
    """
    engine = create_engine(
        "postgresql+psycopg://",
        creator=server.connect,
        isolation_level="AUTOCOMMIT",
        pool_size=server.options.pool_size,
        max_overflow=0,
        pool_timeout=server.options.connect_timeout,
        use_native_hstore=False,
    ).execution_options(**{_BEGIN: server.begin_read()})
    event.listen(engine, "begin", _begin)
    event.listen(engine, "checkin", _note_time)
    event.listen(engine, "checkout", _refuse_dead)
    return engine


def writing(engine: Engine, server: PostgresServer) -> Engine:
    """Return the same engine with transactions that begin as writes."""
    return engine.execution_options(**{_BEGIN: server.begin_write()})


def _begin(connection: Any) -> None:
    # Several statements in one message; a prepared one could not hold them.
    driver: Driver = connection.connection.driver_connection
    try:
        driver.execute(connection.get_execution_options()[_BEGIN], prepare=False)
    except psycopg.Error:
        if driver.closed:
            connection.invalidate()
        raise


def _note_time(driver: Any, record: Any) -> None:
    if driver is not None:
        record.info["returned"] = time.monotonic()


def _has_unread_data(driver: Driver) -> bool:
    """Whether the server has sent something unasked, mostly that it shuts down. Costs no round trip."""
    try:
        return bool(select.select([driver.fileno()], [], [], 0)[0])
    except (psycopg.Error, OSError, ValueError):  # closed, or too large a number for select
        return True


def _refuse_dead(driver: Driver, record: Any, _: Any) -> None:
    now = time.monotonic()
    if now - record.info.get("returned", now) < _IDLE and not _has_unread_data(driver):
        return
    try:
        driver.execute("", prepare=False)
    except psycopg.Error as error:
        raise exc.DisconnectionError("the connection was lost while it was idle") from error
