"""Lifecycle: opening, schema, threads, closing."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from kitt_core.errors import (
    InvalidDocumentError,
    RunExistsError,
    StoreUnavailableError,
    UnknownFieldError,
    UnsupportedOperationError,
)
from kitt_core.runs.model import SchemaState, SchemaStatus
from kitt_core.storage.contract import Capability, ResultStore
from kitt_core.testing._storage.questions import StoreTests, assert_readable, found, lacks, needs, snapshot
from kitt_core.testing.documents import MINIMAL, STANDARD, as_bytes, small

_THREADS = 8
_SAVES = 10
_OPEN_FILES: Final = Path("/dev/fd")


def _use(store: ResultStore) -> None:
    """Call everything once, including errors and a scan that is abandoned."""
    run_id = store.save_result(STANDARD)
    with pytest.raises(RunExistsError):
        store.save_result(MINIMAL, run_id=run_id)
    with pytest.raises(InvalidDocumentError):
        store.save_results([MINIMAL, b"{}"])
    with pytest.raises(UnknownFieldError):
        store.count({"modle": "x"})
    next(store.scan())
    assert store.get_document(run_id) == STANDARD
    assert list(store.attachments(run_id)) == []
    assert store.list_results(limit=1)
    assert store.query(limit=1)
    assert store.aggregate("engine", "avg_tps")
    store.schema_status()


def _count_open_files() -> int:
    gc.collect()  # where an abandoned iterator is not released at once
    return len(list(_OPEN_FILES.iterdir()))


class LifecycleContract(StoreTests):
    """A store is opened, prepared, used from several threads and closed."""

    def test_capabilities_are_a_set_of_capabilities(self, store: ResultStore) -> None:
        assert isinstance(store.capabilities, frozenset)
        assert all(isinstance(capability, Capability) for capability in store.capabilities)
        assert store.capabilities is type(store).capabilities

    def test_location_is_for_people(self, store: ResultStore) -> None:
        assert isinstance(store.location, str)
        assert store.location.strip()
        assert store.location.isprintable()

    def test_initialize_is_idempotent_and_keeps_what_is_there(self, store: ResultStore) -> None:
        store.initialize()
        store.initialize()
        store.save_result(STANDARD, run_id="a")
        before = snapshot(store)
        store.initialize()
        assert snapshot(store) == before
        assert found(store, engine="vllm") == {"a"}

    def test_schema_status_works_in_every_state(self, store: ResultStore) -> None:
        assert isinstance(store.schema_status(), SchemaStatus)
        store.initialize()
        status = store.schema_status()
        assert (status.state, status.pending) == (SchemaState.CURRENT, ())
        assert status.version == status.newest
        store.save_result(MINIMAL)
        assert store.schema_status().state is SchemaState.CURRENT

    def test_migrate_has_nothing_to_do_on_a_current_store(self, store: ResultStore) -> None:
        needs(store, Capability.MIGRATE)
        store.initialize()
        store.save_result(STANDARD, run_id="a")
        before = snapshot(store)
        assert store.migrate(dry_run=True) == []
        assert store.migrate() == []
        assert store.migrate(backup=False, progress=lambda done, total: None) == []  # noqa: ARG005  # its shape
        assert snapshot(store) == before

    def test_without_migrate_it_is_refused(self, store: ResultStore) -> None:
        lacks(store, Capability.MIGRATE)
        for dry_run in (True, False):
            with pytest.raises(UnsupportedOperationError, match="MIGRATE") as caught:
                store.migrate(dry_run=dry_run)
            assert_readable(caught.value)

    def test_saves_from_several_threads_are_all_kept(self, store: ResultStore) -> None:
        def save(thread: int) -> list[str]:
            return [store.save_result(small(thread * _SAVES + i), run_id=f"t{thread}.{i}") for i in range(_SAVES)]

        with ThreadPoolExecutor(_THREADS) as pool:
            ids = [run_id for saved in pool.map(save, range(_THREADS)) for run_id in saved]
        assert len(ids) == _THREADS * _SAVES
        assert found(store) == set(ids)
        wrong = [i for i in range(len(ids)) if store.get_result(f"t{i // _SAVES}.{i % _SAVES}") != small(i)]
        assert wrong == []
        rows = store.aggregate("test_name", ["avg_tps", "ttft_ms.p99"], statistics="count")
        assert rows == [
            {"test_name": "latency", "count": 80, "avg_tps_count": 0, "ttft_ms.p99_count": 80},
            {"test_name": "throughput", "count": 80, "avg_tps_count": 80, "ttft_ms.p99_count": 0},
        ]

    def test_readers_in_other_threads_never_see_part_of_a_run(self, store: ResultStore) -> None:
        def save(thread: int) -> None:
            for i in range(5):
                store.save_result(STANDARD, run_id=f"t{thread}.{i}")

        def read(_: int) -> set[int]:
            entries: set[int] = set()
            for _ in range(10):
                rows = store.aggregate("engine", "avg_tps", statistics="count")
                entries |= {row["avg_tps_count"] - 24 * row["count"] for row in rows}
                entries |= {len(stored.document) - len(STANDARD) for stored in store.scan()}
            return entries

        with ThreadPoolExecutor(4) as pool:
            saving = [pool.submit(save, thread) for thread in range(2)]
            reading = [pool.submit(read, thread) for thread in range(2)]
        assert [future.result() for future in saving] == [None, None]
        assert set().union(*(future.result() for future in reading)) <= {0}
        assert store.count() == 10

    def test_the_same_run_saved_by_several_threads_is_there_once(self, store: ResultStore) -> None:
        with ThreadPoolExecutor(_THREADS) as pool:
            ids = list(pool.map(lambda _: store.save_result(STANDARD, run_id="same"), range(_THREADS)))
        assert ids == ["same"] * _THREADS
        assert found(store) == {"same"}
        assert store.get_document("same") == STANDARD

    def test_a_second_handle_sees_what_the_first_saved(self, store: ResultStore) -> None:
        with self.second(store) as other:
            documents = {f"r{i}": as_bytes(small(i)) for i in range(6)}
            for i, (run_id, document) in enumerate(documents.items()):
                (other if i % 2 else store).save_result(document, run_id=run_id)
            for handle in (store, other):
                assert {run_id: stored[0] for run_id, stored in snapshot(handle).items()} == documents
                assert found(handle) == set(documents)

    def test_calls_and_close_leave_no_file_open(self, store: ResultStore) -> None:
        if not _OPEN_FILES.is_dir():
            pytest.skip(f"this system has no {_OPEN_FILES} to count a process's open files")
        unused = _count_open_files()
        _use(store)
        used = _count_open_files()
        for _ in range(3):
            _use(store)
        assert _count_open_files() <= used, "calls leave files open"
        other = self.reopen(store)
        if other is not None:
            with other:
                _use(other)
        # Only now, because closing a file releases all locks that the process has on it, so SQLite defers that.
        store.close()
        assert _count_open_files() <= unused, "close leaves files open"

    def test_close_may_be_called_twice(self, store: ResultStore) -> None:
        store.save_result(MINIMAL)
        store.close()
        store.close()

    def test_a_store_that_was_never_used_can_be_closed(self, store: ResultStore) -> None:
        store.close()
        store.close()

    def test_a_store_is_a_context_manager(self, store: ResultStore) -> None:
        with store as entered:
            assert entered is store
            entered.save_result(MINIMAL)
        with pytest.raises(StoreUnavailableError):
            store.count()

    def test_a_closed_store_is_unavailable(self, store: ResultStore) -> None:
        store.save_result(MINIMAL, run_id="a")
        store.close()
        calls = (
            lambda: store.get_document("a"),
            lambda: store.get_result("a"),
            lambda: list(store.scan()),
            store.list_results,
            store.count,
            lambda: store.aggregate("engine"),
            lambda: store.save_result(MINIMAL),
        )
        for call in calls:
            with pytest.raises(StoreUnavailableError) as caught:
                call()
            assert_readable(caught.value)
