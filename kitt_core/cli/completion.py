"""``kitt completion``."""

from __future__ import annotations

import click

from kitt_core.cli.render import write_text

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, /, *, shell: str) -> None:
    """Print the completion script for SHELL; it completes commands, options and names.

    \b
    Examples:
      kitt completion bash > ~/.local/share/bash-completion/completions/kitt
      kitt completion zsh > "${fpath[1]}/_kitt"
      kitt completion fish > ~/.config/fish/completions/kitt.fish
    """  # noqa: D301 - \b keeps click from rewrapping the lines
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"this version of click has no completion for {shell}", ctx)
    write_text(found(ctx.find_root().command, {}, "kitt", "_KITT_COMPLETE").source())
