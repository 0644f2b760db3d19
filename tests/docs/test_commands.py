"""docs/cli.md, and every call of `kitt` in the texts."""

from __future__ import annotations

import io
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kitt_core import open_store
from kitt_core.cli.app import cli, main
from kitt_core.cli.render import FORMATS
from kitt_core.plugins import COMMANDS as PLUGIN_COMMANDS
from kitt_core.plugins import EXPORTERS, PluginManager
from kitt_core.runs import GROUP_FIELDS, ORDER_FIELDS, STATISTICS
from kitt_core.testing import documents

from .pages import (
    PAGES,
    TEXTS,
    blocks,
    error_classes,
    first_names,
    is_ours,
    name_of,
    rows,
    sections,
    spans,
    without_fences,
)


def walk(command: click.Command, path: str = "kitt") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command, obj=None)
        for name in command.list_commands(ctx) if path != "kitt" else list(own_commands()):
            found = command.get_command(ctx, name)
            assert found is not None
            yield from walk(found, f"{path} {name}")


def own_commands() -> list[str]:
    from kitt_core.cli.app import _COMMANDS

    return [
        *_COMMANDS,
        *(name for name in PluginManager().names(PLUGIN_COMMANDS) if is_ours(PLUGIN_COMMANDS, name)),
    ]


COMMANDS = dict(walk(cli))


def options_of(command: click.Command) -> list[click.Option]:
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


def names_of(command: click.Command) -> set[str]:
    return {name for option in options_of(command) for name in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_is_documented_with_exactly_its_options(path: str) -> None:
    body = sections("cli.md")[path]
    shared = [title for title in ("Filters", "Output") if f"(#{title.lower()})" in body]
    documented = {
        span.split()[0]
        for text in (body, *(sections("cli.md")[title] for title in shared))
        for span in first_names(text)
        if re.match(r"--?\w", span)
    }
    assert documented - {"-h", "--help"} == names_of(COMMANDS[path])


def test_what_is_documented_as_a_command_is_one() -> None:
    assert {title for title in sections("cli.md") if title.split()[0] == "kitt"} == set(COMMANDS)


def test_the_page_lists_formats_fields_orders_and_statistics() -> None:
    page = sections("cli.md")
    assert set(FORMATS) <= set(first_names(page["Output"]))
    assert set(GROUP_FIELDS) <= set(spans(page["kitt storage stats"]))
    assert set(ORDER_FIELDS) <= set(spans(page["kitt storage list"]))
    assert set(STATISTICS) <= set(spans(page["kitt storage aggregate"]))
    exporters = [name for name in PluginManager().names(EXPORTERS) if is_ours(EXPORTERS, name)]
    assert set(exporters) <= set(first_names(page["kitt storage export"]))


def test_every_exit_code_of_an_error_is_explained() -> None:
    explained = {int(code) for row in rows(sections("cli.md")["Exit codes"]) for code in row[0].split(", ")}
    assert {error.exit_code for error in error_classes()} <= explained
    assert {0, 1, 129, 130, 141, 143} <= explained


def calls(text: str) -> Iterator[str]:
    """Yield what stands in code as a call of ``kitt``."""
    fenced = re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    rest = without_fences(text)
    lines = [line for block in fenced for line in block.splitlines()]
    lines += [line for line in rest.splitlines() if line.startswith("    ")]
    lines += spans(rest.replace("\n", " "))
    for line in lines:
        for part in re.split(r"\s(?:\||&&|>|;)\s", line):
            call = re.sub(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*", "", part.strip())
            if re.match(r"kitt\s", call):
                yield call


def unknown_part(call: str) -> str | None:
    """Return what a call names that does not exist; what stands for something else is passed over."""
    try:
        tokens = shlex.split(call, comments=True)[1:]
    except ValueError:  # prose in a code span
        tokens = call.split()[1:]
    path = "kitt"
    pending = iter(tokens)
    for token in pending:
        if re.search(r"[…\[\]<>·]|\.\.\.", token):
            return None
        if token.startswith("-") and token != "-":
            option = _option(path, token)
            if option is None:
                return token
            if not option.is_flag and not option.count and "=" not in token and not _has_value(option, token):
                next(pending, None)
        elif isinstance(COMMANDS[path], click.Group):
            path = f"{path} {token}"
            if token.isupper():
                return None
            if path not in COMMANDS:
                return path
    return None


def _option(path: str, token: str) -> click.Option | None:
    name = token.partition("=")[0]
    if name in {"-h", "--help"}:
        return click.Option(["--help"], is_flag=True)
    return next(
        (option for option in options_of(COMMANDS[path]) if name in (*option.opts, *option.secondary_opts)), None
    )


def _has_value(option: click.Option, token: str) -> bool:
    return not token.startswith("--") and token not in option.opts


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_call_in_the_texts_exists(path: Path) -> None:
    found = [(call, unknown_part(call)) for call in calls(path.read_text(encoding="utf-8"))]
    assert [(call, unknown) for call, unknown in found if unknown is not None] == []


def test_the_check_of_calls_finds_what_does_not_exist() -> None:
    text = "`kitt storage lst`, `kitt run --fast`\n\n    $ kitt storage list --backend x | kitt nope\n"
    assert [unknown_part(call) for call in calls(text)] == ["--backend", "kitt nope", "kitt storage lst", "--fast"]


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_examples_of_commands_succeed(path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [
        line for block in blocks(path.read_text(encoding="utf-8"), "console") for line in block.splitlines()
    ]
    with open_store() as store, open_store("json:///.") as tree:
        store.save_result(documents.STANDARD, run_id="0197c2f0-5b7e-7c93-a401-2f6ab8d1c55e")
        for i in range(4):
            store.save_result(documents.small(i) | {"labels": {"commit": "abc1234"}})
        tree.save_result(documents.small(5))
    (fresh / "metrics.json").write_bytes(documents.as_bytes(documents.small(6)))
    for example in examples:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
        assert (example, main(shlex.split(example.removeprefix("$ kitt ")))) == (example, 0)
