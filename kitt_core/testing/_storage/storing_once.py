"""Storing once: what an import asks for, each document by its bytes and not by its id."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest

from kitt_core.errors import RunExistsError, UnsupportedOperationError
from kitt_core.model import Attachment
from kitt_core.storage import Capability, ResultStore, check_run
from kitt_core.testing._storage.asking import StoreTests, assert_readable, found, lacks, needs, put, snapshot
from kitt_core.testing.documents import HOSTILE, MINIMAL, STANDARD, small


class StoringOnceContract(StoreTests):
    """``save_unless_stored`` looks for the bytes and stores them in one step."""

    def test_bytes_that_are_stored_are_not_stored_again_under_another_id(self, store: ResultStore) -> None:
        put(store, {"old": MINIMAL})
        before = snapshot(store)
        again, new = check_run(MINIMAL, run_id="again"), check_run(STANDARD, run_id="new")
        assert store.save_unless_stored([again, new]) == {again.sha256: "old"}
        assert snapshot(store) == before | {"new": (STANDARD, new.created_at, new.sha256)}
        assert found(store) == {"old", "new"}
        assert store.save_unless_stored([new, again]) == {again.sha256: "old", new.sha256: "new"}
        assert found(store) == {"old", "new"}

    def test_bytes_that_are_given_twice_are_stored_once(self, store: ResultStore) -> None:
        runs = [check_run(MINIMAL, run_id=run_id) for run_id in ("a", "b", "c")]
        assert store.save_unless_stored(runs) == {}
        assert found(store) == {"a"}

    def test_nothing_may_be_given(self, store: ResultStore) -> None:
        assert store.save_unless_stored([]) == {}
        assert store.count() == 0

    def test_every_document_is_found_by_its_bytes(self, store: ResultStore) -> None:
        first = [check_run(document, run_id=f"a{i}") for i, document in enumerate(HOSTILE.values())]
        assert store.save_unless_stored(first) == {}
        second = [check_run(document, run_id=f"b{i}") for i, document in enumerate(HOSTILE.values())]
        assert store.save_unless_stored(second) == {run.sha256: run.id for run in first}
        assert store.count() == len(HOSTILE)

    def test_equal_documents_of_other_bytes_are_stored(self, store: ResultStore) -> None:
        put(store, {"old": MINIMAL})
        assert store.save_unless_stored([check_run(MINIMAL + b"\n", run_id="new")]) == {}
        assert found(store) == {"old", "new"}

    def test_a_new_document_whose_id_other_bytes_have_stores_nothing(self, store: ResultStore) -> None:
        needs(store, Capability.ATOMIC_BATCH, Capability.DELETE)
        put(store, {"taken": MINIMAL})
        before = snapshot(store)
        with pytest.raises(RunExistsError) as caught:
            store.save_unless_stored([check_run(STANDARD), check_run(small(1), run_id="taken")])
        assert_readable(caught.value)
        assert snapshot(store) == before

    def test_the_same_files_imported_by_several_threads_are_stored_once(self, store: ResultStore) -> None:
        def save(thread: int) -> None:
            store.save_unless_stored([check_run(small(i), run_id=f"t{thread}.{i}") for i in range(12)])

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(save, range(6)))
        assert store.count() == 12
        assert len({stored.sha256 for stored in store.scan()}) == 12

    def test_without_attachments_an_import_with_some_is_refused(self, store: ResultStore) -> None:
        lacks(store, Capability.ATTACHMENTS)
        with pytest.raises(UnsupportedOperationError, match="ATTACHMENTS"):
            store.save_unless_stored([check_run(MINIMAL, attachments=[Attachment("x", 1, lambda: BytesIO(b"x"))])])
        assert store.count() == 0
