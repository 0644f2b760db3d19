"""``kitt fingerprint``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kitt_core.cli.cells import printable
from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.messages import say
from kitt_core.cli.render import output_options, write_object, write_text

if TYPE_CHECKING:
    from kitt_core.fingerprint import SystemInfo

__all__ = ["fingerprint"]


@click.command()
@click.option(
    "--verbose", is_flag=True, help="Show everything that was found, by which source, and what could not be read."
)
@output_options
@pass_state
def fingerprint(state: State, /, *, verbose: bool, output_format: str | None, output: Path | None) -> None:
    """Show the text that identifies this machine, as stored in every run's document.

    With --verbose or --format, show everything that a run's document says about the machine.
    """
    from kitt_core.fingerprint import collect_system_info
    from kitt_core.plugins.loading import FINGERPRINTS
    from kitt_core.presentation import leaves

    info = collect_system_info(state.plugins.all(FINGERPRINTS))
    if verbose:
        for line in _details(info):
            say(line)
    if not info.fingerprint:
        say("warning: nothing was found that identifies this machine")
        say("hint: pip install kitt-hardware")
    if not verbose and output_format is None:
        write_text(f"{printable(info.fingerprint)}\n", output)
    elif output_format in {"json", "jsonl"}:
        write_object(info.sections, output_format, output)
    else:
        write_object(leaves(info.sections), output_format, output)


def _details(info: SystemInfo) -> Iterator[str]:
    for name, found in info.sources.items():
        yield f"source {name}: {', '.join(found) or 'nothing'}"
    for remark in info.remarks:
        yield f"note: {remark}"
    for note in info.notes:
        yield f"warning: {note}"
