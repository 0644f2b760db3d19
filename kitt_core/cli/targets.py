"""Names of stores on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitt_core.cli.state import State

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["complete_backend"]


def complete_backend(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the backends whose names begin so; for ``shell_complete``."""
    from click.shell_completion import CompletionItem

    from kitt_core.plugins import STORAGE

    del parameter
    names = ctx.ensure_object(State).plugins.names(STORAGE)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
