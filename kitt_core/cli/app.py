"""`main`: global options, errors, exit codes, signals."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click

from kitt_core.cli.empty_values import refuse_empty_values
from kitt_core.cli.filters import as_pairs
from kitt_core.cli.invocation import State, complete_backend
from kitt_core.cli.lazy import HintedUsageError, LazyCommand, LazyGroup
from kitt_core.cli.messages import completing_commands, counted, logging_to_stderr, say_error
from kitt_core.cli.streams import forget, prepare_streams, works
from kitt_core.errors import ConfigurationError, KittError, PluginError, StoreUnavailableError
from kitt_core.redaction import shown_value

__all__ = ["cli", "main"]

_INTERRUPTED: Final = 128 + 2
_TERMINATING: Final = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))]
_INCOMPLETE: Final = 1
_UNREAD_HINT: Final = "`kitt storage verify` names each; once they can be read, repeat the command"
_BROKEN_PIPE: Final = 128 + 13  # what a shell reports for a program that SIGPIPE ended
_LONGEST: Final = 300
_COMPLETE: Final = "_KITT_COMPLETE"
_LEVELS: Final = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}

_COMMANDS: Final = {
    "run": LazyCommand("kitt_core.cli.run:run", "Benchmark an engine and store the result."),
    "storage": LazyCommand("kitt_core.cli.storage:storage", "Inspect stored runs and maintain the store."),
    "compare": LazyCommand("kitt_core.cli.compare:compare", "Compare two runs side by side."),
    "fingerprint": LazyCommand("kitt_core.cli.fingerprint:fingerprint", "Show what identifies this machine."),
    "plugins": LazyCommand("kitt_core.cli.plugins:plugins", "Show the installed plugins and their options."),
    "config": LazyCommand("kitt_core.cli.config:config", "Show settings and where they come from."),
    "doctor": LazyCommand("kitt_core.cli.doctor:doctor", "Check the installation, for bug reports."),
    "completion": LazyCommand("kitt_core.cli.completion:completion", "Print a completion script for a shell."),
}


class _Root(LazyGroup):
    """KITT's own commands, followed by those of plugins."""

    def summaries(self, ctx: click.Context) -> dict[str, str]:
        own, state = super().summaries(ctx), _state(ctx)
        added = state.declared_commands
        if added is None:
            from kitt_core.plugins.loading import COMMANDS

            added = {name: _summary(state, name) for name in state.plugins.names(COMMANDS)}
        return own | {name: summary for name, summary in added.items() if name not in own}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        from kitt_core.plugins.loading import COMMANDS

        plugins = _state(ctx).plugins
        if cmd_name not in plugins.names(COMMANDS):
            return None
        command: click.Command = plugins.find(COMMANDS, cmd_name).load()
        return command


def _summary(state: State, name: str) -> str:
    from kitt_core.plugins.loading import COMMANDS

    try:
        summary = state.plugins.find(COMMANDS, name).summary
        return summary or f"From {state.plugins.owner(COMMANDS, name)}."
    except PluginError as error:
        return f"Not available: {error.message}."


def _state(ctx: click.Context) -> State:
    return ctx.ensure_object(State)


def _version(ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
    from kitt_core import __version__

    if value and not ctx.resilient_parsing:
        click.echo(f"kitt {__version__}")
        ctx.exit()


@click.command(cls=_Root, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--backend",
    metavar="NAME|URI",
    shell_complete=complete_backend,
    help="The store: a backend's name, a URI such as sqlite:///runs.db, or a path.",
)
@click.option(
    "-O", "options", metavar="KEY=VALUE", multiple=True, callback=as_pairs, help="An option of the backend."
)
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Read this file instead of the project's kitt.toml.",
)
@click.option("-v", "--verbose", count=True, help="Print more on stderr; give it twice for even more.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors on stderr.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
)
@click.pass_context
def cli(
    ctx: click.Context,
    /,
    *,
    backend: str | None,
    options: dict[str, str],
    config_file: Path | None,
    verbose: int,
    quiet: bool,
) -> None:
    """Store the results of AI inference benchmarks, every run verbatim and queryable."""
    if quiet and verbose:
        raise HintedUsageError("--quiet and --verbose cannot be combined", "give only one of them", ctx)
    state = _state(ctx)
    state.backend, state.options, state.config_file = backend, options, config_file
    state.verbosity = -1 if quiet else verbose
    ctx.with_resource(logging_to_stderr(_LEVELS.get(state.verbosity, logging.DEBUG)))


def main(argv: Sequence[str] | None = None, *, state: State | None = None) -> int:
    """Run one command and return its exit code; an error is one line on stderr, never a traceback.

    A command's return value, if it is an integer, is the exit code.

    Args:
        argv: The arguments without the program's name; by default the process's.
        state: What the command receives; embedders and tests can pass their own plugin manager in it.
    """
    prepare_streams()
    if argv is None:
        _collect_less_garbage()
    state = state or State()
    with _terminable() as received, completing_commands(state.shown_options):
        code = _guarded(list(sys.argv[1:] if argv is None else argv), state)
        # A store that can't be used at all has been reported, and there is no answer that could lack something.
        if (unread := state.unread) and code != StoreUnavailableError.exit_code:
            places = counted(unread, "place")
            say_error(f"the runs in {places} of the store are missing here: they cannot be read", _UNREAD_HINT)
            code = code or _INCOMPLETE
    if code == _INTERRUPTED and received:
        return 128 + received[0]
    return code


def _guarded(arguments: list[str], state: State) -> int:
    try:
        code = _called(arguments, state)
        sys.stdout.flush()
    except BrokenPipeError:
        forget(sys.stdout)
        return _BROKEN_PIPE
    except (KeyboardInterrupt, click.Abort) as error:
        return _aborted(error)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a user never sees a raw traceback
        if works(sys.stdout):
            return _failed(error, arguments)
        forget(sys.stdout)
        if isinstance(error, OSError):
            error = ConfigurationError(f"standard output cannot be written: {error.strerror or error}")
        return _failed(error, arguments)
    return code


def _called(arguments: list[str], state: State) -> int:
    if instruction := os.environ.get(_COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(cli, {"obj": state}, "kitt", _COMPLETE, instruction)
    try:
        refuse_empty_values(cli, arguments, state)
        with cli.make_context("kitt", arguments, obj=state) as ctx:
            result = cli.invoke(ctx)
    except click.exceptions.Exit as error:
        return error.exit_code
    return result if isinstance(result, int) else 0


def _aborted(error: BaseException) -> int:
    # At a prompt click turns both Ctrl-C and "no" into Abort; only the context tells them apart.
    interrupted = isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)
    say_error("interrupted" if interrupted else "aborted; nothing was changed")
    return _INTERRUPTED if interrupted else 1


def _failed(error: Exception, arguments: list[str]) -> int:
    hide = partial(_without_arguments, arguments)
    if isinstance(error, KittError):
        say_error(error.message, error.hint, hide=hide)
        return error.exit_code
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # a plugin's group, click 8.2
        click.echo(error, err=True)
        return 2
    if isinstance(error, click.ClickException):
        meant = getattr(error, "possibilities", None)  # click would append them to the message
        say_error(_sentence(error.message if meant else error.format_message()), _usage_hint(error), hide=hide)
        return error.exit_code
    if isinstance(error, OSError) and error.strerror:  # not a bug in KITT
        say_error(*_system_error(error), hide=hide)
        return 2
    what = " ".join(f"{type(error).__name__}: {error}".split())
    say_error(f"internal error: {what}", "set KITT_DEBUG=1 to see the traceback, and please report it", hide=hide)
    return 1


def _without_arguments(arguments: list[str], text: str) -> str:
    """Hide the secrets of arguments that a message quotes: in a sentence nobody knows where an argument ends."""
    for argument in sorted(arguments, key=len, reverse=True):
        for value in (argument, argument.partition("=")[2]):
            shown = shown_value(value)
            if shown != value:
                for quoted in (value, repr(value)[1:-1], " ".join(value.split())):
                    text = text.replace(quoted, shown)
    return text


def _system_error(error: OSError) -> tuple[str, str]:
    try:
        Path.cwd()
    except FileNotFoundError:
        return "the current directory no longer exists", "change to another directory"
    return (
        f"{error.filename or 'input or output failed'}: {error.strerror}",
        "KITT_DEBUG=1 shows where it happened",
    )


def _sentence(text: str) -> str:
    line = " ".join(text.split()).rstrip(".")
    line = line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
    return line[:1].lower() + line[1:] if line[1:2].islower() else line


def _usage_hint(error: click.ClickException) -> str | None:
    if isinstance(error, HintedUsageError) and error.hint:
        return error.hint
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is None:
        return None
    if meant := getattr(error, "possibilities", None):
        return f"did you mean {meant[0]}?"
    name = getattr(error, "option_name", None)
    if ctx.parent is not None and any(name in parameter.opts for parameter in cli.params):
        command = ctx.command_path.partition(" ")[2]
        return f"{name} goes before the command: kitt {name} … {command}"
    return f"`{ctx.command_path} --help` shows the usage"


def _collect_less_garbage() -> None:
    # The process is KITT's own. What it imports stays until it ends, and searching that for garbage, once more at
    # exit, takes a sixth of the time of `kitt storage list`.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)


@contextmanager
def _terminable() -> Iterator[list[int]]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does; yields the list of the signals received.

    A SIGHUP that is ignored, as under `nohup`, stays ignored.
    """
    received: list[int] = []

    def terminate(number: int, frame: FrameType | None) -> None:
        received.append(number)
        # The current handler of Ctrl-C (an event loop's, for instance) knows how to stop cleanly.
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            handler(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    before = {}
    try:
        for number in _TERMINATING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, terminate)
    except ValueError:  # not the main thread, which alone may handle signals
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
