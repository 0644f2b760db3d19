"""A streamed answer: server-sent events, and what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from kitt_core.engine import Usage
from kitt_core.errors import EngineError
from kitt_engines.openai.failures import Sanitizer, message_in

__all__ = ["LONGEST_EVENT", "Answer", "Event", "EventParser", "EventTooLongError"]

_DONE: Final = "[DONE]"
_SHOWN: Final = 80
_MOST_TOKENS: Final = 1 << 31
_EVENTS_PER_TOKEN: Final = 16
"""Some servers send an event per character."""
_EVENTS_MORE: Final = 256


class Answer:
    """The part of an answer that has arrived.

    Args:
        sanitize: Makes the server's texts fit to be shown.
        max_tokens: The requested length; an answer that goes far beyond it is abandoned.

    Attributes:
        complete: Whether the server has announced the end, or the stream has ended.
        finish_reason: Why the answer ended; None until it has.
        usage: The server's latest token counts; None if it has sent none.
    """

    def __init__(self, sanitize: Sanitizer, max_tokens: int) -> None:
        self.complete = False
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self._events = EventParser()
        self._sanitize = sanitize
        self._count = 0
        self._choices = 0
        self._most = _EVENTS_PER_TOKEN * max_tokens + _EVENTS_MORE

    def feed(self, received: bytes) -> Iterator[str]:
        """Yield the texts in ``received``, one per event with text, including those before an error.

        Raises:
            EngineError: The server reports an error, or what it sent is not an answer.
        """
        try:
            events = self._events.feed(received)
        except EventTooLongError as error:
            raise EngineError(f"the server sends {error}") from error
        yield from self._texts(events)

    @property
    def events(self) -> int:
        """Number of events that have arrived."""
        return self._count

    def finish(self) -> Iterator[str]:
        """Yield the text of an event that the end of the stream cut short, and check that the answer is whole.

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
        """Check that the stream contained an answer at all.

        Raises:
            EngineError: It did not.
        """
        if not self._choices:
            raise EngineError("the server ended the stream without an answer")

    def _texts(self, events: list[Event]) -> Iterator[str]:
        for event in events:
            self._count += 1
            if event.data == _DONE or self.complete:
                self.complete = True
                continue
            if self._count > self._most:
                raise EngineError(f"the answer does not end: {self._most} events have arrived")
            text = self._read(event)
            if text:
                yield text

    def _read(self, event: Event) -> str:
        try:
            found = json.loads(event.data)
        except (ValueError, RecursionError) as error:
            shown = self._sanitize(event.data)[:_SHOWN]
            raise EngineError(f"event {self._count} of the stream is not JSON: {shown!r}") from error
        if not isinstance(found, dict):
            raise EngineError(f"event {self._count} of the stream is not a JSON object")
        if event.kind == "error" or found.get("error") or found.get("object") == "error":
            said = self._sanitize(message_in(event.data.encode()))
            raise EngineError(f"the server reports an error in mid-stream: {said}")
        if found.get("usage"):
            self.usage = _usage(found["usage"]) or self.usage
        choices = found.get("choices")
        return self._choice(choices[0]) if isinstance(choices, list) and choices else ""

    def _choice(self, choice: Any) -> str:
        if not isinstance(choice, dict):
            raise EngineError(f"event {self._count} of the stream has a choice that is not an object")
        self._choices += 1
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            self.finish_reason = reason
        delta = choice.get("delta")
        if isinstance(delta, dict):
            # Reasoning tokens are output tokens. Where a server uses both names, both hold the same text.
            reasoning = _text(delta, "reasoning_content") or _text(delta, "reasoning")
            return reasoning + _text(delta, "content")
        return _text(choice, "text")

    def _stray(self) -> str:
        stray = self._events.stray
        return f"; it says {self._sanitize(stray)[:_SHOWN]!r}" if stray else ""


def _text(holder: dict[str, Any], name: str) -> str:
    value = holder.get(name)
    return value if isinstance(value, str) else ""


def _usage(found: Any) -> Usage | None:
    """Return the counts; None if they are unusable, such as the zeros of servers that do not count."""
    if not isinstance(found, dict):
        return None
    prompt, completion = found.get("prompt_tokens"), found.get("completion_tokens")
    if type(prompt) is not int or type(completion) is not int:
        return None
    if not (0 <= prompt < _MOST_TOKENS and 1 <= completion < _MOST_TOKENS):
        return None
    return Usage(prompt, completion, source="server_usage")


LONGEST_EVENT: Final = 8 * 1024 * 1024
"""Most bytes that are kept of an unfinished event."""

_BOM: Final = b"\xef\xbb\xbf"
_FIELDS: Final = frozenset({b"data", b"event", b"id", b"retry"})
_STRAY_SHOWN: Final = 200


class EventTooLongError(ValueError):
    """An event is longer than `LONGEST_EVENT`."""


class Event(NamedTuple):
    """A server-sent event.

    Attributes:
        data: The ``data`` lines, joined by line feeds.
        kind: The ``event`` field; empty if there is none.
    """

    data: str
    kind: str


class EventParser:
    """Splits a stream of bytes into events (HTML standard, section 9.2.6, "Interpreting an event stream").

    It departs from the standard twice: `finish` returns an event that the end of the stream cut short, because the
    caller can judge what it is worth; and the first line that is not a field is kept, because servers that fail in
    mid-stream often write plain text.

    Attributes:
        stray: The first line that is not a field of an event, shortened; empty if there was none.
    """

    def __init__(self) -> None:
        self.stray = ""
        self._parts: list[bytes] = []
        self._data: list[bytes] = []
        self._kind = b""
        self._kept = 0
        self._first = True
        self._skip_line_feed = False

    def feed(self, received: bytes) -> list[Event]:
        """Return the events that ``received`` completes.

        Raises:
            EventTooLongError: More than `LONGEST_EVENT` bytes arrived without the end of an event.
        """
        if self._skip_line_feed and received:
            # The carriage return before it has already ended the line.
            self._skip_line_feed = False
            received = received.removeprefix(b"\n")
        if b"\r" in received:
            self._skip_line_feed = received.endswith(b"\r")
            received = received.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._kept += len(received)
        if b"\n" not in received:
            self._parts.append(received)
            self._check_length()
            return []
        lines = received.split(b"\n")
        if self._parts:
            lines[0] = b"".join(self._parts) + lines[0]
        self._parts = [lines.pop()]
        events = self._events(lines)
        self._check_length()
        return events

    def finish(self) -> Event | None:
        """Return the event that the end of the stream cut short, if any."""
        rest = b"".join(self._parts)
        self._parts = []
        events = self._events([rest, b""] if rest else [b""])
        return events[0] if events else None

    def _events(self, lines: list[bytes]) -> list[Event]:
        events: list[Event] = []
        if self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(_BOM)
        for line in lines:
            if line:
                self._field(line)
                continue
            if self._data:
                data = b"\n".join(self._data) if len(self._data) > 1 else self._data[0]
                events.append(Event(data.decode("utf-8", "replace"), self._kind.decode("utf-8", "replace")))
                self._data = []
            self._kind = b""
            self._kept = len(self._parts[0]) if self._parts else 0
        return events

    def _field(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._kind = value.removeprefix(b" ")
        elif not colon and name not in _FIELDS and not self.stray:
            self.stray = line[:_STRAY_SHOWN].decode("utf-8", "replace")

    def _check_length(self) -> None:
        if self._kept > LONGEST_EVENT:
            raise EventTooLongError(f"an event of more than {LONGEST_EVENT} bytes")
