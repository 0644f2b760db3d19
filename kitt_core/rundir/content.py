"""What is in the files of a run directory, except attachments: bytes by name, without input or output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from kitt_core import codec
from kitt_core.model import CheckedRun
from kitt_core.rundir.names import run_path, timestamp_name
from kitt_core.rundir.summary import render_summary
from kitt_core.timestamps import format_utc

__all__ = ["DOCUMENT", "IDENTITY", "OUTPUTS", "OWN_FILES", "path_of", "render_files"]

DOCUMENT: Final = "metrics.json"
IDENTITY: Final = "run.json"
OUTPUTS: Final = "outputs"
OWN_FILES: Final = (DOCUMENT, IDENTITY, "summary.md", "hardware.json", "config.json", OUTPUTS)
"""What belongs to a run in its directory; other names were put there by someone else."""


def path_of(run: CheckedRun) -> PurePosixPath:
    """Return where the run belongs, relative to the tree's root."""
    row = run.rows.run
    return run_path(row.model or "", row.engine or "", row.timestamp or run.created_at, run.id)


def render_files(run: CheckedRun) -> dict[str, bytes]:
    """Return the files of a run by name: the document as it is, and what is made of it."""
    document = codec.parse(run.document)
    identity = {"id": run.id, "created_at": format_utc(run.created_at), "sha256": run.sha256}
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
    # str: integers beyond the interpreter's limit are parsed as Decimal, which JSON has no writer for.
    return (json.dumps(value, indent=2, default=str) + "\n").encode()
