"""``kitt config``: each setting, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.lazy import LazyCommand, LazyGroup
from kitt_core.cli.render import output_options, write_rows

__all__ = ["config"]

_COLUMNS: Final = ("key", "value", "origin")


_COMMANDS: Final = {"show": LazyCommand(f"{__name__}:show", "Show every setting in effect, with its origin.")}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def config() -> None:
    """Show settings and where they come from."""


@click.command()
@output_options
@pass_state
def show(state: State, /, *, output_format: str | None, output: Path | None) -> None:
    """Show every setting in effect, with its value and its origin; secrets are hidden.

    The origin is "flag", the name of an environment variable, the path of a file, or "default".
    """
    from kitt_core.service.effective_config import settings_in_effect

    rows: Iterator[dict[str, Any]] = (
        {"key": key, "value": setting.value, "origin": setting.origin}
        for key, setting in settings_in_effect(state.configuration, state.plugins, state.backend, state.options)
    )
    write_rows(_COLUMNS, rows, output_format, output)
