"""Lost connections and servers: writes are retried where that is safe, and no run is stored twice or in part."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import psycopg
import pytest

from kitt_core import open_store
from kitt_core.runs import Severity
from kitt_core.storage import ResultStore
from kitt_core.testing import StoreTarget, documents
from kitt_postgres.server import PostgresServer
from kitt_postgres.store import PostgresResultStore

if TYPE_CHECKING:
    from kitt_postgres.testing import PrivateServer


Usable = Callable[[ResultStore], None]
Write = Callable[[ResultStore], object]

WRITES: dict[str, Write] = {
    "save": lambda store: store.save_result(documents.STANDARD, run_id="one"),
    "save several": lambda store: store.save_results([documents.STANDARD + b" " * i for i in range(3)]),
    "import": lambda store: store.save_unless_stored([_checked(f"i{i}", b" " * i) for i in range(3)]),
}
EXPECTED = {"save": 1, "save several": 3, "import": 3}
READS: dict[str, tuple[Callable[[ResultStore], object], object]] = {
    "document": (lambda store: store.get_document("before"), documents.MINIMAL),
    "list": (lambda store: [line.id for line in store.list_results()], ["before"]),
    "count": (lambda store: store.count(), 1),
    "group": (lambda store: store.aggregate("model"), [{"model": "m", "count": 1}]),
    "scan": (lambda store: [run.id for run in store.scan()], ["before"]),
    "verify": (lambda store: list(store.verify()), []),
    "delete": (lambda store: store.delete_result("before"), True),
}


def _checked(run_id: str, tail: bytes) -> Any:
    from kitt_core.runs import check_run

    return check_run(documents.STANDARD + tail, run_id=run_id)


def _delete(store: ResultStore) -> object:
    return store.delete_result("before")


def cut(server: PrivateServer, database: str) -> int:
    """End every session in the database."""
    found = server.execute(
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{database}'"
    )
    return len(found)


def blocked(server: PrivateServer, database: str) -> bool:
    return bool(
        server.execute(f"SELECT 1 FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock'")
    )


def wait_for(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Background:
    """A call in a thread of its own, and its outcome."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.result: object = None
        self.error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.error = error

    def outcome(self) -> object:
        self._thread.join(180)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.result


def assert_whole(store: ResultStore, number: int) -> None:
    assert store.count() == len(list(store.scan())) == number
    assert [found for found in store.verify() if found.severity is Severity.DAMAGE] == []


@pytest.fixture(scope="module")
def _own_server(postgres_server: PrivateServer) -> Iterator[PrivateServer]:
    from kitt_postgres.testing import PrivateServer, installed_servers

    binaries = next(found for found in installed_servers() if found.major == postgres_server.major)
    with PrivateServer(binaries) as server:
        yield server


@pytest.fixture
def own_server(_own_server: PrivateServer) -> Iterator[PrivateServer]:
    """A server to be stopped and crashed, as durable as PostgreSQL is by default."""
    if not _own_server.running:
        _own_server.start()
    yield _own_server
    _own_server.stop("immediate")
    (_own_server.data / "standby.signal").unlink(missing_ok=True)


# Between two calls.


@pytest.mark.parametrize(
    ("call", "pause"),
    [*((call, 0.0) for call in ("read", "list", "group", "scan", "delete", *WRITES)), ("read", 0.3)],
)
def test_a_connection_that_was_cut_between_two_calls_is_not_noticed(
    postgres_server: PrivateServer, database: str, store: PostgresResultStore, call: str, pause: float
) -> None:
    store.save_result(documents.MINIMAL, run_id="first")
    assert cut(postgres_server, database) >= 1
    time.sleep(pause)
    match call:
        case "read":
            assert store.get_document("first") == documents.MINIMAL
        case "list":
            assert [line.id for line in store.list_results()] == ["first"]
        case "group":
            assert store.aggregate("model")[0]["count"] == 1
        case "scan":
            assert [run.id for run in store.scan()] == ["first"]
        case "delete":
            assert store.delete_result("first")
        case _:
            WRITES[call](store)
            assert_whole(store, 1 + EXPECTED[call])


def test_a_server_that_was_restarted_between_two_calls_is_not_noticed(own_server: PrivateServer) -> None:
    with open_store(own_server.create_database()) as store:
        store.initialize()
        for mode in ("fast", "immediate"):
            store.save_result(documents.STANDARD, run_id=f"before-{mode}")
            own_server.restart(mode)
            store.save_result(documents.STANDARD, run_id=f"after-{mode}")
            own_server.restart(mode)
            assert store.get_document(f"after-{mode}") == documents.STANDARD
        assert_whole(store, 4)


def test_a_scan_survives_a_cut_between_its_pages(
    postgres_server: PrivateServer, database: str, store: PostgresResultStore
) -> None:
    store.save_results(documents.run(n=n) for n in range(450))
    seen = []
    for run in store.scan():
        seen.append(run.id)
        if len(seen) in {1, 250}:
            cut(postgres_server, database)
    assert len(set(seen)) == len(seen) == 450


# In the middle of a call.


@pytest.mark.parametrize("write", WRITES)
def test_a_connection_that_is_cut_in_the_middle_of_a_write(
    postgres_server: PrivateServer, database: str, store: PostgresResultStore, write: str, assert_usable: Usable
) -> None:
    store.count()
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as admin:
        with psycopg.connect(postgres_server.dsn(database)) as holder:
            holder.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
            writing = Background(lambda: WRITES[write](store))
            for _ in range(2):
                wait_for(lambda: blocked(postgres_server, database))
                admin.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = %s AND pid <> %s",
                    [database, holder.info.backend_pid],
                )
        writing.outcome()
    assert_whole(store, EXPECTED[write])
    assert_usable(store)


@pytest.mark.parametrize("call", READS)
def test_a_connection_that_is_cut_in_the_middle_of_a_read_or_a_deletion(
    postgres_server: PrivateServer, database: str, store: PostgresResultStore, call: str
) -> None:
    store.save_result(documents.MINIMAL, run_id="before")
    read, expected = READS[call]
    with psycopg.connect(postgres_server.dsn(database)) as holder:
        holder.execute("LOCK TABLE runs, run_documents IN ACCESS EXCLUSIVE MODE")
        reading = Background(lambda: read(store))
        wait_for(lambda: blocked(postgres_server, database))
        postgres_server.execute(
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{database}'"
            f" AND pid <> {holder.info.backend_pid}"
        )
    assert reading.outcome() == expected


@pytest.mark.parametrize(
    ("write", "mode"),
    [
        ("save", "fast"),
        ("save several", "immediate"),
        pytest.param("save", "immediate", marks=pytest.mark.long),
        pytest.param("save several", "fast", marks=pytest.mark.long),
        pytest.param("import", "fast", marks=pytest.mark.long),
        pytest.param("import", "immediate", marks=pytest.mark.long),
    ],
)
def test_a_server_that_is_restarted_in_the_middle_of_a_write(
    own_server: PrivateServer, write: str, mode: Any, assert_usable: Usable
) -> None:
    name = f"{mode}_{write.replace(' ', '_')}"
    with open_store(own_server.create_database(name)) as store:
        store.initialize()
        store.count()
        with closing(psycopg.connect(own_server.dsn(name))) as holder:
            holder.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
            writing = Background(lambda: WRITES[write](store))
            wait_for(lambda: blocked(own_server, name))
            own_server.stop(mode)
        time.sleep(0.5)
        assert writing.error is None
        own_server.start()
        writing.outcome()
        assert_whole(store, EXPECTED[write])
        assert_usable(store)


def test_a_server_that_stays_away_is_reported_in_time(own_server: PrivateServer, refused: Any) -> None:
    with open_store(own_server.create_database(), restart_timeout=1) as store:
        store.initialize()
        store.save_result(documents.MINIMAL, run_id="before")
        own_server.stop("immediate")
        for call in (store.count, lambda: store.save_result(documents.MINIMAL, run_id="lost")):
            start = time.monotonic()
            with refused("cannot be reached"):
                call()
            assert time.monotonic() - start < 10, "it waits for a second"
        own_server.start()
        store.save_result(documents.MINIMAL, run_id="after")
        assert sorted(run.id for run in store.scan()) == ["after", "before"]


def test_every_call_waits_for_a_server_that_restarts(
    own_server: PrivateServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitt_postgres.database._NOTICE_AFTER", 0)
    with open_store(own_server.create_database(), restart_timeout=170, pool_size=20) as store:
        store.initialize()
        store.save_result(documents.MINIMAL, run_id="before")
        own_server.stop("immediate")
        calls = {name: Background(partial(read, store)) for name, (read, _) in READS.items() if name != "delete"}
        wait_for(lambda: caplog.text.count("nothing listens there; waiting for it, for up to 170 s") == len(calls))
        own_server.start()
        assert {name: call.outcome() for name, call in calls.items()} == {name: READS[name][1] for name in calls}
        own_server.stop("fast")
        caplog.clear()
        changes = [Background(partial(write, store)) for write in (*WRITES.values(), _delete)]
        wait_for(lambda: caplog.text.count("waiting for it") == len(changes))
        own_server.start()
        assert changes.pop().outcome() is True
        for change in changes:
            change.outcome()
        # How many runs: the import finds bytes that were saved at the same time, or saves them first.
        assert {run.document for run in store.scan()} == {documents.STANDARD + b" " * i for i in range(3)}
        assert [found for found in store.verify() if found.severity is Severity.DAMAGE] == []


def test_a_server_that_is_starting_is_waited_for_by_the_first_call_too(
    postgres_server: PrivateServer,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    refused: Any,
) -> None:
    connect, refusals = PostgresServer.connect, ["starting up"] * 3 + ["shutting down"]

    def starting(server: PostgresServer) -> Any:
        if refusals:
            raise psycopg.OperationalError(f"connection failed: FATAL: the database system is {refusals.pop()}")
        return connect(server)

    monkeypatch.setattr(PostgresServer, "connect", starting)
    with open_store(postgres_server.dsn(database)) as store:
        assert store.count() == 0
    assert refusals == []
    assert caplog.text == ""
    refusals.append("starting up")
    with open_store(postgres_server.dsn(database), restart_timeout=0) as store:
        with refused("is starting up or shutting down"):
            store.count()
        assert store.count() == 0


def test_a_standby_answers_and_refuses_to_write(own_server: PrivateServer, refused: Any) -> None:
    dsn = own_server.create_database()
    with open_store(dsn) as store:
        store.initialize()
        store.save_result(documents.STANDARD, run_id="before")
        own_server.stop()
        (own_server.data / "standby.signal").touch()
        own_server.start()
        assert own_server.execute("SELECT pg_is_in_recovery()") == [(True,)]
        assert [line.id for line in store.list_results({"search": "llama"})] == ["before"]
        assert store.get_document("before") == documents.STANDARD
        for write in (*WRITES.values(), _delete):
            with refused("is read-only"):
                write(store)
        assert_whole(store, 1)
    with open_store(f"{dsn}?target_session_attrs=read-write") as store, refused("is read-only"):
        store.count()


@pytest.mark.parametrize("write", WRITES)
def test_a_write_whose_answer_was_lost_is_retried(
    postgres_server: PrivateServer, database: str, write: str, assert_usable: Usable
) -> None:
    """The server has committed, the client does not know: it writes again, and finds its own run."""
    word = b"INSERT INTO runs" if write == "save" else b"COMMIT\0"
    with Relay(postgres_server.port) as relay:
        target = f"postgresql://postgres:{postgres_server.password}@127.0.0.1:{relay.port}/{database}"
        with open_store(target) as store:
            store.count()
            relay.swallow_answer_to(word)
            WRITES[write](store)
            assert relay.swallowed == 1
            assert_whole(store, EXPECTED[write])
            if write == "import":  # what the lost attempt stored is not somebody else's run
                relay.swallow_answer_to(word)
                fresh = [_checked(f"n{i}", b"\n" * (i + 1)) for i in range(2)]
                known = _checked("other", b"")
                assert store.save_unless_stored([*fresh, known]) == {known.sha256: "i0"}
                assert relay.swallowed == 2
                assert_whole(store, 5)
            assert_usable(store)


def test_a_deletion_whose_answer_was_lost_says_that_it_deleted(
    postgres_server: PrivateServer, database: str
) -> None:
    with Relay(postgres_server.port) as relay:
        target = f"postgresql://postgres:{postgres_server.password}@127.0.0.1:{relay.port}/{database}"
        with open_store(target) as store:
            store.save_result(documents.MINIMAL, run_id="before")
            relay.swallow_answer_to(b"COMMIT\0")
            assert store.delete_result("before")
            assert relay.swallowed == 1
            assert not store.delete_result("before")


@pytest.mark.parametrize("crashes", [1, pytest.param(20, marks=pytest.mark.long)], ids=["1 crash", "20 crashes"])
def test_a_server_that_crashes_under_load_loses_nothing_that_was_acknowledged(
    own_server: PrivateServer, spawn: Callable[..., subprocess.Popen[str]], crashes: int
) -> None:
    dsn = own_server.create_database()
    with open_store(dsn) as store:
        store.initialize()
    writers, each = 4, 20 * crashes
    target = StoreTarget(dsn, {"restart_timeout": 60}).encode()
    started = [
        spawn(
            [sys.executable, "-m", "kitt_core.testing.worker", "save_many", target, f"w{number}", str(each)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(writers)
    ]
    acknowledged: list[list[str]] = [[] for _ in started]
    readers = []
    for process, said in zip(started, acknowledged, strict=True):
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        readers.append(Background(lambda out=process.stdout, said=said: said.extend(map(str.strip, out))))  # type: ignore[misc]
    for crash in range(crashes):
        least = (crash + 1) * writers * each // (crashes + 2)
        wait_for(lambda least=least: sum(map(len, acknowledged)) >= least)  # type: ignore[misc]
        own_server.stop("immediate")
        own_server.start()
    for process, reader in zip(started, readers, strict=True):
        reader.outcome()
        process.communicate(timeout=180)
        assert process.returncode == 0
    with open_store(dsn) as store:
        stored = [run.id for run in store.scan()]
        assert len(stored) == len(set(stored)) == writers * each
        assert {run_id for said in acknowledged for run_id in said} == set(stored)
        assert_whole(store, writers * each)


class Relay:
    """Stands between client and server, and can lose an answer."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.swallowed = 0
        self._word: bytes | None = None

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()

    def swallow_answer_to(self, word: bytes) -> None:
        """Let the next request that holds ``word`` reach the server, and cut the client off before its answer."""
        self._word = word

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._carry, args=[client], daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server)) as server, suppress(OSError):
            losing = False
            while True:
                ready = select.select([client, server], [], [])[0]
                if client in ready:
                    data = client.recv(1 << 20)
                    if self._word is not None and self._word in data:
                        self._word, losing = None, True
                    if not data:
                        return
                    server.sendall(data)
                if server in ready:
                    data = server.recv(1 << 20)
                    if losing:  # the answer: the server has done it
                        self.swallowed += 1
                    if losing or not data:
                        return
                    client.sendall(data)
