"""Stores that are generated once and kept between runs of the benchmarks.

A store's name says how many runs of which documents it has, and has a digest of the documents and the tables: one
of an older workload or schema is not found, and is removed. It has its name only when it is complete. Nothing is
written into a kept store afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.floor import Floor
from benchmarks.workload import Document, run_document, write_run_files
from kitt_core import ResultStore, open_store

if TYPE_CHECKING:
    from kitt_postgres.testing import PrivateServer

__all__ = [
    "CACHE",
    "batches",
    "kept_files",
    "kept_floor",
    "kept_server",
    "kept_sqlite",
    "own_directory",
    "postgres_store",
]

CACHE: Final = Path("/var/tmp/kitt-benchmarks")
"""Not in the home directory, where the account that PostgreSQL runs as may not go."""

_BATCH: Final = 100


def batches(size: int, *, small: bool = False) -> Iterator[list[Document]]:
    """Yield the first documents of the workload, a hundred at a time."""
    for first in range(0, size, _BATCH):
        yield [run_document(number, small=small) for number in range(first, min(first + _BATCH, size))]


def kept_sqlite(cache: Path, size: int, *, small: bool) -> ResultStore:
    """Open KITT's store with so many runs in a file; it is generated if there is none."""

    def fill(path: Path) -> None:
        with open_store(f"sqlite:///{path}", synchronous="OFF") as store:
            for batch in batches(size, small=small):
                store.save_results(batch)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    path = _kept(cache, f"sqlite-{_kind(small)}-{size}", _digest(size, small=small), ".db", fill)
    return open_store(f"sqlite:///{path}")


def kept_floor(cache: Path, size: int) -> Floor:
    """Open the floor's database with so many standard runs; it is generated if there is none."""

    def fill(path: Path) -> None:
        with closing(Floor(path, synchronous="OFF")) as floor:
            for batch in batches(size):
                floor.save(batch)

    return Floor(_kept(cache, f"floor-{_kind(small=False)}-{size}", _digest(size, small=False), ".db", fill))


def kept_files(cache: Path, size: int) -> Path:
    """Return a directory with so many run directories; it is generated if there is none."""
    return _kept(
        cache,
        f"files-{size}",
        _digest(size, small=False),
        "",
        lambda path: write_run_files(path, range(size)),
    )


@contextmanager
def kept_server(cache: Path) -> Iterator[PrivateServer]:
    """Provide a PostgreSQL server with its default durability, whose databases are kept in the cache."""
    from kitt_postgres.testing import PrivateServer
    from kitt_postgres.testing.binaries import server_account

    directory = own_directory(cache) / "postgres"
    if not directory.exists():
        directory.mkdir(mode=0o700)
        account = server_account()
        if account is not None:
            shutil.chown(directory, account.pw_uid, account.pw_gid)
    server = PrivateServer(directory=directory)
    password = cache / "postgres.password"  # of a server that only this machine reaches
    if password.exists():
        server.password = password.read_text(encoding="ascii")
    else:
        password.touch(mode=0o600)
        password.write_text(server.password, encoding="ascii")
    with server:
        yield server
        server.stop()  # so that the next start has nothing to recover


def postgres_store(server: PrivateServer, size: int, *, small: bool) -> ResultStore:
    """Open KITT's store with so many runs in a database of the server; it is generated if there is none."""
    prefix = f"{_kind(small)}_{size}_"
    name = prefix + _digest(size, small=small)
    stored = {row[0] for row in server.execute("SELECT datname FROM pg_database")}
    if name not in stored:
        for old in stored:
            if old.startswith(prefix):
                server.drop_database(old)
        partial = f"{prefix}partial"
        with _announced(name), open_store(server.create_database(partial)) as store:
            store.initialize()
            for batch in batches(size, small=small):
                store.save_results(batch)
        server.execute("VACUUM ANALYZE", database=partial)
        server.execute(f"ALTER DATABASE {partial} RENAME TO {name}")
    return open_store(server.dsn(name))


def _kind(small: bool) -> str:
    return "small" if small else "standard"


def _digest(size: int, *, small: bool) -> str:
    from kitt_sql.schema.tables import SCHEMA_VERSION, metadata

    tables = [[table.name, *map(str, table.columns)] for table in metadata.sorted_tables]
    indexes = sorted(str(index.name) for table in metadata.sorted_tables for index in table.indexes)
    documents = [run_document(number, small=small) for number in (0, size - 1)]
    description = json.dumps([SCHEMA_VERSION, tables, indexes, documents])
    return hashlib.sha256(description.encode()).hexdigest()[:12]


def _kept(cache: Path, kind: str, digest: str, suffix: str, fill: Callable[[Path], None]) -> Path:
    path = own_directory(cache) / f"{kind}-{digest}{suffix}"
    if not path.exists():
        for old in cache.glob(f"{kind}-*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        partial = cache / f"{kind}-partial{suffix}"
        with _announced(path.name):
            fill(partial)
        for extra in ("-wal", "-shm"):
            partial.with_name(partial.name + extra).unlink(missing_ok=True)
        partial.rename(path)
    return path


def own_directory(cache: Path) -> Path:
    """Return the directory, created if it is missing; one of somebody else ends the program."""
    cache.mkdir(parents=True, exist_ok=True, mode=0o755)
    if cache.stat().st_uid != os.geteuid():
        sys.exit(f"error: {cache} belongs to another user; choose another directory with --directory")
    return cache


@contextmanager
def _announced(name: str) -> Iterator[None]:
    print(f"generating {name}", end="", file=sys.stderr, flush=True)
    began = time.perf_counter()
    yield
    print(f": {time.perf_counter() - began:.0f} s", file=sys.stderr)
