"""Queries: filters, orders and cursors, as checked values; groups and statistics are in `runs.grouping`.

Backends get these values and never a caller's text, so that a typo raises `UnknownFieldError` and a bad value
`InvalidQueryError` before any store is touched.
"""

from __future__ import annotations

import base64
import contextlib
import difflib
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, Literal, cast, get_args

from attrs import field, fields, frozen

from kitt_core.errors import InvalidQueryError, UnknownFieldError
from kitt_core.runs.codec import shown
from kitt_core.runs.rows import clean_text
from kitt_core.runs.timestamps import parse_timestamp

__all__ = [
    "ORDER_FIELDS",
    "Cursor",
    "Filters",
    "MetricCondition",
    "Operator",
    "Order",
    "RunFilter",
    "check_page",
    "nearest",
    "sought_id",
]

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
Patterns = tuple[str, ...]
OrderKey = str | float | None

ORDER_FIELDS: Final = ("timestamp", "model", "engine", "suite_name", "total_time_seconds", "created_at")
"""What a listing may be ordered by, in addition to ``metric:<name>``."""

_LARGEST_COUNT: Final = 2**62
_LONGEST_PATTERN: Final = 10_000
_MOST_TESTS: Final = 200
"""Limit for patterns with ``*`` in one field, and for metric conditions: databases limit nested expressions."""

_CONDITION: Final = re.compile(
    r"""\s*+(?:"(?P<quoted>(?:[^"]|"")*+)"|(?P<name>.*[^\s<>=!]))"""
    r"\s*+(?P<operator><=|>=|!=|==|=|<|>)\s*+(?P<value>[^\s<>=!]++)\s*+",
    re.DOTALL,
)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return a hint for a misspelled ``name``: the closest known name, or all of them; None if none is known."""
    names = list(known)
    lowered = {name.lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(name.lower(), lowered, 1)
    return f"did you mean {lowered[close[0]]}?" if close else f"known: {', '.join(names)}" if names else None


def _patterns(value: str | Iterable[str] | None) -> Patterns | None:
    if value is None:
        return None
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, Iterable) or isinstance(values, (bytes, Mapping)):
        raise InvalidQueryError(f"a filter holds {value!r}, expected text or a sequence of texts")
    patterns = tuple(values)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise InvalidQueryError(f"a filter holds {pattern!r}, expected text")
        if "*" in pattern and len(pattern) > _LONGEST_PATTERN:
            raise InvalidQueryError(
                f"a pattern has {len(pattern)} characters, expected at most {_LONGEST_PATTERN}"
            )
    _check_number([pattern for pattern in patterns if "*" in pattern], "patterns with * in one filter")
    return tuple(dict.fromkeys(clean_text(pattern) for pattern in patterns))


def _check_number(tests: Sequence[object], what: str) -> None:
    if len(tests) > _MOST_TESTS:
        raise InvalidQueryError(f"{len(tests)} {what}, expected at most {_MOST_TESTS}")


def _instant(value: str | date | None) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, (str, date)):
        try:
            return parse_timestamp(value)
        except ValueError:
            pass
    raise InvalidQueryError(
        f"since or until is {value!r}, expected an ISO 8601 date or time",
        hint="write 2025-01-31 or 2025-01-31T12:00:00Z",
    )


def _passed(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise InvalidQueryError(f"filter passed is {value!r}, expected True or False")


def _labels(value: object) -> tuple[tuple[str, Patterns], ...] | None:
    if value is None:
        return None
    if isinstance(value, tuple):  # converted already: attrs.evolve passes it again
        with contextlib.suppress(TypeError, ValueError):
            value = dict(value)
    if not isinstance(value, Mapping):
        raise InvalidQueryError(f"filter labels is {value!r}, expected a mapping of label to value")
    return tuple((clean_text(str(key)), _patterns(wanted) or ()) for key, wanted in value.items())


@frozen
class MetricCondition:
    """A bound on a metric; a run meets it if any of its entries does.

    Attributes:
        name: ``avg_tps`` (of any benchmark) or ``throughput/avg_tps``.
        operator: How the entry's value must compare to ``value``.
        value: A finite number. Entries that are not finite meet no condition.
    """

    name: str = field(converter=clean_text)
    operator: Operator
    value: float

    def __attrs_post_init__(self) -> None:
        known = get_args(Operator)
        if self.operator not in known:
            raise InvalidQueryError(f"operator is {self.operator!r}, expected one of {' '.join(known)}")
        number = isinstance(self.value, (int, float)) and not isinstance(self.value, bool)
        if not (number and abs(self.value) <= sys.float_info.max):
            raise InvalidQueryError(f"metric {self.name} is compared to {self.value!r}, expected a finite number")
        # Metrics are doubles, and databases compare them as doubles: 2**53 + 1 is 2**53 everywhere.
        object.__setattr__(self, "value", float(self.value))

    @classmethod
    def parse(cls, text: str) -> MetricCondition:
        """Read ``avg_tps>40``: what precedes the last operator is the name.

        A name in double quotes may be any text; a double quote in it is doubled.

        Raises:
            InvalidQueryError: It is not name, operator and finite number.
        """
        match = _CONDITION.fullmatch(text)
        try:
            value = float(match["value"]) if match else math.nan
        except ValueError:
            value = math.nan
        if match is None or not math.isfinite(value):
            raise InvalidQueryError(
                f"metric condition {text!r} cannot be read, expected name, operator (= != < <= > >=) and number",
                hint='for example avg_tps>40, throughput/avg_tps>=40 or "any name">0',
            )
        operator = "=" if match["operator"] == "==" else match["operator"]
        name = match["name"] if match["quoted"] is None else match["quoted"].replace('""', '"')
        return cls(name, cast("Operator", operator), value)

    def holds(self, value: float | None) -> bool:
        """Whether an entry with that value meets the condition."""
        if value is None or not math.isfinite(value):
            return False
        match self.operator:
            case "=":
                return value == self.value
            case "!=":
                return value != self.value
            case "<":
                return value < self.value
            case "<=":
                return value <= self.value
            case ">":
                return value > self.value
            case _:
                return value >= self.value


def _conditions(value: object) -> tuple[MetricCondition, ...] | None:
    if value is None:
        return None
    values = [value] if isinstance(value, (str, MetricCondition)) else value
    if not isinstance(values, Iterable) or isinstance(values, (bytes, Mapping)):
        raise InvalidQueryError(f"filter metrics is {value!r}, expected conditions such as avg_tps>40")
    conditions = tuple(
        item if isinstance(item, MetricCondition) else MetricCondition.parse(str(item)) for item in values
    )
    _check_number(conditions, "metric conditions")
    return conditions


def _search(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else clean_text(value)
    raise InvalidQueryError(f"filter search is {value!r}, expected text")


@frozen(kw_only=True)
class RunFilter:
    """Which runs to select: a run must match every field that is not None.

    Text fields take one text or a sequence of alternatives; text is case-sensitive and only ``*`` is special.

    Attributes:
        id: The run's id.
        model: The document's ``model``.
        engine: The document's ``engine``.
        suite_name: The document's ``suite_name``.
        passed: Whether the run passed.
        kitt_version: The version that produced the document.
        since: The run's timestamp is at or after it (ISO text, date or datetime; naive is UTC).
        until: The run's timestamp is before it.
        gpu_model: ``system_info.gpu.model``.
        environment_type: ``system_info.environment_type``.
        fingerprint: ``system_info.fingerprint``.
        labels: A mapping of label to value or values; all of the labels must match.
        sha256: The hexadecimal SHA-256 of the document's bytes.
        metrics: Conditions such as ``avg_tps>40``; all of them must hold, each for any entry of the run.
        search: Part of the model, engine, suite, GPU or fingerprint; case is ignored.
    """

    id: Patterns | None = field(default=None, converter=_patterns)
    model: Patterns | None = field(default=None, converter=_patterns)
    engine: Patterns | None = field(default=None, converter=_patterns)
    suite_name: Patterns | None = field(default=None, converter=_patterns)
    passed: bool | None = field(default=None, converter=_passed)
    kitt_version: Patterns | None = field(default=None, converter=_patterns)
    since: datetime | None = field(default=None, converter=_instant)
    until: datetime | None = field(default=None, converter=_instant)
    gpu_model: Patterns | None = field(default=None, converter=_patterns)
    environment_type: Patterns | None = field(default=None, converter=_patterns)
    fingerprint: Patterns | None = field(default=None, converter=_patterns)
    labels: tuple[tuple[str, Patterns], ...] | None = field(default=None, converter=_labels)
    sha256: Patterns | None = field(default=None, converter=_patterns)
    metrics: tuple[MetricCondition, ...] | None = field(default=None, converter=_conditions)
    search: str | None = field(default=None, converter=_search)

    @classmethod
    def of(cls, filters: Filters) -> RunFilter:
        """Return the filter for what a caller passed: a filter, a mapping of its fields, or None.

        Raises:
            UnknownFieldError: The mapping has a key that is not a field.
            InvalidQueryError: A value cannot be read.
        """
        if filters is None:
            return cls()
        if isinstance(filters, RunFilter):
            return filters
        if not isinstance(filters, Mapping):
            raise InvalidQueryError(f"filters are {filters!r}, expected a RunFilter or a mapping of its fields")
        known = [attribute.name for attribute in fields(cls)]
        for name in filters:
            if name not in known:
                raise UnknownFieldError(f"unknown filter field {name!r}", hint=nearest(str(name), known))
        return cls(**filters)


Filters = RunFilter | Mapping[str, Any] | None


@frozen
class Order:
    """How a listing is ordered; missing values come last either way, the id breaks ties.

    Attributes:
        field: One of `ORDER_FIELDS`, or ``metric``.
        metric: The metric's name where ``field`` is ``metric``: the run's mean over its finite entries.
        descending: Greatest first; ties are then in descending order of ids.
    """

    field: str
    metric: str | None = None
    descending: bool = False

    @classmethod
    def parse(cls, text: str) -> Order:
        """Read ``timestamp``, ``-timestamp`` or ``-metric:avg_tps``.

        Raises:
            UnknownFieldError: There is no such order.
        """
        if not isinstance(text, str):
            raise InvalidQueryError(f"order is {text!r}, expected text such as -timestamp")
        name = text.removeprefix("-")
        descending = name != text
        if name.startswith("metric:") and len(name) > len("metric:"):
            return cls("metric", clean_text(name.removeprefix("metric:")), descending)
        if name in ORDER_FIELDS:
            return cls(name, None, descending)
        raise UnknownFieldError(f"unknown order {text!r}", hint=nearest(name, [*ORDER_FIELDS, "metric:<name>"]))

    def __str__(self) -> str:
        name = self.field if self.metric is None else f"metric:{self.metric}"
        return f"-{name}" if self.descending else name


@frozen
class Cursor:
    """Where a page ended: the order's value and the id of its last run."""

    order: str
    key: OrderKey
    run_id: str

    def encode(self) -> str:
        """Return the cursor as one opaque, URL-safe word."""
        packed = json.dumps([self.order, self.key, self.run_id], separators=(",", ":"))
        return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, order: Order) -> Cursor:
        """Read what `encode` wrote.

        Raises:
            InvalidQueryError: It is not a cursor, or belongs to another order.
        """
        try:
            packed = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            cursor = cls(*packed)
            usable = isinstance(cursor.run_id, str) and _fits(cursor.key, order)
        except (ValueError, TypeError, RecursionError):
            usable = False
        if not usable or cursor.order != str(order):
            raise InvalidQueryError(
                f"cursor {str(text)[:40]!r} does not belong to a listing ordered by {order}",
                hint="use the next_cursor of a page with the same order",
            )
        return cursor


def _fits(key: object, order: Order) -> bool:
    """Whether a cursor's key is a value that the order can have."""
    if key is None:
        return True
    if order.field in {"metric", "total_time_seconds"}:
        return isinstance(key, (int, float)) and not isinstance(key, bool) and math.isfinite(key)
    if not isinstance(key, str):
        return False
    if order.field in {"timestamp", "created_at"}:
        parse_timestamp(key)
    return True


def sought_id(run_id: object) -> str:
    """Return the id of a run to look for, in the form that rows hold.

    Raises:
        InvalidQueryError: It is not text.
    """
    if not isinstance(run_id, str):
        raise InvalidQueryError(f"run id is {shown(run_id)}, expected text")
    return clean_text(run_id)


def check_page(limit: int | None, offset: int) -> None:
    """Raise `InvalidQueryError` if a page's bounds are not counts."""
    for name, value in (("limit", limit), ("offset", offset)):
        if value is None and name == "limit":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_COUNT:
            raise InvalidQueryError(f"{name} is {shown(value)}, expected a number of runs, 0 to {_LARGEST_COUNT}")
