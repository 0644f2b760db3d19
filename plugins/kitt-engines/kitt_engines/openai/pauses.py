"""How long to wait before a request is sent again."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["pause_seconds"]

_PAUSE: Final = 0.5
"""Seconds before a retry, twice as long before a later one."""
_LONGEST_PAUSE: Final = 5.0
_SECONDS: Final = re.compile(r"\s*[+-]?[0-9]{1,9}(\.[0-9]*)?\s*")


def pause_seconds(times: int, retry_after: str | None) -> float:
    """Return how long to wait: what the server wishes, within bounds, or so many times our own pause."""
    wanted = None if retry_after is None else _wished(retry_after)
    return min(max(_PAUSE * times if wanted is None else wanted, 0.0), _LONGEST_PAUSE)


def _wished(retry_after: str) -> float | None:
    """Read the header ``Retry-After``: seconds, or a date (RFC 9110, section 10.2.3); None if it is neither."""
    if _SECONDS.fullmatch(retry_after):
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
        return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):  # whatever the parser makes of a stranger's text
        return None
