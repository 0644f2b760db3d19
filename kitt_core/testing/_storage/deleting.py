"""Deleting: a run goes with all that belongs to it, or the store says that it can't."""

from __future__ import annotations

import pytest

from kitt_core.errors import UnsupportedOperationError
from kitt_core.storage import Capability, ResultStore
from kitt_core.testing._storage.asking import StoreTests, assert_readable, found, lacks, needs, put, snapshot
from kitt_core.testing.documents import HOSTILE, MINIMAL, STANDARD, UNFIT, run


class DeletingContract(StoreTests):
    """``delete_result`` needs ``DELETE``."""

    def test_a_deleted_run_is_gone_from_every_answer(self, store: ResultStore) -> None:
        needs(store, Capability.DELETE)
        put(store, {"gone": {**run(labels={"team": "red"}), "engine": "x"}, "kept": MINIMAL, "standard": STANDARD})
        before = snapshot(store)
        assert store.delete_result("gone") is True
        assert store.delete_result("standard") is True
        assert store.get_document("gone") is None
        assert store.get_result("gone") is None
        assert snapshot(store) == {"kept": before["kept"]}
        assert found(store) == {"kept"}
        assert (
            found(store, labels={"team": "red"})
            == found(store, engine="x")
            == found(store, metrics="avg_tps>0")
            == set()
        )
        assert store.aggregate("engine") == [{"engine": "e", "count": 1}]
        assert store.aggregate("test_name", "avg_tps") == []
        assert list(store.verify()) == []

    def test_deleting_an_unknown_run_is_false_and_changes_nothing(self, store: ResultStore) -> None:
        needs(store, Capability.DELETE)
        put(store, {"a": MINIMAL})
        for unknown in ("b", "A", "*", "", "a*", "%", "../a", "\ud800", "a\0"):
            assert store.delete_result(unknown) is False
        assert set(snapshot(store)) == {"a"}
        assert store.delete_result("a") is True
        assert store.delete_result("a") is False

    def test_an_id_is_free_again_after_the_delete(self, store: ResultStore) -> None:
        needs(store, Capability.DELETE)
        store.save_result(STANDARD, run_id="a")
        store.delete_result("a")
        assert store.save_result(MINIMAL, run_id="a") == "a"
        assert store.get_document("a") == MINIMAL
        assert found(store, metrics="avg_tps>0") == set()

    def test_every_run_that_can_be_saved_can_be_deleted(self, store: ResultStore) -> None:
        needs(store, Capability.DELETE)
        documents = {f"r{i}": document for i, document in enumerate([*HOSTILE.values(), *UNFIT.values()])}
        put(store, documents, strict=False)
        assert [run_id for run_id in documents if not store.delete_result(run_id)] == []
        assert found(store) == set()

    def test_without_delete_it_is_refused_and_nothing_is_lost(self, store: ResultStore) -> None:
        lacks(store, Capability.DELETE)
        store.save_result(MINIMAL, run_id="a")
        for run_id in ("a", "unknown"):
            with pytest.raises(UnsupportedOperationError, match="DELETE") as caught:
                store.delete_result(run_id)
            assert_readable(caught.value)
        assert set(snapshot(store)) == {"a"}
