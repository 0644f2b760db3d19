"""Find the run that the user names by an id (possibly shortened) or a path."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from attrs import field, frozen

from kitt_core.errors import InputNotFoundError, InvalidDocumentError, RunNotFoundError
from kitt_core.plugins.loading import PluginManager
from kitt_core.plugins.records import ImportCandidate
from kitt_core.presentation import parse_stored
from kitt_core.rundir.content import DOCUMENT
from kitt_core.runs import codec
from kitt_core.runs.model import RunRows
from kitt_core.runs.rows import derive_rows
from kitt_core.service.transfer.exporting import select_runs
from kitt_core.service.transfer.importing import STANDARD_INPUT, find_candidates
from kitt_core.storage.contract import ResultStore

__all__ = ["SHORTEST_PART", "Subject", "find_subject", "resolve_run_id"]

SHORTEST_PART: Final = 4
"""The fewest characters that an id may be shortened to."""

_ID_TEXT: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_NAMED: Final = 4


def resolve_run_id(store: ResultStore, text: str) -> str:
    """Return the id of the run that ``text`` names: the whole id, or a prefix or suffix that only its id has.

    Raises:
        RunNotFoundError: No run matches, or several do.
    """
    if not _ID_TEXT.fullmatch(text):
        raise RunNotFoundError(
            f"no run {text!r} in {store.location}: an id is 1 to 128 characters of A-Z a-z 0-9 . _ -"
        )
    # Look for the document: a damaged run is in no listing, but must be found in order to be deleted.
    if store.get_document(text) is not None:
        return text
    if len(text) < SHORTEST_PART:
        raise RunNotFoundError(
            f"no run {text!r} in {store.location}",
            hint=f"give at least {SHORTEST_PART} characters of the id's beginning or end",
        )
    found = store.list_results({"id": [f"{text}*", f"*{text}"]}, order_by="-created_at", limit=_NAMED + 1)
    if not found:
        raise RunNotFoundError(f"no run {text!r} in {store.location}", hint="`kitt storage list` shows the ids")
    if len(found) > 1:
        named = ", ".join(run.id for run in found[:_NAMED])
        more = " and others" if len(found) > _NAMED else ""
        raise RunNotFoundError(
            f"{text!r} is part of the ids of several runs: {named}{more}", hint="give more characters"
        )
    return found[0].id


_DOCUMENT_SUFFIX: Final = ".json"


@frozen
class Subject:
    """A run from a store or from a file.

    Attributes:
        id: Its id; None if the file does not say.
        source: The store's location, or the file.
        document: The parsed document.
        rows: The rows derived from it; fields that do not fit are None.
        file: The file that the document was read from, None for a store or standard input.
    """

    id: str | None
    source: str
    document: Mapping[str, Any] = field(repr=False)
    rows: RunRows = field(repr=False)
    file: Path | None = None


def find_subject(
    text: str,
    open_store: Callable[[], ResultStore],
    plugins: PluginManager,
    *,
    standard_input: BinaryIO | None = None,
) -> Subject:
    """Return the run that ``text`` names: a file or directory if it exists or looks like a path, else an id.

    Args:
        text: An id, possibly shortened; a run directory or a file that an importer reads; ``-``.
        open_store: Returns the store that ids are looked up in; called only for an id.
        plugins: Provides the importers.
        standard_input: What ``-`` reads; by default the process's.

    Raises:
        RunNotFoundError: No run in the store matches the id, or several do.
        InputNotFoundError: The path does not exist, or there is not exactly one run in it.
        InvalidDocumentError: The document can't be read.
        StoreUnavailableError: The store can't be used.
    """
    if text == STANDARD_INPUT or _is_path(text):
        return _from_path(text, plugins, standard_input)
    store = open_store()
    run = next(select_runs(store, [resolve_run_id(store, text)]))
    document, rows = parse_stored(run)
    return Subject(run.id, store.location, document, rows)


def _is_path(text: str) -> bool:
    separators = [os.sep, *filter(None, [os.altsep])]
    if any(s in text for s in separators) or text.lower().endswith(_DOCUMENT_SUFFIX):
        return True
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):  # not a valid file name
        return False


def _from_path(text: str, plugins: PluginManager, standard_input: BinaryIO | None) -> Subject:
    found = list(islice(find_candidates(plugins, [text], standard_input=standard_input), 3))
    if len(found) > 1:
        named = ", ".join(candidate.source for candidate in found[:2])
        raise InputNotFoundError(
            f"{text} contains several runs: {named}{' and others' if len(found) > 2 else ''}",
            hint="name one of them"
            if Path(found[0].source).exists()
            else "import them, and name two by their ids",
        )
    candidate = found[0]
    document = _read(candidate)
    path = Path(text)
    file = None if text == STANDARD_INPUT else path / DOCUMENT if path.is_dir() else path
    return Subject(candidate.run_id, candidate.source, document, derive_rows(document, strict=False), file)


def _read(candidate: ImportCandidate) -> dict[str, Any]:
    try:
        return codec.parse(candidate.read())
    except InputNotFoundError as error:
        raise InputNotFoundError(f"{candidate.source}: {error.message}", hint=error.hint) from error
    except InvalidDocumentError as error:
        raise InvalidDocumentError(f"{candidate.source}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise InvalidDocumentError(f"{candidate.source} cannot be read: {error.strerror or error}") from error
