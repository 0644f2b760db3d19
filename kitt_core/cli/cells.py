"""How one value is written in each format; pure functions."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from kitt_core.presentation import escape_markdown, instant, number, without_formula
from kitt_core.runs.timestamps import to_utc

__all__ = [
    "as_json",
    "for_markdown",
    "for_spreadsheet",
    "plain",
    "printable",
    "readable",
    "visible",
]

# What JSON allows but a terminal acts on: C1 controls, bidirectional marks, line separators.
_ACTIVE: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def readable(value: Any) -> str:
    """Return a value as a table shows it; a missing one is a hyphen."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, datetime):
        return to_utc(value).strftime("%Y-%m-%d %H:%M:%S") if value.year > 999 else instant(value)
    return _text(value)


def plain(value: Any) -> str:
    """Return a value for tab-separated text: in full, on one line; a missing one is empty."""
    return printable("" if value is None else _text(value))


def for_spreadsheet(value: Any) -> str:
    """Return a value for CSV; text that a spreadsheet would take for a formula is prefixed with an apostrophe."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = _text(value)
    return without_formula(text) if isinstance(value, str) else text


def for_markdown(text: str) -> str:
    """Return ``text`` escaped so that Markdown shows it as it is, even in a table cell."""
    return escape_markdown(printable(text))


def printable(text: str) -> str:
    """Return ``text`` with everything escaped but visible characters and spaces."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def visible(text: str) -> str:
    """Return lines of text with JSON's escapes for all but visible characters, tabs and line breaks."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _spelled(c) for c in text)


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON: times as text, numbers that JSON lacks as null."""
    text = json.dumps(_jsonable(value), ensure_ascii=False, indent=indent, allow_nan=False)
    return _ACTIVE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return as_json(value)
    return str(value)


def _spelled(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _jsonable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, Decimal | Path | date):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
