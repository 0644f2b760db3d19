"""What is sent: request bodies, the fields that this server refuses, pauses before a retry."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from kitt_core.engine import GenerationRequest
from kitt_engines.openai.options import OpenAIOptions

__all__ = ["PROBING_PROMPT", "RequestBodies", "pause_seconds"]

_log = logging.getLogger(__name__)

_BAD_REQUEST: Final = 400
_REFUSED: Final = (400, 422)
_WORD: Final = re.compile(r"[a-z_]+")
_UNKNOWN: Final = re.compile(
    "max_completion_tokens|support|recogni[sz]ed|unknown|unexpected|extra|permitted|deprecated"
)
_LENGTH: Final = "max_tokens"
_LENGTH_INSTEAD: Final = "max_completion_tokens"
_CONSEQUENCES: Final = {
    "stream_options": "its token counts may be missing",
    "ignore_eos": "answers may end early",
    "seed": "answers may differ from run to run",
    "temperature": "the server's own temperature applies",
    _LENGTH: f"{_LENGTH_INSTEAD} is sent instead",
}
"""The fields of a request that can be left out, and what that costs."""
_ESSENTIAL: Final = frozenset({"temperature", _LENGTH})
"""Fields that are left out only if the server has never accepted them: an error that names one may be about its
value."""
_OTHER_MEANING: Final = (401, 429)
"""A refusal with one of these is not about a field, even if it names one."""

PROBING_PROMPT: Final = "Say hello."
"""The prompt of the request that finds out which fields the server takes."""
_PROBING_TOKENS: Final = 16


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

    @property
    def notices(self) -> list[str]:
        """One line for each field that is not sent."""
        return [f"the server refuses the field {name}: {_CONSEQUENCES[name]}" for name in sorted(self.refused)]

    def probing(self, without: frozenset[str]) -> dict[str, Any]:
        """Return the body that finds out what the server takes: every field but those in ``without``."""
        return self.make(GenerationRequest(PROBING_PROMPT, _PROBING_TOKENS, seed=1), without=without)

    def make(self, request: GenerationRequest, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Return the body of ``request``; ``without`` names optional fields to leave out this time."""
        body: dict[str, Any] = {"model": self._model}
        if self._options.api == "chat":
            body["messages"] = [{"role": "user", "content": request.prompt}]
        else:
            body["prompt"] = request.prompt
        left_out = self.refused | without
        body[_LENGTH_INSTEAD if _LENGTH in left_out else _LENGTH] = request.max_tokens
        body["stream"] = True
        optional: dict[str, Any] = {
            "temperature": self._options.temperature,
            "stream_options": {"include_usage": True},
        }
        if request.seed is not None:
            optional["seed"] = request.seed
        if request.ignore_eos and self._options.ignore_eos:
            optional["ignore_eos"] = True
        return body | {name: value for name, value in optional.items() if name not in left_out} | self._extra

    def encode(self, body: dict[str, Any]) -> bytes:
        """Return the bytes to send."""
        return json.dumps(body).encode("ascii")

    def optional(self, body: dict[str, Any]) -> frozenset[str]:
        """Return the fields of ``body`` that can be left out."""
        return frozenset((_CONSEQUENCES.keys() & body.keys()) - self._extra.keys())

    def named(self, status: int, message: str, body: dict[str, Any]) -> frozenset[str]:
        """Return the optional fields of ``body`` that a refusal names."""
        if status in _OTHER_MEANING:
            return frozenset()
        # A model may be called like a field, as seed-oss is.
        message = re.sub(rf"(?<![\w-]){re.escape(self._model)}(?![\w-])", " ", message).lower()
        named = self.optional(body) & frozenset(_WORD.findall(message))
        # Only a name is wrong with it: a limit on its value is not a reason to send another field.
        return named if _UNKNOWN.search(message) else named - {_LENGTH}

    def dispensable(self, status: int, message: str, body: dict[str, Any]) -> frozenset[str]:
        """Return the optional fields to leave out of a second attempt; empty if that is not worth trying.

        These are the fields that the message names; if it names none, ``stream_options``, unless the server has
        accepted it before.
        """
        named = self.named(status, message, body)
        named -= _ESSENTIAL & self._accepted if status in _REFUSED else self._accepted
        if named or status != _BAD_REQUEST:
            return named
        return frozenset({"stream_options"} & (self.optional(body) - self._accepted))

    def accept(self, body: dict[str, Any], without: frozenset[str]) -> None:
        """Remember that the server accepted ``body``, which lacks the fields in ``without``."""
        self._accepted.update(_CONSEQUENCES.keys() & body.keys())
        self.leave_out(without)

    def leave_out(self, without: Iterable[str]) -> None:
        """Send the fields in ``without`` no longer."""
        without = frozenset(without)
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
