"""Behind pgbouncer in transaction mode everything works: each transaction may meet another server connection."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import psycopg
import pytest

from kitt_core import open_store
from kitt_core.errors import StoreUnavailableError
from kitt_core.storage import ResultStore
from kitt_core.testing import StoreContract, documents
from kitt_postgres.options import PostgresOptions
from kitt_postgres.store import PostgresResultStore
from kitt_postgres.testing.binaries import run_options, server_account, temporary_directory

if TYPE_CHECKING:
    from kitt_postgres.testing import PrivateServer

PROGRAM: Final = shutil.which(
    "pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin"
)
CONNECTIONS: Final = 3
"""Connections to the server, however many clients there are."""

_SETTINGS: Final = """
[databases]
* = host={host} port={server_port} user={user} password={password}

[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
server_reset_query = DISCARD ALL
server_reset_query_always = 1
"""
# pgbouncer ends with the test process, which closes its standard input.
_RUN: Final = '"$0" "$1" & read -r _; kill $!; wait'


@pytest.fixture(scope="module")
def bounced(postgres_server: PrivateServer) -> Iterator[str]:
    """The address of a database through pgbouncer."""
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed")
    given = urlsplit(postgres_server.create_database())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    account = server_account()  # pgbouncer refuses to run as root as well
    directory = temporary_directory(account)
    settings = directory / "pgbouncer.ini"
    settings.write_text(
        _SETTINGS.format(
            host="127.0.0.1",
            server_port=given.port,
            user=given.username,
            password=postgres_server.password,
            port=port,
            connections=CONNECTIONS,
        )
    )
    settings.chmod(0o644)  # the directory keeps others out
    process = subprocess.Popen(
        ["/bin/sh", "-c", _RUN, PROGRAM, settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        **run_options(account),
    )
    try:
        _wait(port)
        yield f"postgresql://{given.username}@127.0.0.1:{port}{given.path}"
    finally:
        process.communicate()
        shutil.rmtree(directory)
        postgres_server.drop_database(given.path[1:])


def _wait(port: int) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("pgbouncer does not listen")


@pytest.mark.long
class TestBehindPgbouncer(StoreContract):
    @pytest.fixture
    def store(self, bounced: str) -> Iterator[ResultStore]:
        self.dsn = bounced
        with PostgresResultStore(PostgresOptions(bounced, prepare=False)) as store:
            store.initialize()
            yield store
            with store.database.raw_writing() as driver:
                driver.execute("TRUNCATE runs, quick_tests CASCADE")

    def reopen(self, store: ResultStore) -> ResultStore:
        return PostgresResultStore(PostgresOptions(self.dsn, prepare=False))


def test_many_clients_share_few_connections_and_none_sees_anothers_settings(bounced: str) -> None:
    schemas = ["one", "two", None]
    failures: list[BaseException] = []
    with ExitStack() as stack:
        stores = [
            stack.enter_context(
                open_store(bounced, prepare=False, schema=schemas[i % 3], statement_timeout=i % 2 * 20)
            )
            for i in range(9)
        ]
        for store in stores[:3]:
            store.initialize()
        before = [store.count() for store in stores[:3]]

        def work(store: ResultStore) -> None:
            try:
                for i in range(10):
                    store.save_results([documents.small(i), documents.small(i + 1)])
                    store.save_result(documents.run(timestamp="0001-01-01T00:00:00Z"))
                    assert len(store.list_results(limit=3)) == 3
            except BaseException as error:  # noqa: BLE001  # checked below
                failures.append(error)

        threads = [threading.Thread(target=work, args=[store]) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert [store.count() - count for store, count in zip(stores, before, strict=False)] == [90] * 3
        with closing(psycopg.connect(bounced, autocommit=True)) as connection:
            servers = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            ).fetchone()
            assert servers is not None
            assert servers[0] <= CONNECTIONS
            connection.execute("DROP SCHEMA one, two CASCADE")
            connection.execute("TRUNCATE runs CASCADE")


def test_a_pgbouncer_without_prepared_statements_is_reported(bounced: str) -> None:
    assert PROGRAM is not None
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, re.findall(r"\d+", said)[:2])) >= (1, 21):
        pytest.skip("this pgbouncer knows prepared statements")

    def save_often(**options: Any) -> None:
        with open_store(bounced, **options) as store:
            store.initialize()
            for i in range(20):
                store.save_result(documents.small(i))

    with pytest.raises(StoreUnavailableError, match="prepare=false"):
        save_often()
    save_often(prepare=False)


def test_settings_in_the_dsn_are_refused_by_pgbouncer_not_lost(bounced: str) -> None:
    with (
        open_store(f"{bounced}?options=-csearch_path%3Done", prepare=False, connect_timeout=1) as store,
        pytest.raises(StoreUnavailableError),
    ):
        store.count()
