"""The record of a command that a plugin adds to the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import field, frozen

__all__ = ["COMMAND_API_VERSION", "Command"]

COMMAND_API_VERSION: Final = 1
"""The version of this record's contract."""


@frozen
class Command:
    """A command of a plugin.

    Attributes:
        name: What the user types after ``kitt``; equal to the entry point's name.
        load: Returns the `click.Command`; imports no earlier than here.
        summary: One line for listings.
        api_version: The `COMMAND_API_VERSION` that it was written for.
    """

    name: str
    load: Callable[[], Any] = field(repr=False)
    summary: str = ""
    api_version: int = 1
