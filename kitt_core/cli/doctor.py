"""``kitt doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.messages import completed, say_error
from kitt_core.cli.render import output_options, write_rows

__all__ = ["doctor"]

_COLUMNS: Final = ("check", "state", "finding", "hint")


@click.command()
@output_options
@pass_state
def doctor(state: State, /, *, output_format: str | None, output: Path | None) -> int:
    """Check versions, plugins, settings and the store, for bug reports; shows no secrets.

    It changes nothing, but removes unfinished files that killed processes left here and in KITT_HOME.

    Exits with 0 if `kitt run` and `kitt storage` can work here, with 4 if the store cannot be used, and with 2
    if the configuration or the backend's plugin cannot. A broken plugin that is not needed is only a warning.
    """
    from kitt_core.service.doctor import examine

    state.protect_store(output)
    findings = list(examine(lambda: state.configuration, state.plugins, state.backend, state.options))
    rows = [
        {
            "check": found.check,
            "state": found.state,
            "finding": completed(found.text),
            "hint": found.hint and completed(found.hint),
        }
        for found in findings
    ]
    narrow = None if any(found.hint for found in findings) else _COLUMNS[:-1]
    write_rows(_COLUMNS, rows, output_format, output, table_columns=narrow)
    worst = next((found for found in findings if found.exit_code), None)
    if worst is None:
        return 0
    say_error(f"{worst.check}: {worst.text}", worst.hint)
    return worst.exit_code
