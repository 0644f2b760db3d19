"""Bytes to documents and back. *Verbatim means bytes*: a store keeps the bytes, never the parsed form.

`encode` turns what a caller passes into the bytes that will be stored; `parse` reads stored bytes as JSON and
accepts what real result files contain (a byte-order mark, CRLF, ``NaN``, integers of any length). Which fields a
run needs is up to `kitt_core.runs.rows`.
"""

from __future__ import annotations

import codecs
import enum
import hashlib
import json
import re
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from kitt_core.errors import InvalidDocumentError

__all__ = ["MAX_DEPTH", "MAX_PARTS", "TooManyPartsError", "digest", "encode", "encode_and_parse", "parse", "shown"]

MAX_DEPTH: Final = 256
"""How deeply a document's arrays and objects may be nested; the outermost object is level 1."""

MAX_PARTS: Final = 1 << 21
"""How many texts (including keys), arrays and objects a document may have, whatever its size."""

_BYTES_PER_PART: Final = 32
_TOKEN: Final = re.compile(rb'"(?>[^"\\]+|\\.)*+(?:"|\Z)|[\[{\]}]', re.DOTALL)
_COMPACT: Final = (",", ":")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ALL_DIGITS_ALIKE: Final = bytes.maketrans(b"123456789", b"000000000")
_EXPONENT: Final = re.compile(rb"[:,\[]-?0+(?:\.0+)?e")
_SCALARS: Final = (str, int, float, uuid.UUID, enum.Enum)
_SHOWN: Final = 60
_SURELY_SHORT: Final = 2000
"""Integers of at most this many bits can be written whatever the interpreter's limit of digits."""


def encode(document: bytes | str | Mapping[str, Any]) -> bytes:
    """Return the bytes that will be stored as the document.

    Bytes are returned as they are, text is encoded as UTF-8, a mapping is serialised once. In a mapping, a UUID is
    its text, and a member of an enumeration its value.

    Raises:
        InvalidDocumentError: Text that UTF-8 cannot express, or a mapping that JSON cannot express.
    """
    if isinstance(document, bytes):
        return document
    if isinstance(document, (bytearray, memoryview)):
        return bytes(document)
    if isinstance(document, str):
        try:
            return document.encode()
        except UnicodeEncodeError as error:
            raise InvalidDocumentError(
                f"the document holds {document[error.start]!r} at character {error.start},"
                " which is not Unicode text; expected JSON text or bytes"
            ) from error
    if not isinstance(document, Mapping):
        raise InvalidDocumentError(
            f"the document is a {type(document).__name__}; expected bytes, text or a mapping"
        )
    return _serialise(document)


class TooManyPartsError(InvalidDocumentError):
    """A document holds more texts, arrays and objects than the caller allows.

    Attributes:
        possible: An upper bound on how many it holds.
    """

    def __init__(self, most: int, possible: int) -> None:
        super().__init__(f"$ holds more than {most} texts, arrays and objects")
        self.possible = possible


def parse(data: bytes, *, most_parts: int | None = None) -> dict[str, Any]:
    """Return the object that ``data`` holds; the last of several equal keys counts.

    Integers beyond the interpreter's limit become `decimal.Decimal`; numbers beyond the range of a double become
    infinities.

    Args:
        data: The bytes.
        most_parts: How many texts (including keys), arrays and objects are allowed, for data from untrusted
            sources: each takes far more memory than bytes.

    Raises:
        TooManyPartsError: There are more; nothing was parsed.
        InvalidDocumentError: Not UTF-8, not JSON, not an object, or nested deeper than `MAX_DEPTH`.
    """
    _check_structure(data, most_parts)
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise InvalidDocumentError(
            f"$: byte {error.start} is not UTF-8, expected a JSON object in UTF-8", hint="convert it to UTF-8"
        ) from error
    try:
        value = _loads(text)
    except json.JSONDecodeError as error:
        what = "UTF-16 or UTF-32" if "\0" in text[:4] else f"not JSON: {error.msg}"
        # Some of the parser's messages end in "at", because it appends the position itself.
        what = what.removesuffix(" at")
        raise InvalidDocumentError(
            f"$: {what} at line {error.lineno} column {error.colno}, expected a JSON object in UTF-8"
        ) from error
    if not isinstance(value, dict):
        raise InvalidDocumentError(f"$ is {shown(value)}, expected an object")
    return value


def encode_and_parse(
    document: bytes | str | Mapping[str, Any], *, strict: bool = True
) -> tuple[bytes, dict[str, Any]]:
    """Return the encoded document and its parsed form.

    Args:
        document: As `encode` takes it.
        strict: Refuse a document with more than `MAX_PARTS` texts, arrays and objects, unless it has 32 bytes for
            each: parsed, these take far more memory than bytes.

    Raises:
        InvalidDocumentError: For the same reasons as `encode` and `parse`.
    """
    fast = _fast(document) if type(document) is dict else None
    data = encode(document) if fast is None else fast
    most_parts = max(MAX_PARTS, len(data) // _BYTES_PER_PART) if strict else None
    if fast is None:
        return data, parse(data, most_parts=most_parts)
    import orjson

    _check_structure(fast, most_parts)
    return fast, orjson.loads(fast)  # exact for what it has written itself


def digest(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def shown(value: object) -> str:
    """Return ``value`` as an error message shows it: JSON, cut to a readable length."""
    if isinstance(value, Mapping):
        return "an object" if value else "an empty object"
    if isinstance(value, (list, tuple)):
        return f"an array of {len(value)}"
    if isinstance(value, str):
        text = json.dumps(value[:_SHOWN])
        return text if len(value) <= _SHOWN else f'{text[:-1]}…"'
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, Decimal):
        return f"an integer of {value.adjusted() + 1} digits" if value == value.to_integral_value() else str(value)
    if value is None or isinstance(value, (bool, int, float)):
        return json.dumps(value)
    return f"a {type(value).__name__}"


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer longer than the interpreter converts
        return json.loads(text, parse_int=_long_integer(sys.get_int_max_str_digits()))


def _long_integer(limit: int) -> Callable[[str], int | Decimal]:
    return lambda digits: int(digits) if len(digits.lstrip("-")) <= limit else Decimal(digits)


def _check_structure(data: bytes, most_parts: int | None = None) -> None:
    # The parser recurses, so the depth is checked first. With few brackets there is nothing to check.
    brackets = data.count(b"[") + data.count(b"{")
    possible = brackets + (data.count(b'"') + 1) // 2
    most = possible if most_parts is None else most_parts
    if brackets <= MAX_DEPTH and possible <= most:
        return
    depth = parts = 0
    for token in _TOKEN.finditer(data):
        first = data[token.start()]
        if first in b"]}":
            depth -= 1
            continue
        parts += 1
        if parts > most:
            raise TooManyPartsError(most, possible)
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidDocumentError(
                    f"$ is nested deeper than {MAX_DEPTH} levels at byte {token.start()},"
                    f" expected at most {MAX_DEPTH}"
                )


def _serialise(document: Mapping[str, Any]) -> bytes:
    fast = _fast(document)  # before anything else: what refers to itself would have no end
    if fast is not None:
        return fast
    try:
        text: str | None = _json(document)
    except (TypeError, ValueError, RecursionError) as error:
        text = _with_long_integers(document)
        if text is None:
            path, value = next(_misfits(document), ("$", document))
            raise InvalidDocumentError(f"{path} is {shown(value)}, which JSON cannot express") from error
    assert text is not None
    if not _keys_are_text(document):  # json.dumps would turn 1 and None into "1" and "null"
        path, value = next(_misfits(document))
        raise InvalidDocumentError(f"{path} is {shown(value)}, expected text")
    return text.encode()


def _json(document: Mapping[str, Any]) -> str:
    """Return the compact JSON of a mapping, in UTF-8 where that can express it."""
    text = json.dumps(document, default=_plain, ensure_ascii=False, separators=_COMPACT)
    if _SURROGATE.search(text):
        return json.dumps(document, default=_plain, separators=_COMPACT)
    return text


def _fast(document: Mapping[str, Any]) -> bytes | None:
    """Return the same bytes as `_json`, ten times as fast; None where they might differ."""
    import orjson  # only a save of a mapping needs it

    others = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
    try:
        data = orjson.dumps(document, option=orjson.OPT_PASSTHROUGH_SUBCLASS | others)
    except (TypeError, ValueError, RecursionError):  # long integers, surrogates, other types, endless nesting
        return None
    # It has another spelling for numbers that Python writes with an exponent, and none for NaN and infinities.
    digits = data.translate(_ALL_DIGITS_ALIKE)
    if b"0.0000" in data or b"0" * 17 + b".0" in digits or (b"0e" in digits and _EXPONENT.search(digits)):
        return None
    return None if b"null" in data and not _is_finite(document) else data


def _is_finite(document: Mapping[str, Any]) -> bool:
    """Whether a document of JSON's own types has neither NaN nor infinities."""
    pending: list[Any] = [document]
    while pending:
        value = pending.pop()
        if type(value) is float:
            if value - value != 0:
                return False
        elif type(value) is dict:
            pending.extend(value.values())
        elif type(value) is list:
            pending.extend(value)
    return True


def _with_long_integers(document: Mapping[str, Any]) -> str | None:
    """Serialise a mapping with integers beyond the interpreter's limit; None if it cannot be done.

    `parse` returns such integers, so what was read can be saved again. The serialiser can't be made to write given
    digits, so each such number is first replaced by a placeholder.
    """
    mark = uuid.uuid4().hex
    numbers: list[str] = []

    def marked(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: marked(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [marked(item) for item in value]
        if isinstance(value, int) and value.bit_length() > _SURELY_SHORT:
            value = Decimal(value)
        if isinstance(value, Decimal) and value == value.to_integral_value():
            numbers.append(f"{value:f}")
            return f"{mark}{len(numbers) - 1}"
        return value

    try:
        text = _json(marked(document))
    except (TypeError, ValueError, RecursionError, ArithmeticError):
        return None
    return re.sub(f'"{mark}([0-9]+)"', lambda match: numbers[int(match[1])], text)


def _plain(value: object) -> Any:
    match value:
        case Mapping():
            return dict(value)
        case uuid.UUID():
            return str(value)
        case enum.Enum():
            return value.value
    raise TypeError


def _keys_are_text(document: Mapping[str, Any]) -> bool:
    pending: list[Any] = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            if not all(isinstance(key, str) for key in value):
                return False
            pending.extend(value.values())
        elif isinstance(value, (list, tuple)):
            pending.extend(value)
    return True


def _misfits(value: object, path: str = "$", depth: int = 0) -> Iterator[tuple[str, object]]:
    """Yield what JSON cannot express: other types, keys that are not text, endless nesting."""
    if depth > MAX_DEPTH:
        yield path[:_SHOWN], value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str):
                # Cut: whole keys would add up with every level.
                yield from _misfits(item, f"{path}.{key[:_SHOWN]}", depth + 1)
            else:
                yield f"a key of {path}", key
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _misfits(item, f"{path}[{i}]", depth + 1)
    elif not (isinstance(value, _SCALARS) or value is None):
        yield path, value
