"""What a pool of connections must never do, whatever the database."""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import Engine, event, exc

__all__ = ["forbid_inheriting"]


def forbid_inheriting(engine: Engine) -> None:
    """Have the engine connect anew in a child process instead of sharing its parent's connection.

    A file's locks would be lost, and two processes would talk at once on one socket.
    """
    event.listen(engine, "connect", _note_process)
    event.listen(engine, "checkout", _refuse_inherited)


def _note_process(connection: Any, record: Any) -> None:
    del connection
    record.info["pid"] = os.getpid()


def _refuse_inherited(connection: Any, record: Any, proxy: Any) -> None:
    del connection
    if record.info["pid"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise exc.DisconnectionError("the connection belongs to the parent process")
