"""The options of the engine ``openai``: what is taken, what is refused, and that no secret is repeated."""

from __future__ import annotations

from typing import Any

import pytest

from kitt_core.errors import ConfigurationError
from kitt_core.options import build_options, describe_options
from kitt_engines.openai.failures import Sanitizer, message_in
from kitt_engines.openai.options import OpenAIOptions


def built(**values: Any) -> OpenAIOptions:
    options: OpenAIOptions = build_options(OpenAIOptions, values, "engine openai")
    return options


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("https://gateway.example/openai/v1", "https://gateway.example/openai/v1"),
        ("https://gateway.example/v1beta/openai", "https://gateway.example/v1beta/openai"),
        ("HTTP://[::1]:8000", "http://[::1]:8000/v1"),
    ],
)
def test_a_url_may_be_given_in_several_ways(given: str, expected: str) -> None:
    assert built(base_url=given).base_url == expected


@pytest.mark.parametrize(
    "given",
    [
        "",
        "localhost",
        "localhost:8000",
        "ftp://localhost",
        "http://",
        "http://host:99999",
        "http://host:0",
        "http://[::1",
        "http://ho st",
        "http://host\n",
        "http://me@host",
        "http://me:hunter2@host",
        "http://host?api_key=hunter2",
        "http://host/#hunter",
        "http://host/v1/chat/completions",
        "http://host/v1/models/",
    ],
)
def test_what_is_not_a_servers_url_is_refused_without_its_secrets(given: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        built(base_url=given)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"api": "soap"},
        {"connect_timeout": "0"},
        {"read_timeout": "nan"},
        {"read_timeout": "100000"},
        {"temperature": "-1"},
        {"temperature": "inf"},
        {"extra_body": "{"},
        {"extra_body": "[" * 100_000},
        {"extra_body": "[1]"},
        {"extra_body": '{"stream": false}'},
        {"check_model": "perhaps"},
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(values: dict[str, str]) -> None:
    (name,) = values
    with pytest.raises(ConfigurationError, match=name):
        built(**values)


@pytest.mark.parametrize("key", ["sk-1\n2", "sk-é", "sk-1\x00"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        built(api_key=key)
    assert "sk-" not in str(caught.value)


def test_the_key_is_a_secret_from_the_environment() -> None:
    options = {option.name: option for option in describe_options(OpenAIOptions)}
    assert (options["api_key"].env, options["api_key"].secret) == ("OPENAI_API_KEY", True)
    assert [option.name for option in options.values() if not option.help] == []
    assert built(api_key=" sk-1 \n").api_key == "sk-1"
    with pytest.raises(ConfigurationError, match="api_key of engine openai is empty"):
        built(api_key=" ")
    assert "sk-1" not in repr(built(api_key="sk-1"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error": {"message": "no", "param": "seed"}}', "seed: no"),
        (b'{"error": {"message": "no seed", "param": "seed"}}', "no seed"),
        (b'{"error": "no", "error_type": "x"}', "no"),
        (b'{"object": "error", "message": "no", "code": 400}', "no"),
        (b'{"detail": "no"}', "no"),
        (b'{"detail": [{"loc": ["body", "seed"], "msg": "no"}, {"msg": "never"}]}', "body.seed: no; never"),
        (b'{"other": 1}', '{"other": 1}'),
        (b"plain text", "plain text"),
        (b"", ""),
        (b"[" * 100_000, "[" * 100_000),
        (b"\xff", "\ufffd"),
    ],
)
def test_the_sentence_in_an_error_is_found(body: bytes, expected: str) -> None:
    assert message_in(body) == expected


def test_texts_of_strangers_are_made_presentable() -> None:
    sanitize = Sanitizer('sk-"1"')
    assert sanitize('key sk-"1" or sk-\\"1\\"\nis\x1b[0m wrong') == "key *** or *** is [0m wrong"
    assert len(sanitize("x" * 1000)) == 180
    assert "hunter2" not in sanitize("http://me:hunter2@host/ failed")
    # A key that is cut off is hidden as well.
    assert "sk-" not in sanitize("x" * 170 + 'sk-"1"')
