"""An empty value, as an unset shell variable leaves it, is refused by name and never becomes another store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kitt_core import open_store
from kitt_core.cli.app import cli, main
from kitt_core.cli.invocation import State
from kitt_core.config import RUN_KEYS
from kitt_core.errors import ConfigurationError
from kitt_core.plugins import PluginManager


def _leaves(
    command: click.Command, ctx: click.Context, *path: str
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            assert found is not None
            yield from _leaves(found, click.Context(found, parent=ctx, info_name=name), *path, name)


def _options() -> list[tuple[str, ...]]:
    """Every option and argument of every installed command that takes a value, as a command line without it."""
    lines: list[tuple[str, ...]] = []
    for path, command in _leaves(cli, click.Context(cli, obj=State())):
        arguments: list[str] = []
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                lines.append((*path, *arguments, "", str(parameter.name).upper()))
                arguments.append("x")
            elif isinstance(parameter, click.Option) and not (parameter.is_flag or parameter.count):
                lines += [(*path, name, "", max(parameter.opts, key=len)) for name in parameter.opts]
    return lines


@pytest.mark.parametrize("line", _options(), ids=lambda line: " ".join(line[:-1]))
def test_every_option_and_argument_is_refused_by_name(
    line: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    *arguments, name = line
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[0]) == ("", f"error: {name} is empty, expected a value")
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize("text", ["--backend=", "--config="])
def test_an_equals_sign_without_a_value_is_the_same(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([text, "storage", "list"]) == 2
    assert capsys.readouterr().err.startswith(
        f"error: {text[:-1]} is empty, expected a value\nhint: give it a value"
    )


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["-O", "path=", "storage", "list"], "path is empty, expected path=VALUE"),
        (["run", "--label", "commit="], "commit is empty, expected commit=VALUE"),
        (["run", "--engine-option", "x="], "x is empty, expected x=VALUE"),
        (["storage", "copy", "--to", "json", "--to-option", "path="], "path is empty, expected path=VALUE"),
    ],
)
def test_so_is_the_value_of_a_pair(arguments: list[str], culprit: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert culprit in capsys.readouterr().err.splitlines()[0]


VARIABLES = {
    "KITT_BACKEND": ["storage", "list"],
    "KITT_DB_DSN": ["storage", "list"],
    "KITT_HOME": ["storage", "list"],
    **{f"KITT_RUN_{key.upper()}": ["run"] for key in RUN_KEYS},
    "OPENAI_API_KEY": ["run", "-e", "openai", "--base-url", "http://127.0.0.1:9"],
}


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_is_refused_by_name(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "")
    assert main(VARIABLES[name]) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[0]) == ("", f"error: {name} is empty, expected a value")
    assert f"unset {name}" in err.splitlines()[1]
    assert not list(Path.cwd().iterdir())


def test_the_doctor_reports_it_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KITT_BACKEND", "")
    assert main(["doctor"]) == 2
    out, err = capsys.readouterr()
    assert "\nrun\tok\t" in out
    assert "error: store: KITT_BACKEND is empty" in err


@pytest.mark.parametrize(
    ("text", "key", "command"),
    [
        ('backend = ""', "backend", ["storage", "list"]),
        ('[run]\nengine = ""', "run.engine", ["run"]),
        ('[run]\nresults_dir = ""', "run.results_dir", ["run"]),
        ('[backends.sqlite]\npath = ""', "backends.sqlite.path", ["storage", "list"]),
    ],
)
def test_so_is_a_key_of_a_file(
    text: str, key: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("kitt.toml").write_text(text)
    assert main(command) == 2
    assert f"kitt.toml: {key} is empty, expected a value" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sqlite", "json", "postgres", "memory"])
def test_open_store_refuses_it_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"^the name of the store is empty"):
        open_store("")
    if name != "memory":
        option = "dsn" if name == "postgres" else "path"
        with pytest.raises(ConfigurationError, match=f"^option {option} of backend {name} is empty"):
            open_store(name, plugins=PluginManager(), **{option: ""})
    monkeypatch.setenv("KITT_BACKEND", "")
    with pytest.raises(ConfigurationError, match=r"^KITT_BACKEND is empty"):
        open_store()
