"""One streamed answer: what its events say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from kitt_core.engine import Usage
from kitt_core.errors import EngineError
from kitt_engines.openai.sse import Event, EventParser, EventTooLongError
from kitt_engines.openai.wording import Wording, message_in

__all__ = ["Answer"]

_DONE: Final = "[DONE]"
_SHOWN: Final = 80
_MOST_TOKENS: Final = 1 << 31
_EVENTS_PER_TOKEN: Final = 16
"""Some servers send each character in an event of its own."""
_EVENTS_MORE: Final = 256


class Answer:
    """What has arrived of an answer.

    Args:
        wording: Makes the server's texts presentable.
        max_tokens: The length that was asked for; an answer that goes far beyond it is given up.

    Attributes:
        complete: The server has said that this was all, or the stream has ended.
        finish_reason: Why the answer ended, None as long as it has not.
        usage: The server's newest count of the tokens, None without one.
    """

    def __init__(self, wording: Wording, max_tokens: int) -> None:
        self.complete = False
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self._events = EventParser()
        self._wording = wording
        self._count = 0
        self._choices = 0
        self._most = _EVENTS_PER_TOKEN * max_tokens + _EVENTS_MORE

    def feed(self, received: bytes) -> Iterator[str]:
        """Give the texts in ``received``, one for each event that has some; those before an error as well.

        Raises:
            EngineError: The server reports an error, or what it sent is no answer.
        """
        try:
            events = self._events.feed(received)
        except EventTooLongError as error:
            raise EngineError(f"the server sends {error}") from error
        yield from self._texts(events)

    @property
    def events(self) -> int:
        """How many events have arrived."""
        return self._count

    def finish(self) -> Iterator[str]:
        """Give the text of an event that the end of the stream cut short, and look whether the answer is whole.

        Raises:
            EngineError: The stream was empty, or ended before the answer did.
        """
        rest = self._events.finish()
        if rest is not None:
            yield from self._texts([rest])
        if not self._count:
            raise EngineError(f"the server sent an empty stream{self._stray()}")
        if not self.complete and self.finish_reason is None:
            raise EngineError(f"the stream ended before the answer did{self._stray()}")
        self.complete = True

    def check_content(self) -> None:
        """Look whether there was an answer in the stream at all.

        Raises:
            EngineError: There was none.
        """
        if not self._choices:
            raise EngineError("the server ended the stream without an answer in it")

    def _texts(self, events: list[Event]) -> Iterator[str]:
        for event in events:
            self._count += 1
            if event.data == _DONE or self.complete:
                self.complete = True
                continue
            if self._count > self._most:
                raise EngineError(f"the answer does not end: {self._most} events have come")
            text = self._read(event)
            if text:
                yield text

    def _read(self, event: Event) -> str:
        try:
            found = json.loads(event.data)
        except (ValueError, RecursionError) as error:
            shown = self._wording(event.data)[:_SHOWN]
            raise EngineError(f"event {self._count} of the stream is no JSON: {shown!r}") from error
        if not isinstance(found, dict):
            raise EngineError(f"event {self._count} of the stream is no JSON object")
        if event.kind == "error" or found.get("error") or found.get("object") == "error":
            said = self._wording(message_in(event.data.encode()))
            raise EngineError(f"the server reports an error in mid-stream: {said}")
        if found.get("usage"):
            self.usage = _usage(found["usage"]) or self.usage
        choices = found.get("choices")
        return self._choice(choices[0]) if isinstance(choices, list) and choices else ""

    def _choice(self, choice: Any) -> str:
        if not isinstance(choice, dict):
            raise EngineError(f"event {self._count} of the stream has a choice that is no object")
        self._choices += 1
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            self.finish_reason = reason
        delta = choice.get("delta")
        if isinstance(delta, dict):
            # Tokens of reasoning are output tokens too. Where both names are used, both say the same.
            reasoning = _text(delta, "reasoning_content") or _text(delta, "reasoning")
            return reasoning + _text(delta, "content")
        return _text(choice, "text")

    def _stray(self) -> str:
        stray = self._events.stray
        return f"; it says {self._wording(stray)[:_SHOWN]!r}" if stray else ""


def _text(holder: dict[str, Any], name: str) -> str:
    value = holder.get(name)
    return value if isinstance(value, str) else ""


def _usage(found: Any) -> Usage | None:
    """Return the count; None if it is none, such as the zeros of servers that do not count, or beyond sense."""
    if not isinstance(found, dict):
        return None
    prompt, completion = found.get("prompt_tokens"), found.get("completion_tokens")
    if type(prompt) is not int or type(completion) is not int:
        return None
    if not (0 <= prompt < _MOST_TOKENS and 1 <= completion < _MOST_TOKENS):
        return None
    return Usage(prompt, completion, source="server_usage")
