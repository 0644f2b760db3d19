"""From the id that a user typed, perhaps shortened, to the run that is meant."""

from __future__ import annotations

import re
from typing import Final

from kitt_core.errors import RunNotFoundError
from kitt_core.storage import ResultStore

__all__ = ["SHORTEST_PART", "resolve_run_id"]

SHORTEST_PART: Final = 4
"""Characters that a shortened id has at least."""

_ID_TEXT: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_NAMED: Final = 4


def resolve_run_id(store: ResultStore, text: str) -> str:
    """Return the id of the run that ``text`` means: its id, else a prefix or suffix of no other run's.

    Raises:
        RunNotFoundError: No run has it, or several have.
    """
    if not _ID_TEXT.fullmatch(text):
        raise RunNotFoundError(
            f"no run {text!r} in {store.location}: an id is 1 to 128 characters of A-Z a-z 0-9 . _ -"
        )
    # By its document: a damaged run stands in no listing, and must be found to be deleted.
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
