"""The body of a request, and which of its fields this server has refused."""

from __future__ import annotations

import json
import logging
from typing import Any, Final

from kitt_core.engine import GenerationRequest
from kitt_engines.openai.options import OpenAIOptions

__all__ = ["RequestBodies"]

_log = logging.getLogger(__name__)

_BAD_REQUEST: Final = 400
_CONSEQUENCES: Final = {
    "stream_options": "its own count of the tokens may be missing",
    "ignore_eos": "answers may end early",
    "seed": "answers may differ from run to run",
}
"""The fields that a request can do without, and what it costs."""


class RequestBodies:
    """Makes the bodies; remembers the fields that the server does not take.

    Attributes:
        refused: The fields that are not sent any more.
    """

    def __init__(self, options: OpenAIOptions, model: str) -> None:
        self.refused: frozenset[str] = frozenset()
        self._options = options
        self._extra = options.extra
        self._model = model
        self._accepted: set[str] = set()

    def make(self, request: GenerationRequest, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Return the body of ``request``; ``without`` are optional fields that are left out this time."""
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
        """Return the bytes that are sent."""
        return json.dumps(body).encode("ascii")

    def dispensable(self, status: int, message: str, body: dict[str, Any]) -> frozenset[str]:
        """Return the fields without which it is worth asking again, empty if there are none.

        Those that the message names; if it names none, ``stream_options``, unless the server has taken it before.
        """
        sent = (_CONSEQUENCES.keys() & body.keys()) - self._extra.keys()
        named = frozenset(name for name in sent if name in message)
        if named or status != _BAD_REQUEST:
            return named
        return frozenset({"stream_options"} & (sent - self._accepted))

    def accept(self, body: dict[str, Any], without: frozenset[str]) -> None:
        """Remember that ``body``, from which ``without`` was left out, was taken."""
        self._accepted.update(_CONSEQUENCES.keys() & body.keys())
        for name in sorted(without - self.refused):
            _log.warning("the server refuses the field %s: %s", name, _CONSEQUENCES[name])
        self.refused |= without
