"""Everything that goes to stderr: errors, hints, notes and log messages."""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from kitt_core.cli.streams import forget
from kitt_core.redaction import without_secrets

__all__ = ["completed", "completing_commands", "counted", "debugging", "logging_to_stderr", "say", "say_error"]

_OURS: Final = ("kitt_", "kitt.")


def debugging() -> bool:
    """Return whether ``KITT_DEBUG`` asks for tracebacks."""
    return os.environ.get("KITT_DEBUG", "") not in {"", "0"}


def counted(number: int, what: str) -> str:
    """Return the number with its noun: ``1 run``, ``2 runs``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


_STORE_COMMAND: Final = re.compile(r"`kitt (?=(?:storage|run|compare|doctor|config|karr)\b)(?![^`]*--help`)")
_global_options: Callable[[], str] = str


@contextmanager
def completing_commands(options: Callable[[], str]) -> Iterator[None]:
    """Insert the global options of this invocation into the commands that messages name, inside the block.

    Without them a command would work on another store: the default one. Whoever words a hint, deep in a store,
    does not know how the user named it.
    """
    global _global_options  # noqa: PLW0603 - log messages come from any thread, so it can't be a context variable
    before, _global_options = _global_options, options
    try:
        yield
    finally:
        _global_options = before


def completed(text: str, options: Callable[[], str] | None = None) -> str:
    """Return ``text`` with global options in each command that uses the store and has none yet.

    Args:
        text: A message.
        options: Returns them; by default those that were given to this invocation.
    """
    if _STORE_COMMAND.search(text) is None:
        return text
    inserted = (options or _global_options)()
    return _STORE_COMMAND.sub(lambda _: f"`kitt {inserted}", text)


def say(text: str) -> None:
    """Write one line to stderr; secrets in it are hidden, control characters are escaped.

    If stderr can't be written to, the line is dropped.
    """
    line = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii")
        for c in completed(without_secrets(text))
    )
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        forget(sys.stderr)


def say_error(message: str, hint: str | None = None, *, hide: Callable[[str], str] = str) -> None:
    """Write ``error: …`` and, if there is a hint, ``hint: …``; with ``KITT_DEBUG``, the traceback before them.

    Args:
        message: What is wrong.
        hint: How to fix it.
        hide: Hides further secrets in message and traceback.
    """
    if debugging() and sys.exc_info()[0] is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(without_secrets(hide(traceback.format_exc())))
    say(f"error: {hide(message)}")
    if hint:
        say(f"hint: {hint}")


class _StderrHandler(logging.Handler):
    """Shows the log messages of KITT and its plugins, but not those of other libraries."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name.startswith(_OURS) and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            error = record.exc_info[1] if record.exc_info else None
            if error is not None:
                text = f"{text}: {type(error).__name__}: {' '.join(str(error).split())}"
            # The command goes on, so even a logged error is only a warning to its user.
            say(f"{'warning' if record.levelno >= logging.WARNING else record.levelname.lower()}: {text}")
            if error is not None and debugging():
                sys.stderr.write(without_secrets("".join(traceback.format_exception(error))))
        except Exception:  # noqa: BLE001 - logging must not end the command
            self.handleError(record)


@contextmanager
def logging_to_stderr(handler_level: int) -> Iterator[None]:
    """Show logs of ``handler_level`` and above inside the block."""
    root = logging.getLogger()
    handler = _StderrHandler(handler_level)
    before = root.level
    root.addHandler(handler)
    root.setLevel(min(before, handler_level))
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
