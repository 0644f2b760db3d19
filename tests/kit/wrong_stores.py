"""Stores that keep something else than they were given, or lose it, or can't be closed.

Each breaks one promise, in a way that real backends have broken it; `wrong_answers` has those that keep everything
and answer wrongly.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve

from kitt_core.errors import RunExistsError, StoreUnavailableError
from kitt_core.runs import Attachment, CheckedRun, Filters, Finding, RunFilter, StoredRun, codec
from kitt_core.storage import Capability, fallbacks
from kitt_core.storage.memory import MemoryStore

from .cases import caught_by

# What is kept.


class Rewriting(MemoryStore):
    """Keeps other bytes than it was given."""

    def rewritten(self, document: bytes) -> bytes:
        raise NotImplementedError

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        super().write_runs([evolve(run, document=self.rewritten(run.document)) for run in checked])


@caught_by("test_the_bytes_given_are_the_bytes_kept")
class LosesTheLastByte(Rewriting):
    def rewritten(self, document: bytes) -> bytes:
        return document.removesuffix(b"\n")


@caught_by("test_equal_documents_of_different_spelling_stay_different")
class SerialisesAgain(Rewriting):
    def rewritten(self, document: bytes) -> bytes:
        return json.dumps(codec.parse(document)).encode()


@caught_by("test_scan_yields_the_same_bytes")
class StripsTheByteOrderMark(Rewriting):
    def rewritten(self, document: bytes) -> bytes:
        return document.removeprefix(b"\xef\xbb\xbf")


@caught_by("test_the_bytes_of_a_batch_are_kept_too")
class TranslatesLineEnds(Rewriting):
    def rewritten(self, document: bytes) -> bytes:
        return document.replace(b"\r\n", b"\n")


@caught_by("test_the_sha256_of_a_stored_run_is_that_of_its_bytes")
class DigestsTheParsedDocument(MemoryStore):
    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        super().write_runs(
            [evolve(run, sha256=codec.digest(codec.encode(codec.parse(run.document)))) for run in checked]
        )


@caught_by("test_save_result_without_an_id_always_stores")
class CollapsesEqualDocuments(MemoryStore):
    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        known = {run.sha256 for run in self._runs.values()}
        super().write_runs([run for run in checked if run.sha256 not in known])


@caught_by("test_a_result_that_the_caller_changes_does_not_change_the_store")
class LendsItsOwnObjects(MemoryStore):
    def get_result(self, run_id: str) -> dict[str, Any] | None:
        cache: dict[str, Any] = self.__dict__.setdefault("_cache", {})
        return cache.setdefault(run_id, super().get_result(run_id))


@caught_by("test_bytes_that_are_stored_are_not_stored_again_under_another_id")
class ImportsAgain(MemoryStore):
    def write_unless_stored(self, checked: Sequence[CheckedRun]) -> dict[str, str]:
        self.write_runs(checked)
        return {}


class InTwoSteps(MemoryStore):
    """The first two threads that save do so at the same time, however busy the machine is."""

    def __init__(self) -> None:
        super().__init__()
        self._both = threading.Barrier(2)

    def between(self) -> None:
        with suppress(threading.BrokenBarrierError):
            self._both.wait(60)
        self._both.abort()  # later ones don't wait for each other


@caught_by("test_the_same_files_imported_by_several_threads_are_stored_once")
class LooksBeforeItImports(InTwoSteps):
    """Look-up and save are two steps, between which another thread saves."""

    def write_unless_stored(self, checked: Sequence[CheckedRun]) -> dict[str, str]:
        present = {run.sha256: run.id for run in self.scan()}
        self.between()
        self.write_runs([run for run in checked if run.sha256 not in present])
        return {run.sha256: present[run.sha256] for run in checked if run.sha256 in present}


# Ids and times.


@caught_by("test_the_same_id_with_other_bytes_is_a_run_exists_error")
class Overwrites(MemoryStore):
    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        for run in checked:
            self._runs.pop(run.id, None)
        super().write_runs(checked)


@caught_by("test_the_same_id_with_the_same_bytes_is_a_no_op")
class IsNotIdempotent(MemoryStore):
    def save_checked(self, runs: Sequence[CheckedRun]) -> None:
        self.write_runs(runs)


@caught_by("test_an_id_may_be_any_1_to_128_of_its_characters")
class FoldsTheCaseOfIds(MemoryStore):
    """As a file per run does on a file system that ignores case."""

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        if {run.id.lower() for run in checked} & {run_id.lower() for run_id in self._runs}:
            raise RunExistsError("a file of this name is there")
        super().write_runs(checked)


class Retimed(MemoryStore):
    """Gives another time than it was given."""

    def retimed(self, moment: datetime) -> datetime:
        raise NotImplementedError

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        super().write_runs([evolve(run, created_at=self.retimed(run.created_at)) for run in checked])


@caught_by("test_a_created_at_with_an_offset_is_the_same_instant_in_utc")
class ReadsTimesInItsOwnZone(Retimed):
    def retimed(self, moment: datetime) -> datetime:
        return moment - timedelta(hours=2)


@caught_by("test_a_naive_created_at_is_read_as_utc_and_returned_aware")
class GivesNaiveTimes(Retimed):
    def retimed(self, moment: datetime) -> datetime:
        return moment.replace(tzinfo=None)


@caught_by("test_created_at_is_kept_to_the_microsecond")
class LosesMicroseconds(Retimed):
    def retimed(self, moment: datetime) -> datetime:
        return moment.replace(microsecond=0)


# All or nothing.


@caught_by("test_save_results_with_one_refused_document_stores_none")
class SavesABatchOneByOne(MemoryStore):
    def save_results(self, documents: Any) -> list[str]:
        return [self.save_result(document) for document in documents]


@caught_by("test_a_batch_with_an_id_that_other_bytes_have_stores_nothing")
class LeavesHalfABatch(MemoryStore):
    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        for run in checked:
            super().write_runs([run])


@caught_by("test_an_attachment_that_cannot_be_read_stores_nothing")
class SwallowsTheErrorOfAnAttachment(MemoryStore):
    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        try:
            super().write_runs(checked)
        except OSError:
            super().write_runs([evolve(run, attachments=()) for run in checked])


@caught_by("test_saves_from_several_threads_are_all_kept")
class LosesWhatAnotherThreadSaves(InTwoSteps):
    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        runs = dict(self._runs)
        self.between()
        self._check_open()
        runs |= {run.id: StoredRun(run.id, run.document, run.created_at, run.sha256) for run in checked}
        self._runs = runs


# Deleting, attachments, capabilities.


@caught_by("test_deleting_a_run_removes_its_attachments")
class DeletesHalf(MemoryStore):
    def delete_result(self, run_id: str) -> bool:
        files = self._attachments.get(run_id, ())
        found = super().delete_result(run_id)
        self._attachments[run_id] = files
        return found


@caught_by("test_a_deleted_run_is_gone_from_every_answer")
class HidesInsteadOfDeleting(MemoryStore):
    def delete_result(self, run_id: str) -> bool:
        hidden: set[str] = self.__dict__.setdefault("_hidden", set())
        found = run_id in self._runs and run_id not in hidden
        hidden.add(run_id)
        return found

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        hidden = self.__dict__.get("_hidden", set())
        return (run for run in super().scan(filters) if run.id not in hidden)


@caught_by("test_deleting_an_unknown_run_is_false_and_changes_nothing")
class SaysThatItDeleted(MemoryStore):
    def delete_result(self, run_id: str) -> bool:
        super().delete_result(run_id)
        return True


@caught_by("test_without_delete_it_is_refused_and_nothing_is_lost")
class DeletesUndeclared(MemoryStore):
    capabilities = frozenset({Capability.ATOMIC_BATCH})


@caught_by("test_without_attachments_they_are_refused_and_nothing_is_stored")
class DropsAttachments(MemoryStore):
    capabilities = frozenset({Capability.DELETE})

    def save_checked(self, runs: Sequence[CheckedRun]) -> None:
        super().save_checked([evolve(run, attachments=()) for run in runs])


@caught_by("test_attachments_come_by_name_and_can_be_opened_again")
class GivesAttachmentsInTheirOwnOrder(MemoryStore):
    def attachments(self, run_id: str) -> Iterator[Attachment]:
        return iter(sorted(super().attachments(run_id), key=lambda file: file.name, reverse=True))


# Scans, handles, care.


@caught_by("test_scan_yields_every_run_once")
class GivesARunTwice(MemoryStore):
    """As paging by offset does while runs are added."""

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        runs = list(super().scan(filters))
        return iter(runs + runs[-1:] if len(runs) > 100 else runs)


@caught_by("test_a_save_inside_the_loop_works_and_nothing_comes_twice")
class FollowsWhatTheLoopSaves(MemoryStore):
    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        wanted = RunFilter.of(filters)
        self._check_open()

        def live() -> Iterator[StoredRun]:
            position = 0
            while position < len(self._runs):
                yield list(self._runs.values())[position]
                position += 1

        return fallbacks.select(live(), wanted)


@caught_by("test_an_abandoned_scan_holds_nothing")
class LocksWhileItScans(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self._scanning = threading.Semaphore()

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        if not self._scanning.acquire(timeout=0.01):
            raise StoreUnavailableError("memory: is locked")
        with self._lock:
            self._scanning.release()
            super().write_runs(checked)

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        runs = list(super().scan(filters))

        def locked() -> Iterator[StoredRun]:
            with self._scanning:
                yield from runs

        return locked()


@caught_by("test_a_closed_store_is_unavailable")
class CannotBeClosed(MemoryStore):
    def close(self) -> None:
        pass


@caught_by("test_calls_and_close_leave_no_file_open")
class LeaksAHandleInEachCall(MemoryStore):
    def get_document(self, run_id: str) -> bytes | None:
        handles: list[int] = self.__dict__.setdefault("_handles", [])
        handles.append(os.open(os.devnull, os.O_RDONLY))
        return super().get_document(run_id)

    def close(self) -> None:
        super().close()
        for handle in self.__dict__.pop("_handles", []):
            os.close(handle)


@caught_by("test_runs_with_the_same_document_are_a_notice")
class VerifiesNothing(MemoryStore):
    def verify(self, *, rebuild: bool = False) -> Iterator[Finding]:
        return iter(())


@caught_by("test_a_save_after_a_run_exists_error_works")
class StaysLockedAfterAnError(MemoryStore):
    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        if self.__dict__.get("_broken"):
            raise StoreUnavailableError("memory: a transaction is still open")
        self._broken = True
        super().write_runs(checked)
        self._broken = False
