"""Upkeep: a run goes with all that belongs to it, and `verify` names what deserves a look."""

from __future__ import annotations

import pytest

from kitt_core.errors import UnsupportedOperationError
from kitt_core.runs.model import Finding, Severity
from kitt_core.storage.contract import Capability, ResultStore
from kitt_core.testing._storage.corpus import fill
from kitt_core.testing._storage.questions import (
    StoreTests,
    assert_readable,
    found,
    lacks,
    needs,
    put,
    snapshot,
)
from kitt_core.testing.documents import HOSTILE, MINIMAL, STANDARD, UNFIT, run, small


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


class VerifyingContract(StoreTests):
    """``verify`` tells damage from notices."""

    def test_verify_finds_nothing_in_a_good_store(self, store: ResultStore) -> None:
        assert list(store.verify()) == []
        put(store, {"standard": STANDARD, "minimal": MINIMAL} | {f"r{i}": small(i) for i in range(10)})
        assert list(store.verify()) == []

    def test_no_document_that_can_be_saved_is_damage(self, store: ResultStore) -> None:
        put(store, {f"r{i}": document for i, document in enumerate(HOSTILE.values())})
        fill(store)
        assert [finding for finding in store.verify() if finding.severity is not Severity.NOTICE] == []

    def test_runs_with_the_same_document_are_a_notice(self, store: ResultStore) -> None:
        put(store, {"a": MINIMAL, "b": STANDARD, "c": MINIMAL})
        (finding,) = store.verify()
        assert type(finding) is Finding
        assert finding.severity is Severity.NOTICE
        assert {finding.run_id, *finding.what.replace(",", " ").split()} >= {"a", "c"}

    def test_totals_that_contradict_the_results_are_a_notice(self, store: ResultStore) -> None:
        results = [{"test_name": "t", "passed": True}, {"test_name": "t", "passed": False}]
        put(
            store,
            {
                "right": run(total_benchmarks=2, passed_count=1, failed_count=1, results=results),
                "wrong": run(total_benchmarks=5, passed_count=1, failed_count=4, results=results),
            },
        )
        (finding,) = store.verify()
        assert (finding.run_id, finding.severity) == ("wrong", Severity.NOTICE)
        assert "total_benchmarks" in finding.what
        assert "failed_count" in finding.what
        assert "passed_count" not in finding.what

    def test_fields_that_did_not_fit_are_notices(self, store: ResultStore) -> None:
        put(store, {"misfit": UNFIT["wrong types"], "fine": MINIMAL}, strict=False)
        findings = list(store.verify())
        assert {(finding.run_id, finding.severity) for finding in findings} == {("misfit", Severity.NOTICE)}
        for path in ("$.model", "$.passed", "$.results[0]", "$.system_info.gpu"):
            assert any(path in finding.what for finding in findings), path

    def test_verifying_changes_nothing(self, store: ResultStore) -> None:
        fill(store)
        before, listing = snapshot(store), list(store.list_results())
        list(store.verify())
        list(store.verify(rebuild=True))
        assert snapshot(store) == before
        assert list(store.list_results()) == listing
