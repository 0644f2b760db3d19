"""The driver's errors as KITT's: one line, the server, the cause and the cure; never the driver's text.

The server's errors are recognised by their SQLSTATE. For a refused connection libpq gives only a text; it is
searched for causes that it names in English, and never shown.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from sqlalchemy import exc

from kitt_core.errors import ConfigurationError, InvalidDocumentError, KittError, StoreUnavailableError
from kitt_sql.schema.tables import rolled_runs, run_documents, run_labels, runs

__all__ = ["Loss", "cause_of", "is_collision", "is_refused_value", "loss_of", "translated"]

_Cause = tuple[str, str]

_UNPREPARED: Final = (
    "and the pooler in front of it mix up prepared statements",
    "add -O prepare=false, or see docs/team.md on pgbouncer",
)
_STATES: Final[dict[str, _Cause]] = {
    "28P01": ("refused the password", "check the DSN's user and password, or ~/.pgpass"),
    "28000": ("refused the user", "check the DSN's user, and pg_hba.conf on the server"),
    "3D000": ("names a database that does not exist", "create it with `createdb`, or correct the DSN"),
    "3F000": ("names a schema that does not exist", "create it with CREATE SCHEMA, or correct the option schema"),
    "42501": (
        "does not permit this user to do that",
        "grant it what docs/team.md lists, or connect as another user",
    ),
    "25006": (
        "is read-only: a standby, or a session that may not write",
        "connect to the primary: target_session_attrs=read-write in the DSN finds it",
    ),
    "53100": ("cannot grow: its disk is full", "free some space on the server and try again"),
    "53200": ("is out of memory", "free some memory on the server and try again"),
    "53300": ("has no free connection", "raise max_connections, lower pool_size, or put pgbouncer in front of it"),
    "54001": ("cannot handle an expression of that depth", "ask for less at once"),
    "26000": _UNPREPARED,
    "42P05": _UNPREPARED,
    "55P03": ("is locked by another session", "try again"),
    "57014": (
        "stopped the statement: it took too long or was cancelled",
        "try again, or allow more time with -O statement_timeout=60",
    ),
    "57P01": ("shut down or closed the connection", "try again when it is up"),
    "57P02": ("crashed", "try again when it has recovered"),
    "57P03": ("is starting up or shutting down", "try again in a moment"),
    "40001": ("had too many writers at once", "try again"),
    "40P01": ("had two writers waiting for each other", "try again"),
    "2BP01": (
        "has views or tables that depend on KITT's tables",
        "drop them, run `kitt storage migrate`, and create them again",
    ),
    "42P01": ("lacks one of KITT's tables", "run `kitt storage status`, then `kitt storage init`"),
    "42703": ("lacks one of KITT's columns", "run `kitt storage status`"),
}
_CLASSES: Final[dict[str, _Cause]] = {
    "08": ("cannot be reached: the connection was lost", "try again when server and network are up"),
    "53": ("is out of resources", "try again later, or ask the server's administrator"),
    "57": ("interrupted the statement", "try again"),
    "58": ("has trouble with its own files", "ask the server's administrator to read its log"),
    "XX": ("has trouble with its own files", "ask the server's administrator to read its log"),
}
_LOST: Final = _CLASSES["08"]
_NOT_LISTENING: Final = (
    "cannot be reached: nothing listens there",
    "check host and port, and that the server runs",
)
_TEXTS: Final[tuple[tuple[str, _Cause], ...]] = (
    (r"password authentication failed|no password supplied|fe_sendauth", _STATES["28P01"]),
    (r"role .* does not exist|no pg_hba\.conf entry|authentication failed", _STATES["28000"]),
    (r"database .* does not exist|no such database", _STATES["3D000"]),
    (r"too many clients|remaining connection slots|too many connections|no more connections", _STATES["53300"]),
    (r"starting up|shutting down|recovery mode", _STATES["57P03"]),
    (r"permission denied for database", _STATES["42501"]),
    (
        r"could not translate host name|Name or service not known|failed to resolve|nodename nor servname",
        ("cannot be reached: the host name is unknown", "check the host of the DSN"),
    ),
    (r"Connection refused|No such file or directory", _NOT_LISTENING),
    (
        r"timeout|timed out",
        ("did not answer in time", "check host and port, or wait longer: -O connect_timeout=30"),
    ),
    (r"SSL|certificate", ("and this client cannot agree on TLS", "check sslmode and the certificates")),
    (
        r"server is not in hot standby mode|session is not read-only",
        (
            "is a primary that may be written to, but target_session_attrs in the DSN asks for another one",
            "leave out target_session_attrs, or set it to read-write: KITT has to write",
        ),
    ),
    (r"session is read-only|in hot standby mode", _STATES["25006"]),
    (
        r"service .* not found|definition of service",
        ("is a service that libpq does not know", "check PGSERVICEFILE"),
    ),
)
_MISSPELT: Final = re.compile(
    r'invalid "?(\w+)"? value: "|invalid integer value ".*" for connection option "(\w+)"'
    r"|bad value for (connect_timeout)",
    re.DOTALL,
)
_CHOICES: Final = {
    "sslmode": "disable, allow, prefer, require, verify-ca or verify-full",
    "gssencmode": "disable, prefer or require",
    "channel_binding": "disable, prefer or require",
    "target_session_attrs": "any, read-write, read-only, primary, standby or prefer-standby",
    "load_balance_hosts": "disable or random",
    "sslnegotiation": "postgres or direct",
    "sslcertmode": "disable, allow or require",
    "connect_timeout": "a whole number of seconds",
    **dict.fromkeys(
        ("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"), "a whole number"
    ),
    "tcp_user_timeout": "a whole number of milliseconds",
}
_CONFLICTS: Final = {"40001", "40P01", "53300"}
_RESTARTS: Final = {"57P01", "57P02", "57P03"}
_REFUSED_VALUES: Final = {"22P02", "22P05", "22003", "54000", "54001", "22021", "22030", "22032"}
_KEYED_BY_RUN: Final = {runs.name, run_documents.name, run_labels.name, rolled_runs.name}
_TOO_LONG: Final = "54000"


@contextmanager
def translated(location: str) -> Iterator[None]:
    """Raise KITT's errors for what the server, the driver or the pool refuse."""
    try:
        yield
    except (exc.SQLAlchemyError, psycopg.Error, OSError) as error:
        raise _translation(location, error) from error


def cause_of(error: BaseException) -> psycopg.Error | None:
    """Return the driver's error behind ``error``, None if it is not the driver's."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    return cause if isinstance(cause, psycopg.Error) else None


def is_collision(error: BaseException) -> bool:
    """Whether a run with that id exists already."""
    cause = cause_of(error)
    # The parts of one statement have no order: any of the tables whose key holds the id may report it first.
    return isinstance(cause, psycopg.errors.UniqueViolation) and cause.diag.table_name in _KEYED_BY_RUN


def is_refused_value(error: BaseException) -> bool:
    """Whether PostgreSQL can't hold a value: as JSONB, or as the key of an index."""
    cause = cause_of(error)
    return cause is not None and cause.sqlstate in _REFUSED_VALUES


class Loss(enum.Enum):
    """Why the same statement may succeed on a new connection."""

    RESTART = enum.auto()
    """The connection was lost, or the server is shutting down or starting up."""
    NOT_LISTENING = enum.auto()
    """The server is down, or its address is wrong."""
    CONFLICT = enum.auto()
    """Others are in the way: in a conflict of transactions, or because they have all connections."""


def loss_of(error: BaseException | None) -> Loss | None:
    """Return why a statement may succeed on a new connection, None if it will not."""
    cause = None if error is None else cause_of(error)
    if not isinstance(cause, psycopg.OperationalError):
        return None
    state = cause.sqlstate
    if state is None:  # from libpq, not from a server
        return None if _misspelt(cause) is not None else _TRANSIENT.get(_textual(cause))
    if state in _CONFLICTS:
        return Loss.CONFLICT
    return Loss.RESTART if state in _RESTARTS or state.startswith("08") else None


_TRANSIENT: Final[dict[_Cause | None, Loss]] = {
    None: Loss.RESTART,
    _NOT_LISTENING: Loss.NOT_LISTENING,
    _STATES["53300"]: Loss.CONFLICT,
    _STATES["57P03"]: Loss.RESTART,
}


def _translation(location: str, error: BaseException) -> KittError:
    if isinstance(error, exc.TimeoutError):
        return StoreUnavailableError(
            f"{location}: all connections of this store are in use",
            hint="raise pool_size, or close iterators that are no longer read",
        )
    cause = cause_of(error)
    if cause is None:
        what, cure = f"cannot be used ({type(error).__name__})", "run `kitt doctor`"
    elif cause.sqlstate == _TOO_LONG:
        return InvalidDocumentError(
            f"{location} cannot hold this run: names and labels have at most about 2,700 bytes, documents 1 GB",
            hint="shorten it, or keep the run in another backend",
        )
    elif cause.sqlstate is None and (setting := _misspelt(cause)) is not None:
        return ConfigurationError(
            f"{location}: the DSN's {setting} has a value that libpq does not know",
            hint=f"give {_CHOICES.get(setting, 'one that the documentation of libpq lists')}",
        )
    elif cause.sqlstate is None:
        what, cure = _textual(cause) or _LOST
    else:
        what, cure = _STATES.get(cause.sqlstate) or _CLASSES.get(
            cause.sqlstate[:2],
            (f"refused a statement (SQLSTATE {cause.sqlstate})", "run `kitt storage verify`"),
        )
    return StoreUnavailableError(f"{location} {what}", hint=cure)


def _misspelt(error: psycopg.Error) -> str | None:
    """Return the setting of the DSN whose value libpq refuses before it connects, None for any other error."""
    found = _MISSPELT.search(str(error))
    return None if found is None else found[found.lastindex or 1]


def _textual(error: psycopg.Error) -> _Cause | None:
    return next((cause for text, cause in _TEXTS if re.search(text, str(error), re.IGNORECASE)), None)
