"""The parser of server-sent events."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitt_engines.openai import sse
from kitt_engines.openai.sse import Event, EventParser, EventTooLongError


def parsed(*received: bytes) -> list[Event]:
    parser = EventParser()
    events = [event for part in received for event in parser.feed(part)]
    rest = parser.finish()
    return events if rest is None else [*events, rest]


def data(*received: bytes) -> list[str]:
    return [event.data for event in parsed(*received)]


STREAM = (
    "\ufeffdata: héllo 🦙\r\n\r\n: comment\n\ndata:two\ndata: lines\n\n"
    "event: error\rdata: x\r\rid: 3\n\ndata: [DONE]\n\n"
)


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (b"data: a\n\n", ["a"]),
        (b"data: a\r\n\r\n", ["a"]),
        (b"data: a\r\r", ["a"]),
        (b"data:a\n\n", ["a"]),
        (b"data:  a\n\n", [" a"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data\n\n", [""]),
        (b"data:\n\n", [""]),
        (b": keep-alive\n\n: again\n\n", []),
        (b"\n\n\n\ndata: a\n\n\n\n", ["a"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b"data: a\n\ndata: cut", ["a", "cut"]),
        (b"data: [DONE]", ["[DONE]"]),
        (b"retry: 10\nid: 7\n\n", []),
        (b"data: \xff\n\n", ["\ufffd"]),
        (b"", []),
    ],
)
def test_what_the_standard_says(received: bytes, expected: list[str]) -> None:
    assert data(received) == expected


def test_an_event_has_a_kind() -> None:
    assert parsed(b"event: error\ndata: x\n\ndata: y\n\n") == [Event("x", "error"), Event("y", "")]
    assert parsed(b"event: lost\n\ndata: y\n\n") == [Event("y", "")]


@given(st.lists(st.integers(0, len(STREAM.encode())), max_size=12))
def test_the_borders_of_chunks_make_no_difference(cuts: list[int]) -> None:
    whole = STREAM.encode()
    edges = [0, *sorted(cuts), len(whole)]
    parts = [whole[start:end] for start, end in pairwise(edges)]
    expected = [Event("héllo 🦙", ""), Event("two\nlines", ""), Event("x", "error"), Event("[DONE]", "")]
    assert parsed(*parts) == expected
    assert parsed(*(whole[i : i + 1] for i in range(len(whole)))) == expected


def test_a_carriage_return_at_the_end_of_a_chunk_ends_the_event_at_once() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"\r") == [Event("a", "")]
    assert parser.feed(b"\ndata: b\r\n\r\n") == [Event("b", "")]


def test_a_line_that_is_not_a_field_is_remembered() -> None:
    parser = EventParser()
    parser.feed(b"data: a\n\nInternal Server Error\nmore\n")
    assert parser.stray == "Internal Server Error\nmore"


@pytest.mark.parametrize("part", [b"x" * 100, b"data: x\n"])
def test_an_event_without_an_end_is_refused(part: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST_EVENT", 1000)
    parser = EventParser()

    def feed() -> None:
        for _ in range(1000):
            parser.feed(part)

    with pytest.raises(EventTooLongError):
        feed()


def test_a_long_stream_of_short_events_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST_EVENT", 100)
    parser = EventParser()
    for _ in range(1000):
        assert len(parser.feed(b"data: x\n\n: comment\n\n")) == 1
