"""Times as KITT 1.x wrote them: with an offset, without one, as SQLite's ``datetime('now')``, or empty."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from kitt_core.runs import format_utc, parse_timestamp

__all__ = ["as_text", "instant"]

_KEPT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:]{8}(?:\.[0-9]{6}(?:\+00:00)?)?")
"""What `SQLiteDialect.instant` makes sortable."""


def instant(value: Any) -> datetime | None:
    """Return the instant, naive being UTC; None for an empty one.

    Raises:
        ValueError: It is no time.
    """
    if value is None or value == "":
        return None
    return parse_timestamp(value if isinstance(value, datetime) else str(value))


def as_text(value: Any, moment: datetime | None) -> str:
    """Return what SQLite keeps of a ``created_at``: the text itself where its kind sorts, else one that does.

    Args:
        value: What the old column held.
        moment: The instant that it is, None if it is none: then it is now.
    """
    if moment is None:
        return format_utc(datetime.now(UTC))
    return value if isinstance(value, str) and _KEPT.fullmatch(value) else format_utc(moment)
