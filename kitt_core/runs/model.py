"""The values that packages exchange: frozen, typed, without I/O.

What a caller gets of a stored run (`StoredRun`, `RunSummary`, `Attachment`), what a store reports about itself
(`SchemaStatus`, `Finding`), and the rows that are derived from every document (`RunRows`). Times are always
aware datetimes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import BinaryIO, Generic, NamedTuple, TypeVar, overload

from attrs import field, frozen

__all__ = [
    "Attachment",
    "BenchmarkRow",
    "CheckedRun",
    "Finding",
    "HardwareRow",
    "MetricRow",
    "Page",
    "Progress",
    "RunRow",
    "RunRows",
    "RunSummary",
    "SchemaState",
    "SchemaStatus",
    "Severity",
    "StoredRun",
]

T = TypeVar("T")

Progress = Callable[[int, int | None], None]
"""Called in the caller's thread with how much is done and how much there is (None: unknown)."""


@frozen
class RunRow:
    """The row of a run, as `kitt_core.runs.rows` derives it; None where a value is absent or does not fit."""

    model: str | None
    engine: str | None
    suite_name: str | None
    timestamp: datetime | None
    passed: bool | None
    total_benchmarks: int | None
    passed_count: int | None
    failed_count: int | None
    total_time_seconds: float | None
    kitt_version: str | None


class MetricRow(NamedTuple):
    """One number of a benchmark; ``value`` is None for NaN and may be infinite.

    A tuple, because a run has hundreds of them: creating as many frozen attrs objects would take longer than the
    rest of the derivation.
    """

    name: str
    value: float | None


class BenchmarkRow(NamedTuple):
    """One entry of ``results`` with its metrics; the same benchmark may occur several times."""

    test_name: str | None
    test_version: str | None
    run_number: int | None
    passed: bool | None
    timestamp: datetime | None
    metrics: tuple[MetricRow, ...]


@frozen
class HardwareRow:
    """What ``system_info`` says about the machine."""

    gpu_model: str | None
    gpu_vram_gb: int | None
    gpu_count: int | None
    cpu_model: str | None
    cpu_cores: int | None
    ram_gb: int | None
    environment_type: str | None
    fingerprint: str | None


@frozen
class RunRows:
    """All rows of one document.

    ``labels`` are the pairs of the document's ``labels`` object and the ids of its fingerprint. ``problems`` has
    one line for each field that did not fit and became None; it is empty for a document that was checked strictly.
    """

    run: RunRow
    benchmarks: tuple[BenchmarkRow, ...]
    hardware: HardwareRow | None
    labels: tuple[tuple[str, str], ...]
    problems: tuple[str, ...] = ()


@frozen
class Attachment:
    """A file that belongs to a run, such as ``results_chunk_0000.jsonl.gz``.

    Attributes:
        name: One file name, without a directory.
        size: How many bytes the content has.
        open: Opens the content for reading; each call starts at the beginning. The caller closes it.
        sha256: The digest of what was saved, in hexadecimal, if the store knows it. Whoever copies the file to
            another place compares it, so that damage isn't saved there as if it were the content.
    """

    name: str
    size: int
    open: Callable[[], BinaryIO] = field(eq=False, repr=False)
    sha256: str | None = field(default=None, eq=False)


@frozen
class CheckedRun:
    """A run on its way into a store, as `kitt_core.runs.check_run` returns it: checked, with id and rows."""

    id: str
    document: bytes = field(repr=False)
    created_at: datetime
    sha256: str
    rows: RunRows = field(repr=False)
    attachments: tuple[Attachment, ...] = ()


@frozen
class StoredRun:
    """A run as a store holds it: the document's bytes and what the store knows about them.

    Attributes:
        id: The run's id.
        document: The bytes that were saved.
        created_at: When they were saved (UTC).
        sha256: The hexadecimal SHA-256 that was recorded when they were saved; `verify` compares it.
    """

    id: str
    document: bytes = field(repr=False)
    created_at: datetime
    sha256: str


@frozen
class RunSummary:
    """One line of a listing, read from rows or derived from the document."""

    id: str
    model: str | None
    engine: str | None
    suite_name: str | None
    timestamp: datetime | None
    passed: bool | None
    total_benchmarks: int | None
    passed_count: int | None
    failed_count: int | None
    total_time_seconds: float | None
    kitt_version: str | None
    created_at: datetime
    gpu_model: str | None
    fingerprint: str | None

    @property
    def skipped_count(self) -> int | None:
        """How many entries were skipped: they neither passed nor failed."""
        if self.total_benchmarks is None or self.passed_count is None or self.failed_count is None:
            return None
        return max(0, self.total_benchmarks - self.passed_count - self.failed_count)


class Page(Sequence[T], Generic[T]):
    """A part of a listing.

    Attributes:
        next_cursor: Pass it as ``after`` to get the next page; None on the last one.
    """

    __slots__ = ("_items", "next_cursor")

    def __init__(self, items: Sequence[T], next_cursor: str | None = None) -> None:
        self._items = tuple(items)
        self.next_cursor = next_cursor

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # equal to lists, which have no hash either

    def __repr__(self) -> str:
        return f"Page({list(self._items)!r}, next_cursor={self.next_cursor!r})"


class SchemaState(enum.StrEnum):
    """How a store's schema compares to the one that this KITT needs."""

    MISSING = "missing"
    OLD = "old"
    CURRENT = "current"
    NEW = "new"
    FOREIGN = "foreign"
    """Written by an older tool, or not a store at all; ``notes`` says which."""


@frozen
class SchemaStatus:
    """What ``kitt storage status`` shows.

    Attributes:
        version: The schema version found, None if there is none.
        newest: The version that this KITT writes.
        pending: Names of the migrations that ``migrate`` would apply, in order.
        state: How the two compare.
        notes: What is unusual about the store, one line each.
        size_bytes: Bytes on disk, None if unknown.
    """

    version: int | None
    newest: int
    pending: tuple[str, ...] = ()
    state: SchemaState = SchemaState.CURRENT
    notes: tuple[str, ...] = ()
    size_bytes: int | None = None


class Severity(enum.StrEnum):
    """How bad a finding of ``verify`` is."""

    DAMAGE = "damage"
    """The store contradicts itself: something was lost or changed."""
    NOTICE = "notice"
    """The store is intact, but the run deserves a look."""


@frozen
class Finding:
    """One thing that ``verify`` found; ``run_id`` is None if it does not concern a single run."""

    run_id: str | None
    severity: Severity
    what: str
