"""A stored run, parsed; what can't be parsed is named by its id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kitt_core import codec
from kitt_core.errors import InvalidDocumentError
from kitt_core.model import RunRows, StoredRun
from kitt_core.rows import derive_rows

__all__ = ["parse_stored"]


def parse_stored(run: StoredRun) -> tuple[Mapping[str, Any], RunRows]:
    """Return the document of a stored run and its rows.

    Raises:
        InvalidDocumentError: The document is damaged.
    """
    try:
        document = codec.parse(run.document)
    except InvalidDocumentError as error:
        raise InvalidDocumentError(
            f"run {run.id} cannot be read: {error.message}", hint="`kitt storage verify` looks for damage"
        ) from error
    return document, derive_rows(document, strict=False)
