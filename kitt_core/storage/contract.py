"""The storage contract: what a store promises, and what a backend has to write.

`ResultStore` keeps three audiences apart. *Users* call ``save_result``, ``get_document``, ``list_results`` and
so on. *Backends* implement ``write_runs``, ``get_document``, ``scan`` and ``close`` and override what they can
do better than the defaults, which read everything through ``scan``. *Checks* (is it a document, which id, is it
there already) stand here, once for all backends.
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

from kitt_core.errors import InvalidDocumentError, RunExistsError, UnsupportedOperationError
from kitt_core.runs import codec
from kitt_core.runs.checking import check_run, once_each
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
from kitt_core.runs.query import Aggregation, Filters, Order, RunFilter, check_page
from kitt_core.storage import fallbacks, verification

__all__ = ["Capability", "ResultStore"]


class Capability(enum.StrEnum):
    """What not every backend can do. Declared, it is tested by the contract; undeclared, it must be refused."""

    DELETE = "DELETE"
    """``delete_result`` removes a run."""
    ATOMIC_BATCH = "ATOMIC_BATCH"
    """``save_results`` is all or nothing through a crash, too."""
    MIGRATE = "MIGRATE"
    """The store has a schema of several versions; ``migrate`` upgrades it."""
    CONCURRENT = "CONCURRENT"
    """Several processes may write at the same time."""
    ATTACHMENTS = "ATTACHMENTS"
    """Files are kept beside a document."""
    HISTORY = "HISTORY"
    """A deleted run stays in the store's history."""


class ResultStore(abc.ABC):
    """One open store. A context manager; to be used from several threads.

    A call that raises leaves the store as it was and usable at once. Unless said otherwise every method raises
    `StoreUnavailableError` if the store can't be reached or used and a `SchemaError` if its schema does not
    fit.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset()

    # What a backend must write.

    @abc.abstractmethod
    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        """Store checked runs durably, usually one, or raise and store none of them.

        It is called by the ``save_…`` methods only, after all checks; the ids of ``checked`` differ. With
        ``ATOMIC_BATCH`` a crash, too, leaves all of them or none.

        Raises:
            RunExistsError: A run of one of the ids is there, whatever its bytes; the caller compares them.
        """

    @abc.abstractmethod
    def get_document(self, run_id: str) -> bytes | None:
        """Return the bytes that were saved, None if there is no such run."""

    @abc.abstractmethod
    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        """Yield the runs that match, one document in memory at a time.

        No transaction is open between two runs: a save inside the loop works, and nothing comes twice.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Release everything; may be called twice, and in any state of the schema."""

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
            run_id: 1 to 128 of ``A-Za-z0-9._-``; a new UUIDv7 without it.
            created_at: Now without it; naive is UTC.
            attachments: Files to keep beside the document.
            strict: False takes any JSON object (for ``copy`` and ``restore``).

        Raises:
            InvalidDocumentError: The document is refused.
            RunExistsError: The id is taken by other bytes.
            UnsupportedOperationError: Attachments, and the store can't hold any.
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
        """Store runs that `check_run` made; those whose id is there with the same bytes are left alone.

        Raises:
            RunExistsError: An id is taken by other bytes; nothing is stored.
            UnsupportedOperationError: Attachments, and the store can't hold any.
        """
        if any(run.attachments for run in runs):
            self.require(Capability.ATTACHMENTS, "keep attachments")
        wanted = once_each(runs)
        try:
            if wanted:
                self.write_runs(wanted)
        except RunExistsError:
            # Looked up only now: the usual save has a fresh id and needs no read.
            missing = [run for run in wanted if not self.__holds(run)]
            if len(missing) == len(wanted):
                raise
            self.save_checked(missing)

    def save_unless_stored(self, runs: Sequence[CheckedRun]) -> dict[str, str]:
        """Store runs that `check_run` made, each only if no stored run has its bytes, whatever its id.

        Looking and storing are one step: where the same files are imported several times at once, each is
        stored once. Bytes that are given twice are stored once, too.

        Returns:
            By SHA-256, the ids of stored runs that had the bytes already; the other runs are new.

        Raises:
            RunExistsError: An id is taken by other bytes; nothing is stored.
            UnsupportedOperationError: Attachments, and the store can't hold any.
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
            # The store noted another digest for the same bytes, or the bytes differ and `__holds` says so.
            held = {run.sha256: run.id for run in wanted if self.__holds(run)}
            if not held:
                raise
            return held | self.save_unless_stored([run for run in wanted if run.sha256 not in held])

    def write_unless_stored(self, checked: Sequence[CheckedRun]) -> dict[str, str]:
        """Store those of several runs whose bytes no stored run has, or raise and store nothing.

        This one is exact among the threads that share the store. A backend that processes share overrides it, so
        that nobody else writes between look-up and save. Ids and digests of ``checked`` differ.

        Returns:
            By SHA-256, the ids of stored runs that had the bytes already.

        Raises:
            RunExistsError: The id of one that would be stored is there.
        """
        with self.__importing:
            stored = self.scan(RunFilter(sha256=[run.sha256 for run in checked]))
            present = {run.sha256: run.id for run in stored}
            missing = [run for run in checked if run.sha256 not in present]
            if missing:
                self.write_runs(missing)
        return present

    # Names with two underscores are this class's alone: a backend's own can't meet them by accident.

    @property
    def __importing(self) -> AbstractContextManager[object]:
        # Made when it is needed, because a backend's __init__ need not call this class's; setdefault is atomic.
        lock: AbstractContextManager[object] = self.__dict__.setdefault("_import_lock", threading.RLock())
        return lock

    def __holds(self, run: CheckedRun) -> bool:
        stored = self.get_document(run.id)
        if stored is None or stored == run.document:
            return stored is not None
        raise RunExistsError(
            f"run {run.id} is in {self.location} already, with other content"
            f" (SHA-256 {codec.digest(stored)[:12]}…, not {run.sha256[:12]}…)",
            hint="save it under another id, or delete the stored run first",
        )

    # Reading; a backend overrides what it can do without reading documents.

    def get_result(self, run_id: str) -> dict[str, Any] | None:
        """Return the parsed document, nothing added; None if there is no such run."""
        document = self.get_document(run_id)
        return None if document is None else codec.parse(document)

    def attachments(self, run_id: str) -> Iterator[Attachment]:
        """Yield the run's files by name; none if there is no such run, or the store holds no files."""
        return iter(())

    def query(
        self,
        filters: Filters = None,
        *,
        order_by: str = "-timestamp",
        limit: int | None = None,
        offset: int = 0,
    ) -> list[dict[str, Any]]:
        """Return the parsed documents that match, in order. They are all in memory: give a ``limit``.

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
            limit: How many at most; None is all.
            offset: How many to leave out first.
            after: The ``next_cursor`` of the page before, instead of an offset.

        Raises:
            UnknownFieldError: A filter or the order does not exist.
            InvalidQueryError: A value cannot be read.
        """
        wanted, order = RunFilter.of(filters), Order.parse(order_by)
        check_page(limit, offset)
        return fallbacks.list_results(self.scan(wanted), order, limit=limit, offset=offset, after=after)

    def aggregate(
        self,
        group_by: str | Sequence[str],
        metrics: str | Sequence[str] | None = None,
        *,
        statistics: str | Sequence[str] = ("avg",),
        filters: Filters = None,
    ) -> list[dict[str, Any]]:
        """Return a row per group: its fields, ``count`` of distinct runs, ``<metric>_<statistic>`` or None.

        Args:
            group_by: One or several of `GROUP_FIELDS`; ``test_name`` counts runs that have the benchmark.
            metrics: ``name`` or ``benchmark/name``; None gives counts only.
            statistics: Some of `STATISTICS`, over the finite entries of the group.
            filters: A `RunFilter`, or a mapping of its fields.

        Raises:
            UnknownFieldError: A field or statistic does not exist.
        """
        wanted, aggregation = RunFilter.of(filters), Aggregation.of(group_by, metrics, statistics)
        return fallbacks.aggregate(self.scan(wanted), aggregation)

    def count(self, filters: Filters = None) -> int:
        """Return how many runs match."""
        return sum(1 for _ in fallbacks.readable(self.scan(filters)))

    # Removing and looking after.

    def delete_result(self, run_id: str) -> bool:
        """Remove a run with all that belongs to it; False if there is no such run.

        Raises:
            UnsupportedOperationError: The store does not declare ``DELETE``.
        """
        raise self.__unsupported("delete runs", Capability.DELETE)

    def verify(self, *, rebuild: bool = False) -> Iterator[Finding]:
        """Yield what is wrong with the store, run by run.

        Args:
            rebuild: Make anew what is derived from the documents, and report what was repaired.
        """
        return verification.verify_documents(self.scan())

    def initialize(self) -> None:
        """Make the store ready: create what is missing, upgrade what is old. May be called again.

        Raises:
            SchemaTooNewError: A newer KITT wrote it.
        """

    def schema_status(self) -> SchemaStatus:
        """Return the schema's version and state; works in every state and changes nothing."""
        return SchemaStatus(version=1, newest=1)

    def prepares_itself(self, status: SchemaStatus) -> bool:
        """Return whether the first save makes a schema in this state ready, instead of refusing it."""
        return False

    def migrate(
        self, *, dry_run: bool = False, backup: bool = True, progress: Progress | None = None
    ) -> list[str]:
        """Upgrade the schema and return the names of the migrations that were applied, in order.

        Args:
            dry_run: Apply them in a transaction that is rolled back.
            backup: Write a copy of the store first where it holds runs and can be copied.
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
        """Where the store is, for people; without secrets."""
        return type(self).__name__

    @property
    def run_tree(self) -> Path | None:
        """The ``kitt-results`` directory that this store keeps, if it is one: `kitt run` writes a run once."""
        return None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files and directories that are this store, the one that was named first; none if it is elsewhere.

        Nobody else may write there: the command line refuses them as its output.
        """
        return ()

    def require(self, capability: Capability, operation: str) -> None:
        """Raise `UnsupportedOperationError` unless ``capability`` is declared."""
        if capability not in self.capabilities:
            raise self.__unsupported(operation, capability)

    def __unsupported(self, operation: str, capability: Capability) -> UnsupportedOperationError:
        return UnsupportedOperationError(
            f"{self.location} cannot {operation}: its backend does not offer {capability}",
            hint="`kitt plugins show NAME` says what a backend can do",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
