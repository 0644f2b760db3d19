"""Server-sent events."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["LONGEST_EVENT", "Event", "EventParser", "EventTooLongError"]

LONGEST_EVENT: Final = 8 * 1024 * 1024
"""Most bytes that are kept of an unfinished event."""

_BOM: Final = b"\xef\xbb\xbf"
_FIELDS: Final = frozenset({b"data", b"event", b"id", b"retry"})
_STRAY_KEPT: Final = 4096


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
    caller can judge what it is worth; and the lines that are not fields are kept, because servers that fail in
    mid-stream often write plain text or a JSON object that is not an event.

    Attributes:
        stray: The lines that are not fields of an event, up to 4,096 characters; empty if there were none.
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
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._kind = value.removeprefix(b" ")
        elif name and name not in _FIELDS and len(self.stray) < _STRAY_KEPT:
            found = line[:_STRAY_KEPT].decode("utf-8", "replace")
            self.stray = f"{self.stray}\n{found}"[:_STRAY_KEPT] if self.stray else found

    def _check_length(self) -> None:
        if self._kept > LONGEST_EVENT:
            raise EventTooLongError(f"an event of more than {LONGEST_EVENT} bytes")
