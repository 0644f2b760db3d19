"""What a real server refuses is reported in one line, with a cure and without secrets, and does no harm."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from kitt_core import open_store
from kitt_core.errors import ConfigurationError, SchemaMissingError, SchemaTooOldError
from kitt_core.storage import ResultStore
from kitt_core.testing import documents
from kitt_postgres.options import PostgresOptions
from kitt_postgres.store import PostgresResultStore

if TYPE_CHECKING:
    from kitt_postgres.testing import PrivateServer


Usable = Callable[[ResultStore], None]
PASSWORD = "p4ss-of-r0le"


@contextmanager
def quickly() -> Iterator[None]:
    """Expect an answer before the ten seconds for which a lost server is waited for."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 10


@pytest.fixture
def role(postgres_server: PrivateServer) -> Iterator[str]:
    """A role that may log in and do nothing else."""
    postgres_server.execute(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    yield "guest"
    postgres_server.execute("DROP ROLE guest")


@contextmanager
def locked(server: PrivateServer, database: str) -> Iterator[psycopg.Connection[Any]]:
    """Hold a lock that blocks everybody."""
    with psycopg.connect(server.dsn(database)) as connection:
        connection.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        yield connection


# Connecting.


@pytest.mark.parametrize("host", ["tcp", "socket"])
def test_a_wrong_password(postgres_server: PrivateServer, database: str, refused: Any, host: Any) -> None:
    with PostgresResultStore(
        PostgresOptions(postgres_server.dsn(database, password="wr0ng-s3cret", host=host))
    ) as store:
        for call in (store.count, lambda: store.save_result(documents.MINIMAL), store.initialize):
            with quickly(), refused("refused the password"):
                call()
        with quickly(), refused("refused the password"):
            store.schema_status()


def test_no_such_database(postgres_server: PrivateServer, refused: Any) -> None:
    with open_store(postgres_server.dsn("nowhere")) as store, quickly(), refused("nowhere", "does not exist"):
        store.count()


def test_no_such_role(postgres_server: PrivateServer, database: str, refused: Any) -> None:
    with open_store(postgres_server.dsn(database, user="nobody-here")) as store, quickly(), refused("refused"):
        store.count()


def test_nothing_listens(refused: Any) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with open_store(f"postgresql://me:wr0ng-s3cret@127.0.0.1:{port}/kitt") as store:
        for call in (store.count, store.schema_status, lambda: store.save_result(documents.MINIMAL)):
            with quickly(), refused("nothing listens there", f"127.0.0.1:{port}"):
                call()


def test_no_socket_is_there(refused: Any) -> None:
    with open_store("postgresql://me:wr0ng-s3cret@/kitt?host=/no/such/place") as store:
        for call in (store.count, store.schema_status):
            with quickly(), refused("nothing listens there", "/no/such/place"):
                call()


def test_an_unknown_host(refused: Any) -> None:
    with open_store("postgresql://me:wr0ng-s3cret@no-such-host.invalid/kitt") as store:
        for call in (store.count, store.schema_status):
            with quickly(), refused("no-such-host.invalid", "the host name is unknown"):
                call()


def test_a_server_that_never_answers(refused: Any) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        target = f"postgresql://me:wr0ng-s3cret@127.0.0.1:{silent.getsockname()[1]}/kitt"
        with open_store(target, connect_timeout=2) as store, quickly(), refused("did not answer in time"):
            store.count()


def test_something_that_is_not_a_server(refused: Any) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as odd:

        def greet() -> None:
            with suppress(OSError):  # it is closed when the test ends
                while True:
                    with odd.accept()[0] as connection:
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=greet, daemon=True).start()
        target = f"postgresql://me:wr0ng-s3cret@127.0.0.1:{odd.getsockname()[1]}/kitt"
        with open_store(target, connect_timeout=2) as store, quickly(), refused():
            store.count()


def test_the_second_of_two_hosts_is_taken(
    postgres_server: PrivateServer, database: str, assert_usable: Usable
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    hosts = f"127.0.0.1:{port},127.0.0.1:{postgres_server.port}"
    target = f"postgresql://postgres:{postgres_server.password}@{hosts}/{database}"
    with open_store(target) as store:
        assert postgres_server.password not in store.location
        assert_usable(store)


# Permissions.


def test_a_database_without_tables(postgres_server: PrivateServer, refused: Any, assert_usable: Usable) -> None:
    dsn = postgres_server.create_database("bare")
    with open_store(dsn) as store:
        for call in (store.count, lambda: store.save_result(documents.MINIMAL), lambda: list(store.scan())):
            with refused(kind=SchemaMissingError) as caught:
                call()
            assert "kitt storage init" in str(caught.value.hint)
        store.initialize()
        assert_usable(store)
    postgres_server.drop_database("bare")


def test_a_missing_schema(postgres_server: PrivateServer, database: str, refused: Any) -> None:
    with open_store(postgres_server.dsn(database), schema="Nobody's") as store:
        with refused(kind=SchemaMissingError):
            store.count()
        store.initialize()
        assert store.count() == 0
    assert postgres_server.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'Nobody''s'", database) == [(1,)]


def test_a_role_that_may_only_read(
    postgres_server: PrivateServer, database: str, store: PostgresResultStore, role: str, refused: Any
) -> None:
    run_id = store.save_result(documents.STANDARD)
    postgres_server.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}", database)
    with open_store(postgres_server.dsn(database, user=role, password=PASSWORD)) as reader:
        assert [line.id for line in reader.list_results({"search": "llama"})] == [run_id]
        assert reader.get_document(run_id) == documents.STANDARD
        assert reader.aggregate("engine", ["avg_tps"])
        assert list(reader.verify()) == []
        assert reader.schema_status().state == store.schema_status().state
        for call in (
            lambda: reader.save_result(documents.MINIMAL),
            lambda: reader.save_results([documents.MINIMAL, documents.STANDARD]),
            lambda: reader.delete_result(run_id),
        ):
            with quickly(), refused("does not permit"):
                call()
        assert reader.count() == 1
    postgres_server.execute(f"DROP OWNED BY {role}", database)


def test_a_role_that_may_do_nothing(
    postgres_server: PrivateServer, database: str, role: str, refused: Any
) -> None:
    with open_store(postgres_server.dsn(database, user=role, password=PASSWORD)) as store:
        for call in (store.count, store.initialize, lambda: store.save_result(documents.MINIMAL)):
            with quickly(), refused("does not permit"):
                call()
    postgres_server.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    with open_store(postgres_server.dsn(database, user=role, password=PASSWORD)) as store, refused("permit"):
        store.count()


def test_a_session_that_may_not_write(
    postgres_server: PrivateServer, database: str, store: PostgresResultStore, refused: Any, assert_usable: Usable
) -> None:
    run_id = store.save_result(documents.MINIMAL)
    with open_store(f"{postgres_server.dsn(database)}?options=-cdefault_transaction_read_only%3Don") as reader:
        assert reader.get_document(run_id) == documents.MINIMAL
        for call in (
            lambda: reader.save_result(documents.MINIMAL),
            lambda: reader.save_results([documents.MINIMAL, documents.STANDARD]),
            lambda: reader.delete_result(run_id),
            reader.check_writable,
        ):
            with quickly(), refused("is read-only"):
                call()
        assert reader.count() == 1
    assert_usable(store)


def test_a_column_that_was_renamed_is_named(postgres_server: PrivateServer, database: str, refused: Any) -> None:
    postgres_server.execute("ALTER TABLE runs RENAME COLUMN suite_name TO suite", database)
    with open_store(postgres_server.dsn(database)) as store:
        for call in (store.count, lambda: store.save_result(documents.MINIMAL)):
            with refused("are missing: runs.suite_name", kind=SchemaTooOldError):
                call()


# Waiting.


def test_a_statement_that_takes_too_long(
    postgres_server: PrivateServer, database: str, refused: Any, assert_usable: Usable
) -> None:
    with open_store(postgres_server.dsn(database), statement_timeout=0.3) as store:
        store.count()
        with locked(postgres_server, database):
            for call in (store.count, store.list_results, lambda: store.save_result(documents.MINIMAL)):
                with quickly(), refused("took too long"):
                    call()
        assert store.count() == 0
        assert_usable(store)


def test_more_threads_than_connections(
    postgres_server: PrivateServer, database: str, refused: Any, assert_usable: Usable
) -> None:
    with open_store(postgres_server.dsn(database), pool_size=2, connect_timeout=1) as store:
        store.count()
        saved: list[str] = []
        with locked(postgres_server, database):
            threads = [
                threading.Thread(target=lambda: saved.append(store.save_result(documents.MINIMAL)))
                for _ in range(2)
            ]
            for thread in threads:
                thread.start()
            _wait_for(lambda: _blocked(postgres_server, database) == 2)
            for call in (store.count, lambda: store.save_result(documents.MINIMAL)):
                with quickly(), refused("all connections of this store are in use"):
                    call()
        for thread in threads:
            thread.join()
        assert store.count() == len(set(saved)) == 2
        assert_usable(store)


def test_many_threads_take_turns(postgres_server: PrivateServer, database: str) -> None:
    with open_store(postgres_server.dsn(database), pool_size=2) as store:
        saved: list[str] = []

        def save() -> None:
            saved.extend(store.save_result(documents.MINIMAL) for _ in range(5))

        threads = [threading.Thread(target=save) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(saved)) == store.count() == 60


def test_a_server_without_a_free_connection(
    postgres_server: PrivateServer, database: str, role: str, refused: Any, assert_usable: Usable
) -> None:
    postgres_server.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}", database)
    postgres_server.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}", database)
    postgres_server.execute(f"ALTER ROLE {role} CONNECTION LIMIT 1")
    dsn = postgres_server.dsn(database, user=role, password=PASSWORD)
    with open_store(dsn, connect_timeout=1) as store:
        with psycopg.connect(dsn):
            for call in (store.count, store.schema_status, lambda: store.save_result(documents.MINIMAL)):
                with quickly(), refused("has no free connection"):
                    call()
        assert_usable(store)
    postgres_server.execute(f"DROP OWNED BY {role}", database)


# Failing halfway.


@pytest.mark.parametrize("table", ["runs", "benchmarks", "metrics", "hardware", "run_documents", "run_labels"])
def test_a_save_that_fails_at_any_table_leaves_nothing(
    postgres_server: PrivateServer,
    database: str,
    store: PostgresResultStore,
    refused: Any,
    assert_usable: Usable,
    table: str,
) -> None:
    document = documents.STANDARD.replace(b'"engine"', b'"labels": {"a": "b"}, "engine"', 1)
    postgres_server.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'not %', NEW USING ERRCODE = 'P0001'; END$$",
        database,
    )
    postgres_server.execute(
        f"CREATE TRIGGER no BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()", database
    )
    for number in (1, 3):
        with refused("P0001"):
            store.save_results([document + b" " * i for i in range(number)])
    assert store.count() == 0
    postgres_server.execute(f"DROP TRIGGER no ON {table}", database)
    for name in ("runs", "benchmarks", "metrics", "hardware", "run_documents", "run_labels"):
        assert postgres_server.execute(f"SELECT count(*) FROM {name}", database) == [(0,)]
    assert_usable(store)


@pytest.mark.parametrize("state", ["40001", "40P01"])
@pytest.mark.parametrize("number", [1, 3], ids=["one", "several"])
def test_a_save_that_lost_to_another_writer_is_retried(
    postgres_server: PrivateServer, database: str, store: PostgresResultStore, state: str, number: int
) -> None:
    postgres_server.execute("CREATE SEQUENCE attempts", database)
    postgres_server.execute(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        f" IF nextval('attempts') <= 2 THEN RAISE EXCEPTION 'lost' USING ERRCODE = '{state}'; END IF;"
        " RETURN NEW; END$$",
        database,
    )
    postgres_server.execute(
        "CREATE TRIGGER no BEFORE INSERT ON runs FOR EACH ROW EXECUTE FUNCTION lose()", database
    )
    ids = store.save_results([documents.STANDARD + b" " * i for i in range(number)])
    assert len(set(ids)) == store.count() == number
    assert list(store.verify()) == []


def test_whatever_the_server_is_set_to(postgres_server: PrivateServer, database: str) -> None:
    for setting in (
        "timezone = 'Asia/Kathmandu'",
        "datestyle = 'SQL, DMY'",
        "extra_float_digits = 0",
        "bytea_output = 'escape'",
        "default_transaction_isolation = 'serializable'",
        "standard_conforming_strings = off",
        "client_encoding = 'LATIN1'",
        "search_path = '$user', public",
        "synchronous_commit = off",
    ):
        postgres_server.execute(f"ALTER DATABASE {database} SET {setting}")
    times = ("0001-01-01T00:00:00Z", "2025-02-03T04:05:06.000007", "9999-12-31T23:59:59.999999Z")
    given = [
        documents.as_bytes(
            documents.run(
                model="é🦙\\'", timestamp=t, total_time_seconds=0.1 + 0.2, results=[{"metrics": {"x": 0.1 + 0.2}}]
            )
        )
        for t in times
    ]
    with open_store(postgres_server.dsn(database)) as store, open_store("memory:") as plain:
        for number, document in enumerate(given):
            for one in (store, plain):
                one.save_result(
                    document, run_id=f"r{number}", created_at=datetime(2025, 1, 1 + number, tzinfo=UTC)
                )
        assert list(store.list_results()) == list(plain.list_results())
        assert list(store.scan()) == list(plain.scan())
        everything = ("model", ["x"])
        assert store.aggregate(*everything, statistics=["min", "max", "p50"]) == plain.aggregate(
            *everything, statistics=["min", "max", "p50"]
        )
        assert list(store.verify()) == []


def test_what_is_shown_of_a_store_has_no_password(
    postgres_server: PrivateServer, store: PostgresResultStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    store.count()
    shown = [
        repr(store),
        str(store),
        store.location,
        repr(store.database.engine),
        repr(store.database._server),
        repr(store.__dict__),
    ]
    assert not [text for text in (*shown, caplog.text) if postgres_server.password in text]


def _blocked(server: PrivateServer, database: str) -> int:
    ((number,),) = server.execute(
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock'"
    )
    return int(number)


def _wait_for(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("wanted", "what"),
    [
        (
            "standby",
            "is a primary that may be written to, but target_session_attrs in the DSN asks for another one",
        ),
        (
            "read-only",
            "is a primary that may be written to, but target_session_attrs in the DSN asks for another one",
        ),
    ],
)
def test_a_primary_where_a_standby_was_asked_for(
    postgres_server: PrivateServer, database: str, refused: Any, wanted: str, what: str
) -> None:
    with (
        open_store(f"{postgres_server.dsn(database)}?target_session_attrs={wanted}") as store,
        quickly(),
        refused(what),
    ):
        store.count()


@pytest.mark.parametrize(
    ("setting", "choices"),
    [
        ("sslmode", "disable, allow, prefer, require, verify-ca or verify-full"),
        ("target_session_attrs", "any, read-write"),
        ("channel_binding", "disable, prefer or require"),
        ("connect_timeout", "a whole number of seconds"),
        ("keepalives_idle", "a whole number"),
        ("ssl_min_protocol_version", "one that the documentation of libpq lists"),
    ],
)
def test_a_setting_that_libpq_does_not_know_is_not_a_network_error(setting: str, choices: str) -> None:
    with PostgresResultStore(
        PostgresOptions(f"postgresql://me:{PASSWORD}@localhost:1/x?{setting}=bogus")
    ) as store:
        for call in (store.count, lambda: store.save_result(documents.MINIMAL), store.initialize):
            with quickly(), pytest.raises(ConfigurationError) as caught:
                call()
            assert f"the DSN's {setting} has a value that libpq does not know" in caught.value.message
            assert choices in str(caught.value.hint)
            assert PASSWORD not in str(caught.value)
