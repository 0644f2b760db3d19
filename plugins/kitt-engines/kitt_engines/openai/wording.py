"""What a server said, as it may be shown: one line, short, without the API key."""

from __future__ import annotations

import json
from typing import Any, Final

from attrs import field, frozen

from kitt_core.redaction import REDACTED, without_secrets

__all__ = ["Wording", "message_in"]

_LONGEST: Final = 180
_READ: Final = 4096
"""Characters that are looked at: a server may say megabytes, and other requests are waiting."""


@frozen
class Wording:
    """Makes texts of strangers presentable.

    Attributes:
        api_key: What must never be shown; empty if there is none.
    """

    api_key: str = field(default="", repr=False)

    def __call__(self, text: str) -> str:
        """Return ``text`` in one line without secrets, shortened to 180 characters."""
        if self.api_key:
            # Before anything is cut off: half a key is a secret as well.
            text = text.replace(self.api_key, REDACTED).replace(json.dumps(self.api_key)[1:-1], REDACTED)
        shown = without_secrets(text[:_READ])
        line = " ".join("".join(c if c.isprintable() else " " for c in shown).split())
        return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def message_in(body: bytes) -> str:
    """Return the sentence in a server's error body: OpenAI's form, FastAPI's, or the text itself."""
    text = body.decode("utf-8", "replace")
    try:
        return _message(json.loads(text)) or text
    except (ValueError, RecursionError):
        return text


def _message(found: Any) -> str:
    if isinstance(found, str):
        return found
    if isinstance(found, list):  # FastAPI lists what it found wrong, each with its place in the body
        return "; ".join(filter(None, map(_message, found)))
    if not isinstance(found, dict):
        return ""
    for key in ("error", "message", "detail", "msg"):
        message = _message(found.get(key))
        if message:
            place = found.get("loc") if key == "msg" else found.get("param") if key == "message" else None
            return _at(place, message)
    return ""


def _at(place: Any, message: str) -> str:
    name = ".".join(map(str, place)) if isinstance(place, list) else place
    return f"{name}: {message}" if isinstance(name, str) and name and name not in message else message
