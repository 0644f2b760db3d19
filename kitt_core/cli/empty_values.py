"""The rule for values that are empty or white space, mostly because a shell variable is not set: they are refused.

It holds for every option and argument of every command, those of plugins too. The configuration has the same rule
for environment variables and files (`kitt_core.options.not_empty`).
"""

from __future__ import annotations

from collections.abc import Sequence

import click

__all__ = ["refuse_empty_values"]


def refuse_empty_values(command: click.Command, arguments: Sequence[str], obj: object) -> None:
    """Refuse a command line that gives an option or argument an empty value.

    Args:
        command: The program's outermost command.
        arguments: The command line without the program's name.
        obj: What the commands receive.

    Raises:
        ConfigurationError: A value is empty; the message names its option.
        UsageError: The command line can't be parsed.
    """
    # Commands are parsed a second time only if there is reason to: click converts before anyone sees the values.
    if any(not text.strip() or text.endswith("=") for text in arguments):
        _check(command, list(arguments), click.Context(command, info_name="kitt", obj=obj))


def _check(command: click.Command, arguments: list[str], ctx: click.Context) -> None:
    values, rest, _ = command.make_parser(ctx).parse_args(arguments)
    for parameter in command.get_params(ctx):
        given = values.get(parameter.name or "")
        for value in given if isinstance(given, list | tuple) else [given]:
            if isinstance(value, str) and not value.strip():
                from kitt_core.options import not_empty

                not_empty(value, _name(parameter))
    if isinstance(command, click.Group) and rest and rest[0]:
        name, called, arguments = command.resolve_command(ctx, rest)
        if called is not None:
            _check(called, arguments, click.Context(called, info_name=name, parent=ctx))


def _name(parameter: click.Parameter) -> str:
    return max(parameter.opts, key=len) if isinstance(parameter, click.Option) else str(parameter.name).upper()
