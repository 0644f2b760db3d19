"""Command groups that import a command only when it is called.

``kitt --help`` needs only names and summaries; the module of a command, with all that it imports, is loaded when
the command is called.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["HintedUsageError", "LazyCommand", "LazyGroup"]


@frozen
class LazyCommand:
    """Where a command is, and its summary for listings.

    Attributes:
        target: ``module:attribute`` of the `click.Command`.
        summary: One line for ``--help`` and completion.
    """

    target: str
    summary: str

    def load(self) -> click.Command:
        """Import the module and return the command."""
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


class HintedUsageError(click.UsageError):
    """A usage error with a hint.

    Args:
        message: What is wrong.
        hint: How to fix it; shown after ``hint:``.
        ctx: The context of the command that was called.
    """

    def __init__(self, message: str, hint: str | None = None, ctx: click.Context | None = None) -> None:
        super().__init__(message, ctx)
        self.hint = hint


class LazyGroup(click.Group):
    """A group that imports a command when it is called, not before.

    Args:
        lazy: The commands by name, in the order of the help page.
        attributes: What `click.Group` takes.
    """

    def __init__(self, *, lazy: Mapping[str, LazyCommand], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._lazy = dict(lazy)

    def summaries(self, ctx: click.Context) -> dict[str, str]:
        """Return every command's summary by name, without importing any."""
        return {name: command.summary for name, command in self._lazy.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(self.summaries(ctx))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command; None if there is none with that name."""
        found = self._lazy.get(cmd_name)
        return None if found is None else found.load()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name.

        Raises:
            HintedUsageError: There is none with that name; the hint suggests a similar one.
        """
        name = args[0]
        command = self.get_command(ctx, name)
        if command is not None:
            return name, command, args[1:]
        if ctx.resilient_parsing or name.startswith("-"):
            return super().resolve_command(ctx, args)
        raise HintedUsageError(f"no such command: {name!r}", self._hint(name, self.list_commands(ctx), ctx), ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; without any, show the help page and exit with 2."""
        if not args and not ctx.resilient_parsing and not self.invoke_without_command:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from their summaries."""
        rows = list(self.summaries(ctx).items())
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin with ``incomplete``, without importing a command."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=summary)
            for name, summary in self.summaries(ctx).items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    @staticmethod
    def _hint(name: str, known: Iterable[str], ctx: click.Context) -> str:
        close = difflib.get_close_matches(name, list(known), n=1)
        return f"did you mean {close[0]}?" if close else f"`{ctx.command_path} --help` lists the commands"
