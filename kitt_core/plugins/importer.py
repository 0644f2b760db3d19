"""Importers: readers of result files, ours and other tools'."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from attrs import field, frozen

from kitt_core.runs.model import Attachment

__all__ = ["IMPORT_API_VERSION", "ImportCandidate", "Importer"]

IMPORT_API_VERSION: Final = 1
"""The version of this record's contract."""


@frozen
class ImportCandidate:
    """A document that an importer found.

    Attributes:
        source: Where it was found, for messages.
        read: Returns the document's bytes. Raises `KittError` or `OSError` if it can't be read; only this
            candidate is refused then.
        run_id: Its id, if the source knows one.
        created_at: When it was first saved, if the source knows.
        attachments: Files that belong to it.
    """

    source: str
    read: Callable[[], bytes] = field(repr=False)
    run_id: str | None = None
    created_at: datetime | None = None
    attachments: tuple[Attachment, ...] = ()


def _reads_nothing(_stream: BinaryIO, _source: str) -> Iterator[ImportCandidate]:
    return iter(())


@frozen
class Importer:
    """A reader of one family of files.

    Attributes:
        name: Its name; equal to the entry point's.
        recognises: Whether a file or directory is of this family; looks, but parses nothing.
        find: Yields the documents of a path that was recognised, in a stable order.
        read_stream: Yields the documents of standard input.
        summary: One line for listings.
        api_version: The `IMPORT_API_VERSION` that it was written for.
    """

    name: str
    recognises: Callable[[Path], bool] = field(repr=False)
    find: Callable[[Path], Iterator[ImportCandidate]] = field(repr=False)
    read_stream: Callable[[BinaryIO, str], Iterator[ImportCandidate]] = field(default=_reads_nothing, repr=False)
    summary: str = ""
    api_version: int = 1
