"""Exporters: formats that stored runs can be written in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import BinaryIO, Final

from attrs import field, frozen

from kitt_core.runs.model import StoredRun

__all__ = ["EXPORT_API_VERSION", "Exporter"]

EXPORT_API_VERSION: Final = 1
"""The version of this record's contract."""


@frozen
class Exporter:
    """A format.

    Attributes:
        name: What the user types after ``--format``; equal to the entry point's name.
        write: Writes all runs to one binary stream. It is given an iterator and should stream.
        suffix: Of files in this format, such as ``.csv``.
        single: The format holds exactly one run; several go to a directory, a file each.
        summary: One line for listings.
        api_version: The `EXPORT_API_VERSION` that it was written for.
    """

    name: str
    write: Callable[[Iterable[StoredRun], BinaryIO], None] = field(repr=False)
    suffix: str
    single: bool = False
    summary: str = ""
    api_version: int = 1
