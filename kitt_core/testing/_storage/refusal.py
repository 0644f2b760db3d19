"""Refusal: what is no run is named and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kitt_core.errors import InvalidDocumentError, KittError, UnknownFieldError
from kitt_core.storage.contract import ResultStore
from kitt_core.testing._storage.questions import (
    StoreTests,
    assert_readable,
    found,
    snapshot,
)
from kitt_core.testing.documents import MINIMAL, REFUSED, STANDARD, UNFIT, Refused, small


class RefusalContract(StoreTests):
    """Errors are errors, and nothing else."""

    def test_a_document_that_is_no_run_is_refused_with_its_json_path(self, store: ResultStore) -> None:
        wrong = [case.name for case in REFUSED if not _is_refused(store, case)]
        assert wrong == []

    def test_a_refused_document_leaves_nothing_behind(self, store: ResultStore) -> None:
        for case in REFUSED:
            with pytest.raises(KittError):
                store.save_result(case.document)
        assert found(store) == set()
        assert store.aggregate("test_name") == []
        assert list(store.verify()) == []

    def test_a_save_after_a_refused_one_stores_exactly_that_run(self, store: ResultStore) -> None:
        for case in REFUSED[-30:]:
            with pytest.raises(KittError):
                store.save_result(case.document)
        run_id = store.save_result(STANDARD)
        assert found(store) == {run_id}
        assert store.aggregate("engine", "avg_tps", statistics="count") == [
            {"engine": "vllm", "count": 1, "avg_tps_count": 24}
        ]

    def test_save_results_with_one_refused_document_stores_none(self, store: ResultStore) -> None:
        store.save_result(MINIMAL, run_id="before")
        before = snapshot(store)
        bad = '{"model": "m", "engine": "e", "results": [{"test_name": "t", "metrics": null}]}'
        for position in range(3):
            documents = [small(0), small(1)]
            documents.insert(position, bad)  # type: ignore[arg-type]  # one of them is text
            with pytest.raises(InvalidDocumentError, match=r"\$\.results\[0\]\.metrics is null") as caught:
                store.save_results(documents)
            assert f"document {position}" in caught.value.message
            assert_readable(caught.value)
        assert snapshot(store) == before

    def test_strict_false_takes_any_json_object(self, store: ResultStore) -> None:
        ids = {what: store.save_result(document, strict=False) for what, document in UNFIT.items()}
        assert {what: store.get_document(run_id) for what, run_id in ids.items()} == dict(UNFIT)
        assert found(store) == set(ids.values())

    def test_strict_false_puts_none_where_a_field_does_not_fit(self, store: ResultStore) -> None:
        store.save_result(UNFIT["wrong types"], strict=False)
        (summary,) = store.list_results()
        assert (summary.model, summary.engine, summary.suite_name, summary.kitt_version) == (None,) * 4
        assert (summary.passed, summary.total_benchmarks, summary.total_time_seconds) == (None,) * 3
        assert (summary.timestamp, summary.gpu_model, summary.fingerprint) == (None,) * 3

    def test_strict_false_refuses_what_is_no_json_object(self, store: ResultStore) -> None:
        for document in (b"", b"[]", b"null", b'"x"', b"\xff", b"{", b"{}{}"):
            with pytest.raises(InvalidDocumentError):
                store.save_result(document, strict=False)
        assert store.count() == 0

    def test_an_unknown_field_is_an_error_with_the_nearest_name(self, store: ResultStore) -> None:
        store.save_result(MINIMAL)
        calls: dict[str, Callable[[], object]] = {
            "model": lambda: store.list_results({"modle": "x"}),
            "engine": lambda: store.count({"engin": "x"}),
            "suite_name": lambda: store.query({"suite_nam": "x"}),
            "passed": lambda: list(store.scan({"pased": True})),
            "timestamp": lambda: store.list_results(order_by="-timestmp"),
            "created_at": lambda: store.query(order_by="create_at"),
            "test_name": lambda: store.aggregate(["engine", "test_nam"]),
            "stddev": lambda: store.aggregate("engine", "avg_tps", statistics=["avg", "stdev"]),
            "gpu_model": lambda: store.aggregate("engine", filters={"gpu_modl": "x"}),
        }
        for name, call in calls.items():
            with pytest.raises(UnknownFieldError) as caught:
                call()
            assert isinstance(caught.value, ValueError)
            assert name in (caught.value.hint or "")
            assert_readable(caught.value)

    def test_a_field_name_is_never_part_of_a_statement(self, store: ResultStore) -> None:
        store.save_result(MINIMAL, run_id="x")
        for name in ("model; DROP TABLE runs", "1", "model, id", "model DESC", "raw_json", "metric:", "", "*"):
            with pytest.raises(UnknownFieldError):
                store.list_results(order_by=name)
            with pytest.raises(UnknownFieldError):
                store.aggregate(name)
            with pytest.raises(UnknownFieldError):
                store.list_results({name: "x"})
        odd = ["x'; DROP TABLE runs; --", 'a"b', "?", "%s", ":name", "a\0b", "\ud800", "/", "//", "x" * 5000]
        assert store.aggregate("engine", odd) == [
            {
                "engine": "e",
                "count": 1,
                **{f"{name}_avg".replace("\0", "\ufffd").replace("\ud800", "\ufffd"): None for name in odd},
            }
        ]
        for name in odd:
            assert [s.id for s in store.list_results(order_by=f"metric:{name}")] == ["x"]
        assert found(store) == {"x"}

    def test_a_value_that_cannot_be_read_is_an_error(self, store: ResultStore) -> None:
        store.save_result(MINIMAL)
        bad_filters = (
            {"since": "yesterday"},
            {"until": 5},
            {"passed": "yes"},
            {"model": 7},
            {"model": [None]},
            {"labels": "gpu=a"},
            {"labels": {"gpu": 5}},
            {"metrics": "avg_tps"},
            {"metrics": "avg_tps>fast"},
            {"metrics": ["avg_tps>nan"]},
            {"metrics": "avg_tps~4"},
            {"search": ["a"]},
        )
        for filters in bad_filters:
            with pytest.raises(KittError) as caught:
                store.list_results(filters)
            assert isinstance(caught.value, ValueError)
            assert_readable(caught.value)
        pages: list[dict[str, Any]] = [
            {"limit": -1},
            {"offset": -1},
            {"limit": 1.5},
            {"limit": True},
            {"offset": None},
        ]
        for page in pages:
            with pytest.raises(KittError) as caught:
                store.list_results(**page)
            assert_readable(caught.value)
            with pytest.raises(KittError):
                store.query(**page)


def _is_refused(store: ResultStore, case: Refused) -> bool:
    try:
        store.save_result(case.document)
    except InvalidDocumentError as error:
        assert_readable(error)
        return case.names in error.message and isinstance(error, ValueError)
    return False
