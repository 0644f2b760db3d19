"""A streamed answer: what its events say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kitt_core.engine import Usage
from kitt_core.errors import EngineError
from kitt_engines.openai.counts import USAGE, Counts, counts_in
from kitt_engines.openai.deltas import Piece, read_choice
from kitt_engines.openai.failures import Sanitizer, is_error, message_in
from kitt_engines.openai.sse import Event, EventParser, EventTooLongError

__all__ = ["Answer"]

_DONE: Final = "[DONE]"
_SHOWN: Final = 80
_NAMES_SHOWN: Final = 5
_EVENTS_PER_TOKEN: Final = 16
"""Some servers send an event per character."""
_EVENTS_MORE: Final = 256
_FAILED: Final = frozenset({"error", "abort", "aborted", "canceled", "cancelled", "failed"})
"""Reasons for the end of an answer that mean that there is none."""
_WITHHELD: Final = "content_filter"


class Answer:
    """The part of an answer that has arrived.

    Args:
        sanitize: Makes the server's texts fit to be shown.
        max_tokens: The requested length; an answer that goes far beyond it is abandoned.

    Attributes:
        complete: Whether the server has announced the end, or the stream has ended.
        finish_reason: Why the answer ended; None until it has.
        counts: The server's latest token counts; None if it has sent none.
        events: Number of events that have arrived and belong to the answer, unlike those that keep a
            connection alive.
    """

    def __init__(self, sanitize: Sanitizer, max_tokens: int) -> None:
        self.complete = False
        self.finish_reason: str | None = None
        self.counts: Counts | None = None
        self.events = 0
        self._events = EventParser()
        self._sanitize = sanitize
        self._count = 0
        self._choices = 0
        self._has_text = False
        self._unknown: dict[str, None] = {}
        self._chunk_kinds = {"", "message"}
        self._most = _EVENTS_PER_TOKEN * max_tokens + _EVENTS_MORE

    @property
    def usage(self) -> Usage | None:
        """The server's latest token counts; None if it has sent none."""
        return None if self.counts is None else self.counts.usage

    def feed(self, received: bytes) -> Iterator[Piece]:
        """Yield the texts in ``received``, one per event with text, including those before an error.

        After the end of the answer, only token counts and errors are looked for.

        Raises:
            EngineError: The server reports an error, or what it sent is not an answer.
        """
        try:
            events = self._events.feed(received)
        except EventTooLongError as error:
            raise EngineError(f"the server sends {error}") from error
        yield from self._pieces(events)

    def finish(self) -> Iterator[Piece]:
        """Yield the text of an event that the end of the stream cut short, and check that the answer is whole.

        Raises:
            EngineError: The stream was empty, ended before the answer did, or has an error that is not an event.
        """
        rest = self._events.finish()
        if rest is not None:
            yield from self._pieces([rest])
        self._check_stray()
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
        self._check_stray()
        if self._has_text:
            return
        if not self._choices:
            raise EngineError(f"the server ended the stream without an answer{self._stray()}")
        if self.finish_reason == _WITHHELD:
            raise EngineError(f"the server withheld the answer: its finish_reason is {_WITHHELD}")
        said = "the server ended the stream without any text"
        if self.finish_reason is not None:
            said += f"; its finish_reason is {self._sanitize(self.finish_reason)[:_SHOWN]}"
        if self.usage is not None and self.usage.reasoning_tokens:
            said += f"; it counted {self.usage.reasoning_tokens} reasoning tokens that it does not send"
        if self._unknown:
            names = ", ".join(self._sanitize(name)[:_SHOWN] for name in list(self._unknown)[:_NAMES_SHOWN])
            said += f"; it sent what is not understood: {names}"
        raise EngineError(said)

    def _pieces(self, events: list[Event]) -> Iterator[Piece]:
        for event in events:
            data = event.data.strip()
            if data == _DONE:
                self._count += 1
                self.complete = True
            elif self.complete:
                self._read_late(event, data)
            elif data or _is_error_kind(event):
                self._count += 1
                piece = self._read(event, data)
                if self.events > self._most:
                    raise EngineError(f"the answer does not end: {self._most} events have arrived")
                if piece is not None and piece.text:
                    self._has_text = True
                    yield piece

    def _read(self, event: Event, data: str) -> Piece | None:
        if _is_error_kind(event):
            raise self._reported(data)
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            if event.kind not in self._chunk_kinds:
                return None
            shown = self._sanitize(data)[:_SHOWN]
            raise EngineError(f"event {self._count} of the stream is not JSON: {shown!r}") from error
        if not isinstance(found, dict):
            if found is None or event.kind not in self._chunk_kinds:
                return None
            raise EngineError(f"event {self._count} of the stream is not a JSON object")
        if is_error(found):
            raise self._reported(data)
        counted = self._take_counts(found)
        choices = found.get("choices")
        if not isinstance(choices, list) or not choices:
            self.events += counted
            self._unknown.update(dict.fromkeys(_content_fields(found)))
            return None
        self.events += 1
        self._chunk_kinds.add(event.kind)
        for choice in choices:
            self._check(choice)
        return self._choice(choices[0])

    def _check(self, choice: Any) -> None:
        """Raise what a choice says about a failure."""
        if not isinstance(choice, dict):
            raise EngineError(f"event {self._count} of the stream has a choice that is not an object")
        delta = choice.get("delta")
        for holder in (choice, delta):
            if isinstance(holder, dict) and holder.get("error"):
                raise self._reported(json.dumps(holder["error"]))
        reason = choice.get("finish_reason")
        kind = reason.get("type") if isinstance(reason, dict) else reason  # SGLang's native form is an object
        if isinstance(kind, str) and kind.lower() in _FAILED:
            if isinstance(reason, dict) and reason.get("message"):
                raise self._reported(json.dumps(reason))
            raise EngineError(f"the server gave up the answer: its finish_reason is {kind}")

    def _choice(self, choice: dict[str, Any]) -> Piece:
        self._choices += 1
        reason = choice.get("finish_reason")
        kind = reason.get("type") if isinstance(reason, dict) else reason
        if isinstance(kind, str) and kind:
            self.finish_reason = kind
        piece = read_choice(choice)
        if piece.unknown:
            self._unknown.update(dict.fromkeys(piece.unknown))
        return piece

    def _read_late(self, event: Event, data: str) -> None:
        """Look for errors and token counts in what comes after the end; anything else is of no use."""
        if _is_error_kind(event):
            raise self._reported(data)
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            return
        if isinstance(found, dict):
            if is_error(found):
                raise self._reported(data)
            self._take_counts(found)

    def _take_counts(self, found: Mapping[str, Any]) -> bool:
        counts = counts_in(found)
        if counts is None:
            return False
        if self.counts is None or counts.usage.source in {USAGE, self.counts.usage.source}:
            self.counts = counts
        return True

    def _reported(self, data: str) -> EngineError:
        said = self._sanitize(message_in(data.encode("utf-8", "replace")))
        return EngineError(f"the server reports an error in mid-stream{f': {said}' if said else ''}")

    def _check_stray(self) -> None:
        """Raise the error that a body contains which is not an event, such as a JSON object after the head."""
        stray = self._events.stray
        if not stray.startswith("{"):
            return
        try:
            found = json.loads(stray)
        except (ValueError, RecursionError):
            return
        told = message_in(stray.encode()) != stray  # other objects are shown as they are
        if isinstance(found, dict) and (is_error(found) or (told and not self._has_text)):
            raise self._reported(stray)

    def _stray(self) -> str:
        stray = self._events.stray
        return f"; it says {self._sanitize(stray)[:_SHOWN]!r}" if stray else ""


def _is_error_kind(event: Event) -> bool:
    return event.kind.strip().lower() == "error"


_FRAME: Final = frozenset({"choices", "created", "id", "model", "object", "system_fingerprint", "type", "usage"})


def _content_fields(found: Mapping[str, Any]) -> Iterator[str]:
    """Return the fields of an event without choices in which there may be text."""
    return (
        name for name, value in found.items() if name not in _FRAME and value and isinstance(value, (str, list))
    )
