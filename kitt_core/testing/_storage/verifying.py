"""Verifying: a good store has no damage, and what deserves a look is named."""

from __future__ import annotations

from kitt_core.model import Finding, Severity
from kitt_core.storage import ResultStore
from kitt_core.testing._storage.asking import StoreTests, put, snapshot
from kitt_core.testing._storage.corpus import fill
from kitt_core.testing.documents import HOSTILE, MINIMAL, STANDARD, UNFIT, run, small


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
