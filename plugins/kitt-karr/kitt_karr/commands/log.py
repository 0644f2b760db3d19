"""``kitt karr log``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.render import output_options, write_rows
from kitt_core.errors import ConfigurationError
from kitt_karr.commands.choice import open_chosen, repository_option

__all__ = ["log"]

_COLUMNS: Final = ("commit", "time", "author", "message", "added", "removed", "parents")
_TABLE: Final = ("commit", "time", "message", "added", "removed")
_SHOWN_OF_COMMIT: Final = 10
_MOST_DIGITS: Final = 9


def _limit(ctx: click.Context, parameter: click.Parameter, text: str) -> int | None:
    if text == "all":
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS or int(text) == 0:
        raise click.BadParameter(f"{text[:40]!r} is not a number of commits, or the word all", ctx, parameter)
    return int(text)


@click.command()
@repository_option
@click.option(
    "--limit",
    metavar="N|all",
    default="50",
    show_default=True,
    callback=_limit,
    help="How many commits at most.",
)
@output_options
@pass_state
def log(
    state: State, repository: Path | None, limit: int | None, output_format: str | None, output: Path | None
) -> None:
    """List commits, the newest first, with how many runs each added and removed."""
    from attrs import asdict

    from kitt_karr.journal import journal

    with open_chosen(state, repository) as opened:
        to_file = output is not None and str(output) != "-"
        if (
            output is not None
            and to_file
            and output.absolute().resolve().is_relative_to(opened.directory.resolve())
        ):
            raise ConfigurationError(f"{output} is inside the repository", hint="name a file outside of it")
        rows = (asdict(entry) for entry in journal(opened, limit))
        write_rows(
            _COLUMNS,
            rows,
            output_format,
            output,
            table_columns=_TABLE,
            shorten={"commit": lambda value: str(value)[:_SHOWN_OF_COMMIT]},
        )
