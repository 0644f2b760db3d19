"""``kitt plugins``: the installed plugins and their options."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from attrs import asdict

from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.lazy import HintedUsageError, LazyCommand, LazyGroup
from kitt_core.cli.render import output_options, write_object, write_rows, write_text
from kitt_core.errors import PluginError
from kitt_core.options import Option, describe_options
from kitt_core.plugins.loading import KINDS, Kind, PluginManager
from kitt_core.plugins.records import Record
from kitt_core.runs.query import nearest

__all__ = ["plugins"]

_LIST_COLUMNS: Final = ("kind", "name", "distribution", "version", "state", "summary", "reason")
_LIST_TABLE: Final = ("kind", "name", "distribution", "version", "state", "about")
_OPTION_COLUMNS: Final = ("option", "type", "default", "environment", "secret", "help")


_COMMANDS: Final = {
    "list": LazyCommand(f"{__name__}:list_plugins", "List every plugin: what it provides, whether it loads."),
    "show": LazyCommand(f"{__name__}:show", "Show one plugin: what it can do, its options."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def plugins() -> None:
    """Show the installed plugins, where they come from, and their options."""


@click.command("list")
@output_options
@pass_state
def list_plugins(state: State, /, *, output_format: str | None, output: Path | None) -> None:
    """List every plugin: what it provides, whether it loads, and if not, why."""
    rows = [{**asdict(status), "about": status.reason or status.summary} for status in state.plugins.statuses()]
    write_rows(_LIST_COLUMNS, rows, output_format, output, table_columns=_LIST_TABLE)


@click.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice([kind.name for kind in KINDS]),
    help="Which kind, if several plugins share the name.",
)
@output_options
@pass_state
def show(state: State, /, *, name: str, kind: str | None, output_format: str | None, output: Path | None) -> None:
    """Show one plugin: what it can do and the options that it takes.

    \b
    Examples:
      kitt plugins show sqlite
      kitt plugins show json --kind exporter
    """  # noqa: D301 - \b keeps click from rewrapping the lines
    found = list(_described(state.plugins, name, kind))
    if output_format == "csv":
        rows = ({"plugin": thing["kind"], **option} for thing in found for option in thing["options"])
        write_rows(("plugin", *_OPTION_COLUMNS), rows, output_format, output)
    elif output_format in {"json", "jsonl"}:
        write_rows(list(found[0]), found, output_format, output)
    elif output is not None and str(output) != "-":
        raise HintedUsageError("a table of several parts cannot go to a file", "add --format json or csv")
    else:
        for thing in found:
            _show_one(thing, output_format)


def _show_one(thing: dict[str, Any], output_format: str | None) -> None:
    facts = {key: value for key, value in thing.items() if key != "options" and value not in ("", [])}
    shown = {key: ", ".join(value) if isinstance(value, list) else value for key, value in facts.items()}
    write_object(shown, output_format)
    if thing["options"]:
        write_text("\n")
        write_rows(_OPTION_COLUMNS, thing["options"], output_format)


def _described(manager: PluginManager, name: str, wanted: str | None) -> Iterator[dict[str, Any]]:
    kinds: list[Kind[Any]] = [kind for kind in KINDS if wanted in {None, kind.name}]
    declared = [kind for kind in kinds if name in manager.names(kind)]
    if not declared:
        known = sorted({known for kind in kinds for known in manager.names(kind)})
        raise PluginError(f"no plugin {name!r} is installed", hint=nearest(name, known))
    for kind in declared:
        record = manager.find(kind, name)
        yield _facts(manager, kind, record)


def _facts(manager: PluginManager, kind: Kind[Any], record: Record) -> dict[str, Any]:
    options = getattr(record, "options", None)
    return {
        "kind": kind.name,
        "name": record.name,
        "distribution": manager.owner(kind, record.name),
        "summary": getattr(record, "summary", ""),
        "api_version": record.api_version,
        "schemes": list(getattr(record, "schemes", ())),
        "capabilities": sorted(getattr(record, "capabilities", ())),
        "options": [] if options is None else [_option(option) for option in describe_options(options)],
    }


def _option(option: Option) -> dict[str, Any]:
    return {
        "option": option.name,
        "type": option.type_name,
        "default": None if option.default is None else option.shown(option.default),
        "environment": option.env,
        "secret": option.secret,
        "help": option.help,
    }
