"""The part of a document that goes into the queryable ``runs.raw_json``: all that JSONB can hold.

JSONB refuses U+0000, lone surrogates, NaN and numbers beyond its range. Most documents have none of them, and
their text goes to the server as it is; the others are projected first.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Final

from kitt_core.runs import clean_text, codec

__all__ = ["projected"]

_ESCAPED: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_BOM: Final = b"\xef\xbb\xbf"
_NUMBERS: Final = bytes.maketrans(b"0123456789E", b"0000000000e")
_LONG: Final = b"0" * 200  # 200 digits with an exponent of two digits still fit a double
_GREAT: Final = b"0e000"


def projected(document: bytes) -> str:
    """Return the JSON text for ``runs.raw_json``.

    U+0000 and lone surrogates become U+FFFD, in keys too; numbers that are not finite as a double become null.
    The server itself drops key order, spelling and duplicate keys.
    """
    if _is_plain(document):
        return document.removeprefix(_BOM).decode()
    return json.dumps(_clean(codec.parse(document)), ensure_ascii=False, allow_nan=False)


def _is_plain(document: bytes) -> bool:
    """Whether JSONB is sure to accept the text; a false alarm (a hash that reads like 1e400) costs only time."""
    if b"NaN" in document or b"Infinity" in document:
        return False
    if b"\\u" in document and _ESCAPED.search(document):
        return False
    # All digits look the same now, and searching for a text is much faster than for a pattern.
    numbers = document.translate(_NUMBERS, b"+-")
    return _GREAT not in numbers and _LONG not in numbers


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, float | int | Decimal) and not isinstance(value, bool):
        return _number(value)
    return value


def _number(value: float | Decimal) -> float | None:
    try:
        double = float(value)
    except OverflowError:
        return None
    if double - double != 0:  # NaN or infinite
        return None
    return double if isinstance(value, Decimal) else value
