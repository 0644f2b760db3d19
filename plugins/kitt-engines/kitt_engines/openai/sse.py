"""Server-sent events: bytes in, events out.

Defined by the HTML standard, section 9.2.6 ("Interpreting an event stream"). Two departures: an event that the
end of the stream cuts short is given to the caller, who can tell what it is worth; and lines that are no field
are remembered, because a server that fails in mid-stream likes to write plain text into it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["LONGEST_EVENT", "Event", "EventParser", "EventTooLongError"]

LONGEST_EVENT: Final = 8 * 1024 * 1024
"""Bytes without the end of an event that are kept at most."""

_BOM: Final = b"\xef\xbb\xbf"
_FIELDS: Final = frozenset({b"data", b"event", b"id", b"retry"})
_STRAY_SHOWN: Final = 200


class EventTooLongError(ValueError):
    """An event does not end."""


class Event(NamedTuple):
    """One event.

    Attributes:
        data: The ``data`` lines, joined by line feeds.
        kind: The ``event`` field; empty without one.
    """

    data: str
    kind: str


class EventParser:
    """Splits a stream into events, wherever the chunks of bytes begin and end.

    Attributes:
        stray: The first line that is no field of an event, shortened; empty if there was none.
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
            EventTooLongError: More than `LONGEST_EVENT` bytes came without the end of an event.
        """
        if self._skip_line_feed and received:
            # The carriage return before it has ended the line already.
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
        """Return the event that the end of the stream cuts short, None if there is none."""
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
