"""The format ``html``: a table with a row per run, written as the runs come."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import BinaryIO

from kitt_core.errors import InvalidDocumentError
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import Exporter, Registry
from kitt_core.runs import StoredRun
from kitt_core.storage.fallbacks import facts_of

__all__ = ["kitt_register_exporter", "write"]

_COLUMNS = ("model", "engine", "suite_name", "timestamp", "passed")


def write(runs: Iterable[StoredRun], stream: BinaryIO) -> None:
    """Write a table.

    Raises:
        InvalidDocumentError: A stored document can't be read; the message names the run.
    """
    stream.write(b"<!DOCTYPE html>\n<title>Runs</title>\n<table>\n" + _row("th", "id", *_COLUMNS))
    for run in runs:
        try:
            row = facts_of(run).rows.run
        except InvalidDocumentError as error:
            raise InvalidDocumentError(f"run {run.id} cannot be read: {error.message}", hint=error.hint) from error
        stream.write(_row("td", run.id, *(getattr(row, column) for column in _COLUMNS)))
    stream.write(b"</table>\n")


def _row(tag: str, *values: object) -> bytes:
    cells = (f"<{tag}>{'' if value is None else escape(str(value))}</{tag}>" for value in values)
    # Text from a document may be anything, half of a character pair too: as a number it can always be written.
    return f"<tr>{''.join(cells)}</tr>\n".encode("ascii", "xmlcharrefreplace")


@hookimpl
def kitt_register_exporter(registry: Registry[Exporter]) -> None:
    """Add the format."""
    registry.add(Exporter(name="html", write=write, suffix=".html", summary="A table of runs.", api_version=1))
