"""``kitt karr log``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from kitt_core.cli.filters import run_limit
from kitt_core.cli.render import output_options, write_rows
from kitt_core.cli.state import State, pass_state
from kitt_karr.commands.choice import open_chosen, repository_option

__all__ = ["log"]

_COLUMNS: Final = ("commit", "time", "author", "message", "added", "removed", "parents")
_TABLE: Final = ("commit", "time", "message", "added", "removed")
_SHOWN_OF_COMMIT: Final = 10


@click.command()
@repository_option
@click.option(
    "--limit",
    metavar="N|all",
    default="50",
    show_default=True,
    callback=run_limit,
    help="How many commits at most.",
)
@output_options
@pass_state
def log(
    state: State, repository: Path | None, limit: int | None, output_format: str | None, output: Path | None
) -> None:
    """List commits, the newest first, with how many runs each added and removed."""
    from attrs import asdict

    from kitt_core.service.output import check_output
    from kitt_karr.journal import journal

    with open_chosen(state, repository) as opened:
        if output is not None and str(output) != "-":
            check_output(output, (opened.path,))
        rows = (asdict(entry) for entry in journal(opened, limit))
        write_rows(
            _COLUMNS,
            rows,
            output_format,
            output,
            table_columns=_TABLE,
            shorten={"commit": lambda value: str(value)[:_SHOWN_OF_COMMIT]},
        )
