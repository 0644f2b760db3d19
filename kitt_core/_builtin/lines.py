"""JSON lines that give back every byte: what can't stand in a line is written as white space of another kind.

Line breaks and tabs of a document lie between its tokens. There, JSON allows spaces and tabs instead, so a code of
these two says which of them it was; other programs read the same document. A line with such codes begins with a
mark, which no document written as it is begins with.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

__all__ = ["from_line", "to_line"]

_MARK: Final = b"\t \t\t "
_MARK_AND_BOM: Final = b"\t\t \t "
_CODES: Final = {b"\t\t\t": b"\t", b"\t\t ": b"\r", b"\t ": b"\n"}
_CODE: Final = re.compile(rb"\t(?: |\t[ \t])?")


def to_line(document: bytes, *, marked: bool = False) -> bytes:
    """Return a document as one line without its end.

    Args:
        document: Any JSON object.
        marked: Mark it although nothing in it has to be changed. A reader then knows that the line's end does not
            belong to it.
    """
    tokens = document.removeprefix(codecs.BOM_UTF8)
    line = tokens
    for code, written in _CODES.items():  # tabs first: the other codes contain some
        line = line.replace(written, code)
    if len(tokens) != len(document):
        return _MARK_AND_BOM + line
    return _MARK + line if marked or line != tokens else line


def from_line(line: bytes) -> bytes:
    """Return the document that `to_line` was given; a line that it did not write is returned as it is."""
    for mark, start in ((_MARK, b""), (_MARK_AND_BOM, codecs.BOM_UTF8)):
        if line.startswith(mark):
            try:
                content = line.removeprefix(mark).rstrip(b"\r\n")
                return start + _CODE.sub(lambda found: _CODES[found[0]], content)
            except KeyError:  # somebody else's tabs
                return line
    return line
