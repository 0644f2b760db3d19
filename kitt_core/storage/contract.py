"""The storage contract: what a store promises, and what a backend has to implement.

`ResultStore` keeps three audiences apart. *Users* call ``save_result``, ``get_document``, ``list_results`` and
so on. *Backends* implement ``write_runs``, ``get_document``, ``scan`` and ``close`` and override whatever they can
do better than the defaults, which read everything through ``scan``. *Checks* (is it a valid document, which id
does it get, is it stored already) are made here, once for all backends.
"""

from __future__ import annotations

import abc
import enum
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from kitt_core.errors import (
    InvalidDocumentError,
    RunExistsError,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from kitt_core.files import obstacle
from kitt_core.runs import codec
from kitt_core.runs.checking import check_run, once_each
from kitt_core.runs.grouping import Aggregation
from kitt_core.runs.model import (
    Attachment,
    CheckedRun,
    Finding,
    Page,
    Progress,
    RunSummary,
    SchemaStatus,
    StoredRun,
)
from kitt_core.runs.query import Filters, Order, RunFilter, check_page, sought_id
from kitt_core.storage import fallbacks, verification

__all__ = ["Capability", "ResultStore"]


class Capability(enum.StrEnum):
    """Something that not every backend can do: tested by the contract if declared, refused by the store if not."""

    DELETE = "DELETE"
    """``delete_result`` removes a run."""
    ATOMIC_BATCH = "ATOMIC_BATCH"
    """``save_results`` stores all or nothing, even in a crash."""
    MIGRATE = "MIGRATE"
    """The store has a schema of several versions; ``migrate`` upgrades it."""
    CONCURRENT = "CONCURRENT"
    """Several processes may write at the same time."""
    ATTACHMENTS = "ATTACHMENTS"
    """Files are kept along with a document."""
    HISTORY = "HISTORY"
    """A deleted run stays in the store's history."""


class ResultStore(abc.ABC):
    """One open store. A context manager; several threads may use it.

    A call that raises leaves the store as it was, and the store stays usable. Unless stated otherwise, every
    method raises `StoreUnavailableError` if the store can't be reached or used, and a `SchemaError` if its schema
    does not fit.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset()

    # What a backend must implement.

    @abc.abstractmethod
    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        """Store checked runs (usually one) durably, or raise and store none of them.

        Called only by the ``save_…`` methods, after all checks; the ids in ``checked`` are distinct. With
        ``ATOMIC_BATCH`` even a crash leaves all of them or none.

        Raises:
            RunExistsError: One of the ids is taken, whatever the bytes; the caller compares them.
        """

    @abc.abstractmethod
    def get_document(self, run_id: str) -> bytes | None:
        """Return the bytes that were saved, None if there is no such run."""

    @abc.abstractmethod
    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        """Yield the runs that match, one document in memory at a time.

        No transaction is open between two runs: a save inside the loop works, and no run is yielded twice.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Release everything; may be called twice, whatever the state of the schema."""

    # Saving.

    def save_result(
        self,
        document: bytes | str | Mapping[str, Any],
        *,
        run_id: str | None = None,
        created_at: datetime | None = None,
        attachments: Iterable[Attachment] = (),
        strict: bool = True,
    ) -> str:
        """Store one run and return its id.

        The same id with the same bytes changes nothing; without an id the run is always stored.

        Args:
            document: The run; bytes are kept verbatim, a mapping is serialised once.
            run_id: 1 to 128 characters of ``A-Za-z0-9._-``; a new UUIDv7 by default.
            created_at: Now by default; a naive time is read as UTC.
            attachments: Files to keep along with the document.
            strict: False accepts any JSON object (for ``copy`` and ``restore``).

        Raises:
            InvalidDocumentError: The document is refused.
            RunExistsError: The id belongs to a run with other bytes.
            UnsupportedOperationError: Attachments were given, and the store can't keep any.
        """
        run = check_run(document, run_id=run_id, created_at=created_at, attachments=attachments, strict=strict)
        self.save_checked([run])
        return run.id

    def save_results(self, documents: Iterable[bytes | str | Mapping[str, Any]]) -> list[str]:
        """Store several runs and return their ids, or store none of them.

        Raises:
            InvalidDocumentError: One is refused; the message says which.
        """
        runs = []
        for position, document in enumerate(documents):
            try:
                runs.append(check_run(document))
            except InvalidDocumentError as error:
                raise InvalidDocumentError(f"document {position}: {error.message}", hint=error.hint) from error
        self.save_checked(runs)
        return [run.id for run in runs]

    def save_checked(self, runs: Sequence[CheckedRun]) -> None:
        """Store runs that `check_run` returned, except those that are stored already with the same bytes.

        Raises:
            RunExistsError: An id belongs to a run with other bytes; nothing is stored.
            UnsupportedOperationError: Attachments were given, and the store can't keep any.
        """
        if any(run.attachments for run in runs):
            self.require(Capability.ATTACHMENTS, "keep attachments")
        wanted = once_each(runs)
        try:
            if wanted:
                self.write_runs(wanted)
        except RunExistsError:
            # Only now, because a save usually has a new id and needs no read.
            missing = [run for run in wanted if not self.__holds(run)]
            if len(missing) == len(wanted):
                raise
            self.save_checked(missing)

    def save_unless_stored(self, runs: Sequence[CheckedRun]) -> dict[str, str]:
        """Store runs that `check_run` returned, each only if no stored run has its bytes under any id.

        The look-up and the save are one step: if several processes import the same files at once, each file is
        stored once. Bytes that are given twice are also stored once.

        Returns:
            By SHA-256, the ids of the stored runs that had the bytes already; the other runs are new.

        Raises:
            RunExistsError: An id belongs to a run with other bytes; nothing is stored.
            UnsupportedOperationError: Attachments were given, and the store can't keep any.
        """
        if any(run.attachments for run in runs):
            self.require(Capability.ATTACHMENTS, "keep attachments")
        distinct: dict[str, CheckedRun] = {}
        for run in runs:
            distinct.setdefault(run.sha256, run)
        wanted = once_each(list(distinct.values()))
        try:
            return self.write_unless_stored(wanted) if wanted else {}
        except RunExistsError:
            # Either the store recorded another digest for the same bytes, or they differ and `__holds` raises.
            held = {run.sha256: run.id for run in wanted if self.__holds(run)}
            if not held:
                raise
            return held | self.save_unless_stored([run for run in wanted if run.sha256 not in held])

    def write_unless_stored(self, checked: Sequence[CheckedRun]) -> dict[str, str]:
        """Store the runs whose bytes no stored run has, or raise and store nothing.

        This default is safe only among threads that share the store. A backend that several processes share
        overrides it, so that nobody else writes between look-up and save. The ids and digests in ``checked`` are
        distinct.

        Returns:
            By SHA-256, the ids of the stored runs that had the bytes already.

        Raises:
            RunExistsError: The id of a run that would be stored is taken.
        """
        with self.__importing:
            stored = self.scan(RunFilter(sha256=[run.sha256 for run in checked]))
            present = {run.sha256: run.id for run in stored}
            missing = [run for run in checked if run.sha256 not in present]
            if missing:
                self.write_runs(missing)
        return present

    def note_damage(self, run: StoredRun, error: InvalidDocumentError) -> None:
        """Note that an answer leaves out a run of ``scan`` because its document can't be parsed.

        A store that says in `unread` what it could not read adds the run there.
        """

    # Two underscores keep these names private to this class, so that a backend can't override them by accident.

    @property
    def __importing(self) -> AbstractContextManager[object]:
        # Created on first use, because a backend's __init__ need not call this class's; setdefault is atomic.
        lock: AbstractContextManager[object] = self.__dict__.setdefault("_import_lock", threading.RLock())
        return lock

    def __facts(self, filters: Filters = None) -> Iterator[fallbacks.Facts]:
        return fallbacks.readable(self.scan(filters), self.note_damage)

    def __holds(self, run: CheckedRun) -> bool:
        stored = self.get_document(run.id)
        if stored is None or stored == run.document:
            return stored is not None
        raise RunExistsError(
            f"run {run.id} is in {self.location} already, with other content"
            f" (SHA-256 {codec.digest(stored)[:12]}…, not {run.sha256[:12]}…)",
            hint="save it under another id, or delete the stored run first",
        )

    # Reading. A backend overrides what it can do without reading documents.

    def get_result(self, run_id: str) -> dict[str, Any] | None:
        """Return the parsed document with nothing added; None if there is no such run.

        Raises:
            InvalidQueryError: The id is not text.
        """
        document = self.get_document(sought_id(run_id))
        return None if document is None else codec.parse(document)

    def attachments(self, run_id: str) -> Iterator[Attachment]:
        """Yield the run's files by name; none if there is no such run or the store keeps no files."""
        sought_id(run_id)
        return iter(())

    def query(
        self,
        filters: Filters = None,
        *,
        order_by: str = "-timestamp",
        limit: int | None = None,
        offset: int = 0,
    ) -> list[dict[str, Any]]:
        """Return the parsed documents that match, in order, all in memory: give a ``limit``.

        Raises:
            UnknownFieldError: A filter or the order does not exist.
            InvalidQueryError: A value cannot be read.
        """
        page = self.list_results(filters, order_by=order_by, limit=limit, offset=offset)
        documents = (self.get_result(summary.id) for summary in page)
        return [document for document in documents if document is not None]

    def list_results(
        self,
        filters: Filters = None,
        *,
        order_by: str = "-timestamp",
        limit: int | None = None,
        offset: int = 0,
        after: str | None = None,
    ) -> Page[RunSummary]:
        """Return one page of summaries.

        Args:
            filters: A `RunFilter`, or a mapping of its fields.
            order_by: One of `ORDER_FIELDS` or ``metric:<name>``, with ``-`` for descending.
            limit: How many runs to return at most; None for all.
            offset: How many runs to skip first.
            after: The ``next_cursor`` of the previous page, instead of an offset.

        Raises:
            UnknownFieldError: A filter or the order does not exist.
            InvalidQueryError: A value cannot be read.
        """
        wanted, order = RunFilter.of(filters), Order.parse(order_by)
        check_page(limit, offset)
        return fallbacks.list_results(self.__facts(wanted), order, limit=limit, offset=offset, after=after)

    def aggregate(
        self,
        group_by: str | Sequence[str],
        metrics: str | Sequence[str] | None = None,
        *,
        statistics: str | Sequence[str] = ("avg",),
        filters: Filters = None,
    ) -> list[dict[str, Any]]:
        """Return one row per group: its fields, ``count`` of distinct runs, each ``<metric>_<statistic>`` or None.

        Args:
            group_by: One or more of `GROUP_FIELDS`; with ``test_name``, runs that have the benchmark are counted.
            metrics: ``name`` or ``benchmark/name``; None for counts only.
            statistics: Some of `STATISTICS`, computed over the finite entries of the group.
            filters: A `RunFilter`, or a mapping of its fields.

        Raises:
            UnknownFieldError: A field or statistic does not exist.
        """
        wanted, aggregation = RunFilter.of(filters), Aggregation.of(group_by, metrics, statistics)
        return fallbacks.aggregate(self.__facts(wanted), aggregation)

    def count(self, filters: Filters = None) -> int:
        """Return how many runs match."""
        return sum(1 for _ in self.__facts(filters))

    def metric_names(self) -> list[str]:
        """Return the names of the runs' metrics, without their benchmarks: at most 10,000, by code point."""
        return fallbacks.metric_names(self.__facts())

    # Deletion and maintenance.

    def delete_result(self, run_id: str) -> bool:
        """Remove a run and everything that belongs to it; False if there is no such run.

        Raises:
            UnsupportedOperationError: The store does not declare ``DELETE``.
        """
        raise self.__unsupported("delete runs", Capability.DELETE)

    def verify(self, *, rebuild: bool = False) -> Iterator[Finding]:
        """Yield what is wrong with the store, run by run.

        Args:
            rebuild: Recreate what is derived from the documents, and report what was repaired.
        """
        return verification.verify_documents(self.scan())

    def initialize(self) -> None:
        """Prepare the store: create what is missing, upgrade what is old. May be called again.

        Raises:
            SchemaTooNewError: A newer KITT wrote it.
        """

    def schema_status(self) -> SchemaStatus:
        """Return the schema's version and state. Works in every state and changes nothing."""
        return SchemaStatus(version=1, newest=1)

    def prepares_itself(self, status: SchemaStatus) -> bool:
        """Return whether the first save prepares a schema in this state instead of raising."""
        return False

    def check_writable(self) -> None:
        """Raise `StoreUnavailableError` if it can be known beforehand that no run can be stored; changes nothing.

        This default examines the first of `paths`.
        """
        problem = obstacle(self.paths[0]) if self.paths else None
        if problem is not None:
            raise StoreUnavailableError(f"{self.location} cannot be written: {problem[0]}", hint=problem[1])

    def migrate(
        self, *, dry_run: bool = False, backup: bool = True, progress: Progress | None = None
    ) -> list[str]:
        """Upgrade the schema and return the names of the migrations that were applied, in order.

        Args:
            dry_run: Apply them in a transaction that is rolled back.
            backup: Copy the store first, if it holds runs and can be copied.
            progress: Called as migrations are applied.

        Raises:
            UnsupportedOperationError: The store does not declare ``MIGRATE``.
            SchemaTooNewError: A newer KITT wrote it.
            MigrationError: A migration failed; the store is as it was.
        """
        raise self.__unsupported("migrate", Capability.MIGRATE)

    # What messages and the service need to know.

    @property
    def location(self) -> str:
        """Where the store is, for messages; without secrets."""
        return type(self).__name__

    @property
    def run_tree(self) -> Path | None:
        """The ``kitt-results`` directory if this store keeps one, so that `kitt run` writes each run only once."""
        return None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files and directories that make up this store, the user's target first; empty if it is not local.

        Nothing else may write there: the command line refuses them as output.
        """
        return ()

    @property
    def unread(self) -> tuple[str, ...]:
        """What the latest answer lacks because it could not be read: each place, and why.

        A failed read is not a fact about the run: it is never remembered, and the next answer tries again. This
        can still be asked after `close`.
        """
        return ()

    def require(self, capability: Capability, operation: str) -> None:
        """Raise `UnsupportedOperationError` unless ``capability`` is declared."""
        if capability not in self.capabilities:
            raise self.__unsupported(operation, capability)

    def __unsupported(self, operation: str, capability: Capability) -> UnsupportedOperationError:
        return UnsupportedOperationError(
            f"{self.location} cannot {operation}: its backend does not offer {capability}",
            hint="`kitt plugins show BACKEND` lists what a backend can do",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
