"""Run ids: UUIDv7 in text form, or an id that the caller chooses."""

from __future__ import annotations

import os
import re
import time
import uuid
from typing import Final

from kitt_core.errors import InvalidDocumentError

__all__ = ["check_run_id", "new_run_id"]

_RUN_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


def new_run_id() -> str:
    """Return a new UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then randomness, so that ids sort by time."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = (milliseconds & (1 << 48) - 1) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def check_run_id(run_id: str) -> str:
    """Return ``run_id`` if it is a valid run id.

    Raises:
        InvalidDocumentError: It is not 1 to 128 letters, digits, dots, underscores and hyphens.
    """
    if isinstance(run_id, str) and _RUN_ID.fullmatch(run_id):
        return run_id
    raise InvalidDocumentError(f"run id {run_id!r} is not 1 to 128 characters of A-Z a-z 0-9 . _ -")
