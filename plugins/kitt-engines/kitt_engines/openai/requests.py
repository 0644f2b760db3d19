"""What is sent: request bodies, the fields that this server refuses, pauses before a retry."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from kitt_core.engine import GenerationRequest
from kitt_engines.openai.options import OpenAIOptions

__all__ = ["RequestBodies", "pause_seconds"]

_log = logging.getLogger(__name__)

_BAD_REQUEST: Final = 400
_CONSEQUENCES: Final = {
    "stream_options": "its token counts may be missing",
    "ignore_eos": "answers may end early",
    "seed": "answers may differ from run to run",
}
"""The optional fields of a request, and what leaving each out costs."""


class RequestBodies:
    """Builds request bodies and remembers which fields the server refuses.

    Attributes:
        refused: The fields that are no longer sent.
    """

    def __init__(self, options: OpenAIOptions, model: str) -> None:
        self.refused: frozenset[str] = frozenset()
        self._options = options
        self._extra = options.extra
        self._model = model
        self._accepted: set[str] = set()

    def make(self, request: GenerationRequest, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Return the body of ``request``; ``without`` names optional fields to leave out this time."""
        body: dict[str, Any] = {"model": self._model}
        if self._options.api == "chat":
            body["messages"] = [{"role": "user", "content": request.prompt}]
        else:
            body["prompt"] = request.prompt
        body |= {"max_tokens": request.max_tokens, "temperature": self._options.temperature, "stream": True}
        optional: dict[str, Any] = {"stream_options": {"include_usage": True}}
        if request.seed is not None:
            optional["seed"] = request.seed
        if request.ignore_eos and self._options.ignore_eos:
            optional["ignore_eos"] = True
        left_out = self.refused | without
        return body | {name: value for name, value in optional.items() if name not in left_out} | self._extra

    def encode(self, body: dict[str, Any]) -> bytes:
        """Return the bytes to send."""
        return json.dumps(body).encode("ascii")

    def dispensable(self, status: int, message: str, body: dict[str, Any]) -> frozenset[str]:
        """Return the optional fields to leave out of a second attempt; empty if that is not worth trying.

        These are the fields that the message names; if it names none, ``stream_options``, unless the server has
        accepted it before.
        """
        sent = (_CONSEQUENCES.keys() & body.keys()) - self._extra.keys()
        named = frozenset(name for name in sent if name in message)
        if named or status != _BAD_REQUEST:
            return named
        return frozenset({"stream_options"} & (sent - self._accepted))

    def accept(self, body: dict[str, Any], without: frozenset[str]) -> None:
        """Remember that the server accepted ``body``, which lacks the fields in ``without``."""
        self._accepted.update(_CONSEQUENCES.keys() & body.keys())
        for name in sorted(without - self.refused):
            _log.warning("the server refuses the field %s: %s", name, _CONSEQUENCES[name])
        self.refused |= without


_PAUSE: Final = 0.5
"""Seconds before the first retry, twice as long before the second."""
_LONGEST_PAUSE: Final = 5.0
_SECONDS: Final = re.compile(r"\s*[+-]?[0-9]{1,9}(\.[0-9]*)?\s*")


def pause_seconds(times: int, retry_after: str | None) -> float:
    """Return the seconds to wait: what the server asks for, within limits, or ``times`` our own pause."""
    wanted = None if retry_after is None else _read_retry_after(retry_after)
    return min(max(_PAUSE * times if wanted is None else wanted, 0.0), _LONGEST_PAUSE)


def _read_retry_after(retry_after: str) -> float | None:
    """Read the header ``Retry-After``: seconds, or a date (RFC 9110, section 10.2.3); None if it is neither."""
    if _SECONDS.fullmatch(retry_after):
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
        return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):  # the parser raises any of these for odd input
        return None
