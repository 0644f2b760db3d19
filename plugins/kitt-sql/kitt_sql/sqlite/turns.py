"""How writers to one SQLite file take turns."""

from __future__ import annotations

import random
import sqlite3
import time
from typing import Final

__all__ = ["BEGIN_WRITE", "Turns", "pause"]

BEGIN_WRITE: Final = "BEGIN IMMEDIATE"
_PAUSES: Final = (0.0005, 0.01)


class Turns:
    """Begins writes, and waits where other connections write.

    SQLite's own waiting tries less and less often, so that among many writers the one that came last is the most
    likely to be next, and the one that has just written is the likeliest of all. Here all try equally often, and a
    writer that had to wait for one write pauses before the next. Nothing is kept in a file: whoever is killed is
    not waited for, and other programs are waited for in the same way.

    Args:
        busy_timeout: Seconds to wait.
        patient: Wait as long as others make progress: the time begins again whenever one of them has committed.
    """

    def __init__(self, busy_timeout: float, *, patient: bool) -> None:
        self._busy_timeout = busy_timeout
        self._patient = patient
        self._waited = False

    def begin_write(self, connection: sqlite3.Connection) -> None:
        """Begin a transaction that excludes other writers from the start.

        Raises:
            sqlite3.OperationalError: It is another's turn for too long, or anything else.
        """
        connection.execute("PRAGMA busy_timeout=0")
        try:
            if self._waited:
                pause()
            self._waited = self._begin(connection)
        finally:
            connection.execute(f"PRAGMA busy_timeout={round(self._busy_timeout * 1000)}")

    def _begin(self, connection: sqlite3.Connection) -> bool:
        """Begin, and return whether that took more than one attempt."""
        deadline: float | None = None
        seen: int | None = None
        while True:
            try:
                connection.execute(BEGIN_WRITE)
                return deadline is not None
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                now = time.monotonic()
                if deadline is None or now >= deadline:
                    version = _data_version(connection) if self._patient else None
                    if deadline is not None and version == seen:
                        raise
                    deadline, seen = now + self._busy_timeout, version
            pause()


def pause() -> None:
    """Sleep for a moment, not all waiters for the same one."""
    time.sleep(random.uniform(*_PAUSES))  # noqa: S311  # not a secret


def _data_version(connection: sqlite3.Connection) -> int | None:
    """Return a number that changes when another connection commits; None if that can't be seen now."""
    try:
        # All of it is fetched: a statement that is not finished would go on seeing the same state.
        ((version,),) = connection.execute("PRAGMA data_version").fetchall()
        return int(version)
    except sqlite3.OperationalError:
        return None
