from __future__ import annotations

import pytest

from kitt_core.redaction import without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:pa%40ss@host/db?sslmode=require", "postgresql://me:***@host/db?sslmode=require"),
        ("postgresql://host/db?password=x&user=y", "postgresql://host/db?password=***&user=y"),
        ("host=h password='a b' dbname=d", "host=h password=*** dbname=d"),
        ("https://h/v1?api_key=abc", "https://h/v1?api_key=***"),
        ("sqlite:///runs.db", "sqlite:///runs.db"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("https://h/v1?keyspace=a&author=b#key=c", "https://h/v1?keyspace=a&author=b#key=c"),
        ("monkey=a sslkey=b", "monkey=a sslkey=b"),
    ],
)
def test_only_what_may_be_a_secret_is_hidden(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize("password", ["p/w", "p?w", "p#w", "p@w", "p w", "p:w", "p://w", "/@", "@:@/", "p w@h/ x"])
def test_a_url_hides_all_that_a_password_may_be(password: str) -> None:
    assert without_secrets(f"postgresql://u:{password}@h/db") == "postgresql://u:***@h/db"


def test_another_url_in_the_same_text_stays() -> None:
    text = "cannot copy from postgresql://a:x y@h1/db to postgresql://b:z/@h2/db"
    assert without_secrets(text) == "cannot copy from postgresql://a:***@h1/db to postgresql://b:***@h2/db"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://tok@h/", "https://***@h/"),
        ("https://tok@h:443/v1", "https://***@h:443/v1"),
        ("http://tok@h/a:b@c", "http://***@h/a:b@c"),
        ("postgresql://me@corp:pw@h/db", "postgresql://***@corp:***@h/db"),
    ],
)
def test_a_lone_token_before_the_host_is_hidden(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "name",
    ["key", "token", "api_key", "apikey", "api-key", "password", "access_token", "X-Amz-Signature", "sig", "KEY"],
)
def test_a_query_hides_keys_and_tokens(name: str) -> None:
    assert without_secrets(f"https://h/v1?{name}=a;b#c&x=1") == f"https://h/v1?{name}=***&x=1"
    assert without_secrets(f"https://h/v1?x=1&{name}=a/b?c") == f"https://h/v1?x=1&{name}=***"


@pytest.mark.parametrize(
    "value", [r"a\ b", r"a\\\ b", "'a b'", r"'a\' b'", '"a b"', "a&b", "a;b", "a'b", r"\'a", "***x"]
)
def test_a_connection_string_hides_the_whole_value(value: str) -> None:
    assert without_secrets(f"password = {value} dbname=d") == "password = *** dbname=d"
    assert without_secrets(f"dbname=d db_password={value}") == "dbname=d db_password=***"


def test_a_quote_that_is_never_closed_hides_the_rest() -> None:
    assert without_secrets("password='a b c") == "password=***"


@pytest.mark.parametrize(
    "text", ["u:s3cr3t@h/kitt", "postgresql:/u:s3cr3t@h/kitt", "dsn postgresql:u:s3cr3t@h:5/k"]
)
def test_a_url_that_lost_a_part_hides_who_is_meant(text: str) -> None:
    assert "s3cr3t" not in without_secrets(text)
    assert "@h" in without_secrets(text)


@pytest.mark.parametrize(
    "piece", ["a://", "a:", "://", "a@", ".", "a://a:", "?", "password", "password=", " a://b:", "x"]
)
def test_long_texts_take_no_more_than_their_length(piece: str) -> None:
    # What grows with the square of the length would take minutes here.
    for text in (piece * (400_000 // len(piece)), piece * (400_000 // len(piece)) + "@h c://d"):
        assert len(without_secrets(text)) <= 4 * len(text)
