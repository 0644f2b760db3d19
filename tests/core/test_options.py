from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

from kitt_core.errors import ConfigurationError
from kitt_core.options import Option, build_options, describe_options, target_option
from kitt_core.redaction import REDACTED


def _positive(instance: object, attribute: Any, value: int) -> None:
    if value < 1:
        raise ValueError(f"{attribute.name} is {value}, expected at least 1")


@attrs.frozen
class Options:
    path: Path = attrs.field(metadata={"help": "Where.", "env": "X_PATH", "target": "path"})
    wait: float = 5.0
    sync: Literal["full", "normal"] = "full"
    size: int = attrs.field(default=3, validator=_positive)
    fast: bool = False
    password: str | None = attrs.field(default=None, metadata={"secret": True})
    tags: list[str] = attrs.field(factory=list)


def build(**values: Any) -> Options:
    made = build_options(Options, {"path": "p", **values}, "backend x")
    assert isinstance(made, Options)
    return made


def test_options_are_described_by_the_class() -> None:
    described = {option.name: option for option in describe_options(Options)}
    assert list(described) == ["path", "wait", "sync", "size", "fast", "password", "tags"]
    assert (described["path"].type, described["path"].help, described["path"].env) == (Path, "Where.", "X_PATH")
    assert (described["wait"].default, described["path"].default, described["tags"].default) == (5.0, None, None)
    assert target_option(Options) == described["path"]


def test_a_class_without_target_has_none() -> None:
    assert target_option(attrs.make_class("Nothing", [])) is None


def test_a_secret_is_never_shown() -> None:
    password = next(option for option in describe_options(Options) if option.name == "password")
    assert password.shown("hunter2") == REDACTED
    assert password.shown(None) == "None"
    with pytest.raises(ConfigurationError) as caught:
        build(password=["hunter2"])
    assert "hunter2" not in str(caught.value)


def test_texts_are_converted(tmp_path: Path) -> None:
    made = build(path=str(tmp_path), wait="2.5", sync="normal", size="7", fast="Yes", password="p")
    assert made == Options(tmp_path, 2.5, "normal", 7, True, "p", [])
    assert build(path="~/runs").path == Path.home() / "runs"


def test_typed_values_are_taken() -> None:
    assert build(wait=2, size=7, fast=True, password=None, tags=["a"]) == Options(
        Path("p"), 2.0, "full", 7, True, None, ["a"]
    )


@pytest.mark.parametrize("text", ["true", "TRUE", "yes", "on", "1"])
def test_words_for_true(text: str) -> None:
    assert build(fast=text).fast is True


@pytest.mark.parametrize("text", ["false", "No", "off", "0"])
def test_words_for_false(text: str) -> None:
    assert build(fast=text).fast is False


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("wait", "soon", "a number"),
        ("wait", True, "a number"),
        ("size", "1.5", "a whole number"),
        ("size", 1.5, "a whole number"),
        ("size", False, "a whole number"),
        ("fast", "maybe", "true or false"),
        ("fast", 1, "true or false"),
        ("sync", "off", "one of full, normal"),
        ("password", 5, "text"),
        ("path", 5, "a path"),
    ],
)
def test_a_wrong_type_names_option_owner_and_what_was_expected(name: str, value: object, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(**{name: value})
    assert caught.value.message.startswith(f"option {name} of backend x is ")
    assert caught.value.message.endswith(f"expected {expected}")


def test_an_empty_value_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="option path of backend x is empty, expected a value"):
        build(path="")


def test_an_unknown_option_has_the_nearest_name() -> None:
    with pytest.raises(ConfigurationError, match="backend x has no option 'wiat'") as caught:
        build(wiat="1")
    assert caught.value.hint == "did you mean wait?"
    with pytest.raises(ConfigurationError) as caught:
        build_options(attrs.make_class("Nothing", []), {"a": 1}, "backend y")
    assert caught.value.hint == "backend y has no options"


def test_a_missing_option_has_its_cure() -> None:
    with pytest.raises(ConfigurationError, match="backend x needs the option path") as caught:
        build_options(Options, {}, "backend x")
    assert caught.value.hint == "give -O path=… or set X_PATH"
    with pytest.raises(ConfigurationError) as caught:
        build_options(Options, {}, "engine x", flag="--engine-option")
    assert caught.value.hint == "give --engine-option path=… or set X_PATH"


def test_the_classes_own_checks_are_configuration_errors() -> None:
    with pytest.raises(ConfigurationError, match="backend x: size is 0, expected at least 1"):
        build(size=0)


@pytest.mark.parametrize(
    ("value", "hidden"),
    [("hunter2", True), ("host=h", False), ("postgresql://h/db", False), ("", False), (" ", False), (None, False)],
)
def test_a_bare_word_for_a_connection_is_not_shown(value: str | None, hidden: bool) -> None:
    option = Option("dsn", str, "", target="uri")
    assert option.hides(value) == hidden
    assert (option.shown(value) == "***") == hidden
    assert not Option("path", str, "", target="path").hides(value)
