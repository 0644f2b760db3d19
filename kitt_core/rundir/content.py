"""The content of a run directory's files and the identity that they state: bytes by name, without I/O."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final

from attrs import asdict, frozen

from kitt_core.errors import InvalidDocumentError
from kitt_core.rundir.names import run_path, timestamp_name
from kitt_core.rundir.summary import render_summary
from kitt_core.runs import codec
from kitt_core.runs.ids import check_run_id
from kitt_core.runs.model import CheckedRun
from kitt_core.runs.timestamps import format_utc, parse_timestamp

__all__ = [
    "DOCUMENT",
    "IDENTITY",
    "OUTPUTS",
    "OWN_FILES",
    "Identity",
    "SavedFile",
    "derived_identity",
    "noted_identity",
    "path_digest",
    "path_of",
    "render_files",
    "saved_files",
]

DOCUMENT: Final = "metrics.json"
IDENTITY: Final = "run.json"
OUTPUTS: Final = "outputs"
OWN_FILES: Final = (DOCUMENT, IDENTITY, "summary.md", "hardware.json", "config.json", OUTPUTS)
"""What belongs to the run in its directory; anything else was put there by someone else."""


def path_of(run: CheckedRun) -> PurePosixPath:
    """Return where the run belongs, relative to the tree's root."""
    row = run.rows.run
    return run_path(row.model or "", row.engine or "", row.timestamp or run.created_at, run.id)


def render_files(run: CheckedRun, saved: Iterable[SavedFile] | None = None) -> dict[str, bytes]:
    """Return the files of a run by name: the document as it is, and what is derived from it.

    Args:
        run: The run.
        saved: The files of its ``outputs/``; None where something else proves that they are intact.
    """
    document = codec.parse(run.document)
    identity: dict[str, Any] = {"id": run.id, "created_at": format_utc(run.created_at), "sha256": run.sha256}
    if saved is not None:
        identity[_FILES] = [asdict(file) for file in saved]
    files = {
        DOCUMENT: run.document,
        "summary.md": render_summary(document, run.rows, run.created_at).encode(),
        "config.json": _json(_configuration(document, run)),
        IDENTITY: _json(identity),
    }
    system_info = document.get("system_info")
    if isinstance(system_info, Mapping) and system_info:
        files["hardware.json"] = _json(system_info)
    return files


def _configuration(document: Mapping[str, Any], run: CheckedRun) -> dict[str, Any]:
    facts = {
        "model": document.get("model"),
        "engine": document.get("engine"),
        "suite": document.get("suite_name"),
        "timestamp": timestamp_name(run.rows.run.timestamp or run.created_at),
        "kitt_version": document.get("kitt_version"),
    }
    given = document.get("config")
    return {**(given if isinstance(given, Mapping) else {}), **facts}


def _json(value: Mapping[str, Any]) -> bytes:
    # str, because integers beyond the interpreter's limit are parsed as Decimal, which json can't serialise.
    return (json.dumps(value, indent=2, default=str) + "\n").encode()


@frozen
class SavedFile:
    """A file of ``outputs/`` as it was saved."""

    name: str
    size: int
    sha256: str


def saved_files(identity: bytes) -> dict[str, SavedFile] | None:
    """Return the files that the bytes of ``run.json`` list, by name; None if it lists none, as in older KITTs.

    Raises:
        ValueError: The list can't be used.
    """
    try:
        listed = codec.parse(identity).get(_FILES)
    except InvalidDocumentError:  # reported as such
        return None
    if listed is None:
        return None
    files = {}
    for each in listed if isinstance(listed, list) else [listed]:
        match each:
            case {"name": str(name), "size": int(size), "sha256": str(digest)} if re.fullmatch(
                "[0-9a-f]{64}", digest
            ):
                file = each.get("file")  # in an unpacked archive, where names are safe on every system
                name = PurePosixPath(file).name if isinstance(file, str) else name
                files[name] = SavedFile(name, size, digest)
            case _:
                raise ValueError(f"{IDENTITY} cannot be used: {_FILES} is not a list of names, sizes and digests")
    return files


_FILES: Final = "attachments"
_HALF_ID: Final = 16


@frozen
class Identity:
    """What a run directory says about itself.

    Attributes:
        id: The run's id; derived from path and content if there is no ``run.json``.
        created_at: When it was saved, or else when ``metrics.json`` was last modified.
        sha256: The recorded digest, or else that of the current bytes.
    """

    id: str
    created_at: datetime
    sha256: str


def noted_identity(content: bytes) -> Identity:
    """Return the identity that the bytes of ``run.json`` state.

    Raises:
        ValueError: They can't be used. An identity that is derived instead would not be the run's.
    """
    try:
        return _identity(codec.parse(content))
    except KeyError as error:
        raise ValueError(f"{IDENTITY} cannot be used: {error} is missing") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{IDENTITY} cannot be used: {error}") from error


def derived_identity(path: PurePosixPath, document: bytes, created_at: datetime) -> Identity:
    """Return the identity of a directory without ``run.json``: the same as long as path and document are.

    Args:
        path: The directory, relative to the tree's root.
        document: The bytes of ``metrics.json``.
        created_at: When they were written, as far as known.
    """
    digest = codec.digest(document)
    return Identity(path_digest(path) + digest[:_HALF_ID], created_at, digest)


def path_digest(path: PurePosixPath) -> str:
    """Return the beginning that all ids derived for a directory share."""
    return hashlib.sha256(path.as_posix().encode("utf-8", "surrogatepass")).hexdigest()[:_HALF_ID]


def _identity(noted: dict[str, Any]) -> Identity:
    sha256 = noted["sha256"]
    if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"sha256 is {json.dumps(sha256)[:80]}")
    created_at = noted["created_at"]
    if not isinstance(created_at, str):
        raise TypeError("created_at is not text")
    return Identity(check_run_id(noted["id"]), parse_timestamp(created_at), sha256)
