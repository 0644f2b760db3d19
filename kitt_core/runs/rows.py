"""Documents to rows: what a run's columns, benchmarks, metrics, hardware and labels are.

There is one derivation for all backends. In strict mode it is also the check that a document passes at save and
import: the first field of a wrong type raises `InvalidDocumentError` with its JSON path. In lenient mode
(adoption, copy, restore) such a field becomes None and is named in `RunRows.problems`. An absent or null field
takes KITT's default: ``""``, 0 or false; an absent time is None. Counts and ``passed`` of the run are derived from
the entries if they are absent.

What is derived takes a small multiple of the document's size: texts and names have a longest length, entries,
numbers and labels a greatest number, and the names of nested metrics, which repeat those of the objects around
them, a greatest length altogether. What is beyond is refused in strict mode; in lenient mode it is left out and
named in ``problems``, whose lines are limited too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence, Sized
from datetime import datetime
from decimal import Decimal
from functools import lru_cache, partial
from itertools import islice
from typing import Any, Final

from attrs import evolve

from kitt_core.errors import InvalidDocumentError
from kitt_core.runs.codec import shown
from kitt_core.runs.model import BenchmarkRow, HardwareRow, MetricRow, RunRow, RunRows
from kitt_core.runs.timestamps import parse_timestamp

__all__ = [
    "MAX_ENTRIES",
    "MAX_LABELS",
    "MAX_NUMBERS",
    "MAX_TEXT",
    "clean_text",
    "counts_of",
    "derive_rows",
    "entries_of",
]

MAX_TEXT: Final = 1000
"""How many characters a text of a row has at most: a benchmark's or metric's name, a label, a fingerprint, …"""
MAX_ENTRIES: Final = 100_000
"""How many entries a run has at most."""
MAX_NUMBERS: Final = 500_000
"""How many numbers the metrics of all entries have at most."""
MAX_LABELS: Final = 10_000
"""How many labels a run has at most."""

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_LARGEST: Final = 2**31 - 1
_DERIVED: Final = ("passed", "total_benchmarks", "passed_count", "failed_count")
_FINGERPRINT_IDS: Final = ("machine", "software")
_NUMBERS: Final = frozenset({int, float, Decimal})
_PREFIX_OF_A_NUMBER: Final = 32
"""The bytes that nesting may put before the name of each metric; ``by_concurrency.16.ttft_ms.`` has 27."""
_MOST_LONG_PREFIXES: Final = 1 << 20
"""The bytes beyond these, in all names of a document together."""
_MOST_PROBLEMS: Final = 100
_SHOWN_NAME: Final = 60


def derive_rows(document: Mapping[str, Any], *, strict: bool = True) -> RunRows:
    """Return the rows of ``document``.

    Raises:
        InvalidDocumentError: In strict mode, a field has a wrong type or a value that no column can hold.
    """
    reader = _Reader(strict)
    run = _run(document, reader)
    benchmarks = tuple(_benchmarks(document, reader))
    if any(document.get(name) is None for name in _DERIVED):
        derived: dict[str, Any] = {**counts_of(document, benchmarks)}
        derived["passed"] = derived["passed_count"] > 0 and derived["failed_count"] == 0
        run = evolve(run, **{name: derived[name] for name in _DERIVED if document.get(name) is None})
    return RunRows(
        run=run,
        benchmarks=benchmarks,
        hardware=_hardware(document, reader),
        labels=tuple(_labels(document, reader).items()),
        problems=reader.all_problems(),
    )


def counts_of(document: Mapping[str, Any], benchmarks: Sequence[BenchmarkRow]) -> dict[str, int]:
    """Return the counts that the entries of a document give; one that was skipped neither passed nor failed.

    Args:
        document: The document.
        benchmarks: The rows of its entries.
    """
    entries = entries_of(document)
    # Entries beyond `MAX_ENTRIES` have no row.
    measured = [row for row, entry in zip(benchmarks, entries, strict=False) if not entry.get("skipped")]
    passed = sum(row.passed is True for row in measured)
    return {
        "total_benchmarks": len(entries),
        "passed_count": passed,
        "failed_count": len(measured) - passed,
    }


def entries_of(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the entries of a document that `derive_rows` gives rows, in the same order, up to `MAX_ENTRIES`.

    A document that was stored with ``strict=False`` may have more, which have no rows.
    """
    results = document.get("results")
    return [entry for entry in results if isinstance(entry, Mapping)] if isinstance(results, list) else []


def clean_text(text: str) -> str:
    """Return ``text`` as rows hold it: U+0000 and lone surrogates, which databases refuse, become U+FFFD."""
    if text.isascii() and "\0" not in text:
        return text
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


_clean_name = lru_cache(maxsize=4096)(clean_text)  # the same few names in every entry of every run
_metric_row = partial(tuple.__new__, MetricRow)  # a named tuple's own __new__ is Python, and takes twice as long


class _Reader:
    """Reads fields of the expected types; a field that does not fit raises or is noted."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.numbers = 0
        self._problems: list[str] = []
        self._more_problems = 0
        self._long_prefixes = 0

    def misfit(self, path: str, value: object, wanted: str) -> None:
        self.refuse(f"{path} is {shown(value)}, expected {wanted}")

    def refuse(self, line: str) -> None:
        if self.strict:
            raise InvalidDocumentError(line)
        if len(self._problems) < _MOST_PROBLEMS:
            self._problems.append(line)
        else:
            self._more_problems += 1

    def all_problems(self) -> tuple[str, ...]:
        more = f"{self._more_problems} more fields do not fit"
        return (*self._problems, *([more] if self._more_problems else ()))

    def text(self, parent: Mapping[str, Any], name: str, path: str, default: str | None = "") -> str | None:
        value = parent.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            self.misfit(f"{path}.{name}", value, "text")
        elif self.is_short(f"{path}.{name}", value):
            return clean_text(value)
        return None

    def is_short(self, path: str, text: str) -> bool:
        if len(text) <= MAX_TEXT:
            return True
        self.refuse(f"{path} has {len(text)} characters, expected at most {MAX_TEXT}")
        return False

    def first(self, most: int, path: str, items: Sized, what: str) -> int:
        """Return how many of ``items`` are read."""
        if len(items) > most:
            self.refuse(f"{path} has {len(items)} {what}, expected at most {most}")
        return min(len(items), most)

    def takes_numbers(self, metrics: Mapping[str, Any], prefix: str, path: str, before: int) -> bool:
        """Return whether the numbers directly in ``metrics`` are within the limits of the whole document.

        Args:
            metrics: An object of metrics.
            prefix: What their names begin with.
            path: Where the entry is.
            before: How many numbers the entry has so far.
        """
        beyond = len(prefix) * (1 if prefix.isascii() else 4) - _PREFIX_OF_A_NUMBER
        if beyond <= 0 and self.numbers + before + len(metrics) <= MAX_NUMBERS:
            return True
        count = sum(map(_NUMBERS.__contains__, map(type, metrics.values())))
        if self.numbers + before + count > MAX_NUMBERS:
            self.refuse(f"{path}.metrics: all entries together have more than {MAX_NUMBERS} numbers")
            return False
        size = max(0, beyond) * count
        if self._long_prefixes + size > _MOST_LONG_PREFIXES:
            self.refuse(
                f"{_place(path, prefix)}: nesting makes the metrics' names longer than the document allows,"
                " expected shorter names around so many numbers"
            )
            return False
        self._long_prefixes += size
        return True

    def required_text(self, parent: Mapping[str, Any], name: str, path: str) -> str | None:
        if parent.get(name) is None and self.strict:
            what = "is null" if name in parent else "is missing"
            raise InvalidDocumentError(f"{path}.{name} {what}, expected text")
        return self.text(parent, name, path)

    def flag(self, parent: Mapping[str, Any], name: str, path: str) -> bool | None:
        value = parent.get(name)
        if value is None:
            return False
        if isinstance(value, bool):
            return value
        self.misfit(f"{path}.{name}", value, "true or false")
        return None

    def integer(self, parent: Mapping[str, Any], name: str, path: str, default: int | None = 0) -> int | None:
        value = parent.get(name)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and -_LARGEST - 1 <= value <= _LARGEST:
            return value
        self.misfit(f"{path}.{name}", value, f"an integer of at most {_LARGEST}")
        return None

    def number(self, parent: Mapping[str, Any], name: str, path: str) -> float | None:
        value = parent.get(name)
        if value is None:
            return 0.0
        if _is_number(value):
            double = _double(value)
            return None if double is None else double + 0.0  # -0.0 is 0.0, which is what SQLite makes of it
        self.misfit(f"{path}.{name}", value, "a number")
        return None

    def time(self, parent: Mapping[str, Any], name: str, path: str) -> datetime | None:
        value = parent.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str):
            try:
                return parse_timestamp(value)
            except ValueError:
                pass
        self.misfit(f"{path}.{name}", value, "an ISO 8601 time such as 2025-01-31T12:00:00+00:00")
        return None

    def member(self, parent: Mapping[str, Any], name: str, path: str) -> Mapping[str, Any] | None:
        """Return an optional object; null counts as absent."""
        value = parent.get(name)
        if value is None or isinstance(value, Mapping):
            return value
        self.misfit(f"{path}.{name}", value, "an object")
        return None


def _run(document: Mapping[str, Any], reader: _Reader) -> RunRow:
    return RunRow(
        model=reader.required_text(document, "model", "$"),
        engine=reader.required_text(document, "engine", "$"),
        suite_name=reader.text(document, "suite_name", "$"),
        timestamp=reader.time(document, "timestamp", "$"),
        passed=reader.flag(document, "passed", "$"),
        total_benchmarks=reader.integer(document, "total_benchmarks", "$"),
        passed_count=reader.integer(document, "passed_count", "$"),
        failed_count=reader.integer(document, "failed_count", "$"),
        total_time_seconds=reader.number(document, "total_time_seconds", "$"),
        kitt_version=reader.text(document, "kitt_version", "$"),
    )


def _benchmarks(document: Mapping[str, Any], reader: _Reader) -> Iterator[BenchmarkRow]:
    results = document.get("results", [])
    if not isinstance(results, list):
        reader.misfit("$.results", results, "an array of objects")
        return
    read = reader.first(MAX_ENTRIES, "$.results", results, "entries")
    for position, entry in enumerate(islice(results, read)):
        path = f"$.results[{position}]"
        if not isinstance(entry, Mapping):
            reader.misfit(path, entry, "an object")
            continue
        yield BenchmarkRow(
            test_name=reader.text(entry, "test_name", path),
            test_version=reader.text(entry, "test_version", path, "1.0.0"),
            run_number=reader.integer(entry, "run_number", path, 1),
            passed=_entry_passed(entry, path, reader),
            timestamp=reader.time(entry, "timestamp", path),
            metrics=_metrics(entry, path, reader),
        )


def _entry_passed(entry: Mapping[str, Any], path: str, reader: _Reader) -> bool | None:
    passed = reader.flag(entry, "passed", path)
    return None if entry.get("skipped") else passed


def _metrics(entry: Mapping[str, Any], path: str, reader: _Reader) -> tuple[MetricRow, ...]:
    metrics = entry.get("metrics", {})
    if not isinstance(metrics, Mapping):
        reader.misfit(f"{path}.metrics", metrics, "an object")
        return ()
    numbers: list[MetricRow] = []
    _collect_numbers(metrics, "", path, reader, numbers)
    reader.numbers += len(numbers)
    return tuple(numbers)


def _collect_numbers(
    metrics: Mapping[str, Any], prefix: str, path: str, reader: _Reader, numbers: list[MetricRow]
) -> None:
    # The sum is the cheaper question, and mostly answers it.
    if sum(map(len, metrics), len(prefix)) > MAX_TEXT and len(max(metrics, key=len)) + len(prefix) > MAX_TEXT:
        metrics = _with_short_names(metrics, prefix, path, reader)
    if not reader.takes_numbers(metrics, prefix, path, len(numbers)):
        metrics = {name: value for name, value in metrics.items() if type(value) is dict}
    # A run has hundreds of numbers, so the parser's exact types are compared, the most common one first.
    for name, value in metrics.items():
        kind = type(value)
        if kind is float:
            number = value if value == value else None  # only NaN differs from itself
            numbers.append(_metric_row((prefix + _clean_name(name), number)))
        elif kind is dict:
            _collect_numbers(value, f"{prefix}{_clean_name(name)}.", path, reader, numbers)
        elif kind is int or kind is Decimal:
            numbers.append(_metric_row((prefix + _clean_name(name), _double(value))))


def _with_short_names(metrics: Mapping[str, Any], prefix: str, path: str, reader: _Reader) -> Mapping[str, Any]:
    """Return ``metrics`` without what would have too long a name; what has no number has no name."""
    short: dict[str, Any] = {}
    for name, value in metrics.items():
        length = len(prefix) + len(name)
        if length <= MAX_TEXT:
            short[name] = value
        elif _has_number(value):
            wanted = f"expected a metric's name of at most {MAX_TEXT} characters"
            reader.refuse(f"{_place(path, prefix + name[:_SHOWN_NAME])} has {length} characters, {wanted}")
    return short


def _has_number(value: object) -> bool:
    if type(value) is dict:
        return any(map(_has_number, value.values()))
    return type(value) in _NUMBERS


def _place(path: str, name: str) -> str:
    name = clean_text(name).rstrip(".")
    return f"{path}.metrics.{name if len(name) <= _SHOWN_NAME else name[:_SHOWN_NAME] + '…'}"


def _hardware(document: Mapping[str, Any], reader: _Reader) -> HardwareRow | None:
    system = reader.member(document, "system_info", "$")
    if not system:
        return None
    gpu = reader.member(system, "gpu", "$.system_info")
    cpu = reader.member(system, "cpu", "$.system_info") or {}
    gpu_fields: tuple[str | None, int | None, int | None] = (None, None, None)
    if gpu:
        gpu_path = "$.system_info.gpu"
        gpu_fields = (
            reader.text(gpu, "model", gpu_path, None),
            reader.integer(gpu, "vram_gb", gpu_path, None),
            reader.integer(gpu, "count", gpu_path, 1),
        )
    return HardwareRow(
        *gpu_fields,
        cpu_model=reader.text(cpu, "model", "$.system_info.cpu", None),
        cpu_cores=reader.integer(cpu, "cores", "$.system_info.cpu", None),
        ram_gb=reader.integer(system, "ram_gb", "$.system_info", None),
        environment_type=reader.text(system, "environment_type", "$.system_info", None),
        fingerprint=reader.text(system, "fingerprint", "$.system_info", None),
    )


def _labels(document: Mapping[str, Any], reader: _Reader) -> dict[str, str]:
    """Return the labels; an explicit label overrides the fingerprint's id of the same name."""
    labels: dict[str, str] = {}
    system = document.get("system_info")
    if isinstance(system, Mapping):
        labels |= {
            key: clean_text(value)
            for key in _FINGERPRINT_IDS
            if isinstance(value := system.get(key), str) and reader.is_short(f"$.system_info.{key}", value)
        }
    given = document.get("labels")
    if isinstance(given, Mapping):
        read = reader.first(MAX_LABELS, "$.labels", given, "labels")
        for key, value in islice(given.items(), read):
            path = f"$.labels.{key[:_SHOWN_NAME]}"
            text = _label_text(value)
            if text is None:  # other tools may use the key differently
                continue
            if reader.is_short(f"the name of {path}", key) and reader.is_short(path, text):
                labels[clean_text(key)] = clean_text(text)
    return labels


def _label_text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float, Decimal)) else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _double(value: float | Decimal) -> float | None:
    try:
        double = float(value)
    except OverflowError:
        double = math.inf if value > 0 else -math.inf
    return None if math.isnan(double) else double
