"""The driver's errors as KITT's: one line, the file, the cause and the cure; never the driver's words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import exc

from kitt_core.errors import InvalidDocumentError, KittError, StoreUnavailableError

__all__ = ["translated"]

_CAUSES = {
    sqlite3.SQLITE_BUSY: ("is locked by another process", "try again, or wait longer with -O busy_timeout=30"),
    sqlite3.SQLITE_LOCKED: ("is locked by another connection", "try again"),
    sqlite3.SQLITE_NOTADB: ("is not a SQLite database", "give the path of another file"),
    sqlite3.SQLITE_CORRUPT: (
        "is damaged",
        "restore it from a backup; `sqlite3 FILE .recover` saves what can be read",
    ),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk or the file's limit is full", "free some space and try again"),
    sqlite3.SQLITE_READONLY: ("is read-only", "make the file and its directory writable, or use another store"),
    sqlite3.SQLITE_PERM: ("may not be opened", "check its permissions"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "check that its directory exists and can be written"),
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written: input/output error",
        "check the disk, its space and its limits",
    ),
    sqlite3.SQLITE_NOMEM: ("cannot be used: out of memory", "free some memory and try again"),
}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise KITT's errors for what SQLite, its driver or the file system refuse."""
    try:
        yield
    except exc.StatementError as error:
        raise _translation(path, error.orig) from error
    except (sqlite3.Error, OSError, OverflowError, exc.TimeoutError) as error:
        raise _translation(path, error) from error


def _translation(path: Path, error: BaseException | None) -> KittError:
    if path.is_dir():
        return StoreUnavailableError(
            f"{path} is a directory, expected a SQLite file", hint="give the path of a file"
        )
    if isinstance(error, OSError):
        return StoreUnavailableError(
            f"{path} cannot be used: {error.strerror or type(error).__name__}",
            hint="check the path and its permissions",
        )
    error = _cause(error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code == sqlite3.SQLITE_TOOBIG or isinstance(error, OverflowError):
        return InvalidDocumentError(
            f"{path} cannot hold a document of that size: the largest is about 1 GB",
            hint="keep it in another backend",
        )
    cause, cure = _CAUSES.get(code, (f"cannot be used ({name})", "run `kitt storage verify`"))
    return StoreUnavailableError(f"{path} {cause}", hint=cure)


def _cause(error: BaseException | None) -> BaseException | None:
    """Return the error that came first: a failed roll-back hides the full disk that made it necessary."""
    known, link = error, error
    while link is not None:
        if getattr(link, "sqlite_errorcode", 0) & 0xFF in _CAUSES:
            known = link
        link = link.__context__
    return known
