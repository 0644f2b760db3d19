"""Who a run directory says it is: from the bytes of ``run.json``, else from its path and document."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final

from attrs import frozen

from kitt_core import codec
from kitt_core.identity import check_run_id
from kitt_core.rundir.content import IDENTITY
from kitt_core.timestamps import parse_timestamp

__all__ = ["Identity", "derived_identity", "noted_identity", "path_digest"]

_HALF_ID: Final = 16


@frozen
class Identity:
    """What a run directory says of itself.

    Attributes:
        id: The run's id; one derived from path and content where ``run.json`` is missing or unreadable.
        created_at: When it was saved, else when ``metrics.json`` was last changed.
        sha256: The digest that was noted, else that of the bytes that are there now.
        problem: Why ``run.json`` cannot be used, None if it can or is not there.
    """

    id: str
    created_at: datetime
    sha256: str
    problem: str | None = None


def noted_identity(content: bytes) -> Identity | str:
    """Return what the bytes of ``run.json`` say, or why they can't be used."""
    try:
        return _identity(codec.parse(content))
    except KeyError as error:
        return f"{IDENTITY} cannot be used: {error} is missing"
    except (ValueError, TypeError) as error:
        return f"{IDENTITY} cannot be used: {error}"


def derived_identity(
    path: PurePosixPath, document: bytes, created_at: datetime, problem: str | None = None
) -> Identity:
    """Return the identity of a directory without ``run.json``: it stays while path and document do.

    Args:
        path: The directory, relative to the tree's root.
        document: The bytes of ``metrics.json``.
        created_at: When they came there, as far as that is known.
        problem: Why ``run.json`` cannot be used, if there is one.
    """
    digest = codec.digest(document)
    return Identity(path_digest(path) + digest[:_HALF_ID], created_at, digest, problem)


def path_digest(path: PurePosixPath) -> str:
    """Return how every derived id of a directory begins."""
    return hashlib.sha256(path.as_posix().encode("utf-8", "surrogatepass")).hexdigest()[:_HALF_ID]


def _identity(noted: dict[str, Any]) -> Identity:
    sha256 = noted["sha256"]
    if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"sha256 is {json.dumps(sha256)[:80]}")
    created_at = noted["created_at"]
    if not isinstance(created_at, str):
        raise TypeError("created_at is no text")
    return Identity(check_run_id(noted["id"]), parse_timestamp(created_at), sha256)
