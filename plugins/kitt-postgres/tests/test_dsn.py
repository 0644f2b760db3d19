"""What a DSN can have wrong is named before anything connects, without the password that may be in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kitt_core import open_store
from kitt_core.errors import ConfigurationError

if TYPE_CHECKING:
    from kitt_postgres.testing import PrivateServer


@pytest.mark.parametrize(
    "target",
    [
        "postgresql://me:wr0ng/s3cret@h/kitt",
        "postgresql://me:12/s3cret@x@h/kitt",
        "postgresql://me:s3cret\udcff@h/kitt",
    ],
)
def test_a_dsn_that_libpq_would_misread_is_refused_without_its_password(target: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        open_store(target)
    assert "cannot be read" in str(error.value)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("port", ["99999", "0", "65536", "s3cret", "1" * 5000])
def test_a_port_that_is_none_is_named_without_its_value(port: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        open_store(f"postgresql://me:s3cret@h:{port}/kitt")
    assert error.value.message == "the port of the PostgreSQL DSN is not a number from 1 to 65535"
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "cure"),
    [
        ("pgbouncer", "-O prepare=false"),
        ("schema", "-O schema=…"),
        ("currentSchema", "-O schema=…"),
        ("connection_limit", "-O pool_size=…"),
        ("ssl", "sslmode=require"),
    ],
)
@pytest.mark.parametrize(
    "dsn", ["postgresql://me:s3cret@h/kitt?{}", "postgresql:///kitt?sslmode=disable&{}", "host=h dbname=kitt {}"]
)
def test_a_key_of_other_clients_is_named_with_what_to_write_instead(dsn: str, key: str, cure: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        open_store("postgres", dsn=dsn.format(f"{key}=v4lue"))
    assert error.value.message == f"the PostgreSQL DSN has the parameter {key}, which libpq does not know"
    assert cure in str(error.value.hint)
    assert not {"s3cret", "v4lue"} & set(str(error.value).replace("=", " ").split())


@pytest.mark.parametrize(
    ("dsn", "message", "hint"),
    [
        ("postgresql://me:s3cret@h/kitt?foo=bar", "has the parameter foo, which libpq does", "remove foo from"),
        ("postgresql:///kitt?sslmode=disable&foo=s3cret", "has the parameter foo, which libpq does", "remove foo"),
        ("postgresql://me:s3cret@h/kitt?options=-csearch_path=s3cret", "parameter options has a second =", "%3D"),
        ("postgresql:/me:s3cret@h/kitt", "has too few slashes", "two slashes"),
        ("postgres:/me:s3cret@h/kitt", "has too few slashes", "two slashes"),
        ("postgresql:me:s3cret@h/kitt", "has too few slashes", "two slashes"),
    ],
)
def test_what_libpq_cannot_read_is_named(dsn: str, message: str, hint: str) -> None:
    given: tuple[tuple[str, dict[str, Any]], ...] = (("postgres", {"dsn": dsn}), (dsn, {}))
    for target, options in given:
        with pytest.raises(ConfigurationError) as error:
            open_store(target, **options)
        assert message in error.value.message
        assert hint in str(error.value.hint)
        assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:a?schema=s3cret@h:x/kitt",
        "postgresql://me:a?s3cret=b@h/k?s3cret=1",
        "postgresql://h/k?password=a&s3cret=b",
    ],
)
def test_a_key_that_may_be_part_of_the_password_is_not_named(dsn: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        open_store(dsn)
    assert "s3cret" not in str(error.value)
    assert "schema" not in str(error.value)


@pytest.mark.parametrize(
    ("dsn", "location"),
    [
        ("postgresql:///kitt?host=/var/run/postgresql", "postgresql:///kitt?host=/var/run/postgresql"),
        ("host=/run/pg port=5433 dbname=kitt", "postgresql:///kitt?host=/run/pg&port=5433"),
        ("postgresql://me:s3cret@%2Frun%2Fa%20b/kitt", "postgresql:///kitt?host=/run/a%20b"),
        ("host=h port=5433 dbname=kitt password=s3cret", "postgresql://h:5433/kitt"),
    ],
)
def test_the_location_is_a_uri_that_can_be_used(dsn: str, location: str) -> None:
    with open_store("postgres", dsn=dsn) as store, open_store(location) as again:
        assert store.location == again.location == location


@pytest.mark.parametrize("schema", ["pg_catalog", "pg_x", "information_schema"])
def test_a_schema_of_postgresqls_own(schema: str) -> None:
    with pytest.raises(ConfigurationError, match="PostgreSQL's own"):
        open_store("postgresql://h/kitt", schema=schema)


def test_a_blank_dsn_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="option dsn of backend postgres is empty, expected a value"):
        open_store("postgres", dsn=" \t")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "bogus"])
def test_every_character_is_stored_whatever_encoding_the_dsn_asks_for(
    postgres_server: PrivateServer, encoding: str
) -> None:
    name = f"encoded_as_{encoding.lower()}"
    postgres_server.create_database(name)
    dsn = postgres_server.dsn(name)
    with open_store(f"{dsn}{'&' if '?' in dsn else '?'}client_encoding={encoding}") as store:
        store.initialize()
        run_id = store.save_result({"model": "日本 é", "engine": "e"})
        assert [run.id for run in store.list_results({"model": "日*"})] == [run_id]
    postgres_server.drop_database(name)
