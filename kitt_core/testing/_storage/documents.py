"""Documents: the bytes given are the bytes kept, and what is refused leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kitt_core.errors import InvalidDocumentError, KittError, UnknownFieldError
from kitt_core.runs import codec
from kitt_core.runs.rows import MAX_TEXT
from kitt_core.storage.contract import ResultStore
from kitt_core.testing._storage.questions import (
    StoreTests,
    assert_readable,
    found,
    little_memory_for,
    put,
    snapshot,
)
from kitt_core.testing.documents import (
    HOSTILE,
    MINIMAL,
    REFUSED,
    STANDARD,
    UNFIT,
    Refused,
    as_bytes,
    multiplying_names,
    run,
    small,
)


def _keys() -> dict[str, str]:
    """Return a run id for each hostile document."""
    return {f"run-{i:03}": what for i, what in enumerate(HOSTILE)}


class VerbatimContract(StoreTests):
    """A document comes back as it was saved."""

    def test_the_bytes_given_are_the_bytes_kept(self, store: ResultStore) -> None:
        ids = {what: store.save_result(document) for what, document in HOSTILE.items()}
        assert [what for what, run_id in ids.items() if store.get_document(run_id) != HOSTILE[what]] == []

    def test_the_bytes_of_a_batch_are_kept_too(self, store: ResultStore) -> None:
        ids = dict(zip(HOSTILE, store.save_results(HOSTILE.values()), strict=True))
        assert [what for what, run_id in ids.items() if store.get_document(run_id) != HOSTILE[what]] == []

    def test_scan_yields_the_same_bytes(self, store: ResultStore) -> None:
        keys = _keys()
        put(store, {run_id: HOSTILE[what] for run_id, what in keys.items()})
        scanned = {stored.id: stored.document for stored in store.scan()}
        assert scanned.keys() == keys.keys()
        assert [what for run_id, what in keys.items() if scanned[run_id] != HOSTILE[what]] == []

    def test_the_sha256_of_a_stored_run_is_that_of_its_bytes(self, store: ResultStore) -> None:
        keys = _keys()
        put(store, {run_id: HOSTILE[what] for run_id, what in keys.items()})
        digests = {stored.id: stored.sha256 for stored in store.scan()}
        assert digests == {run_id: codec.digest(HOSTILE[what]) for run_id, what in keys.items()}

    def test_the_bytes_are_bytes_and_not_another_type(self, store: ResultStore) -> None:
        run_id = store.save_result(MINIMAL)
        assert type(store.get_document(run_id)) is bytes
        assert [type(stored.document) for stored in store.scan()] == [bytes]

    def test_get_result_returns_the_parsed_document_with_nothing_added(self, store: ResultStore) -> None:
        keys = _keys()
        put(store, {run_id: HOSTILE[what] for run_id, what in keys.items()})
        # As text, because NaN is not equal to itself and True is equal to 1.
        wrong = [w for i, w in keys.items() if repr(store.get_result(i)) != repr(codec.parse(HOSTILE[w]))]
        assert wrong == []

    def test_query_returns_the_parsed_documents_with_nothing_added(self, store: ResultStore) -> None:
        put(store, {"a": STANDARD, "b": HOSTILE["own id"], "c": HOSTILE["not finite"]})
        documents = store.query(order_by="created_at")
        assert repr(documents) == repr(
            [codec.parse(STANDARD)] + [codec.parse(HOSTILE[what]) for what in ("own id", "not finite")]
        )

    def test_a_mapping_is_serialised_once_and_those_bytes_are_the_document(self, store: ResultStore) -> None:
        mapping = run(b=[1, 2.5, None, True, "é🦙"], a={"z": {}, "y": []}, n=-0.0)
        run_id = store.save_result(mapping)
        document = store.get_document(run_id)
        assert document is not None
        assert json.loads(document) == mapping
        assert list(json.loads(document)) == list(mapping)
        assert store.get_document(run_id) == document
        assert store.save_result(document, run_id=run_id) == run_id

    def test_text_is_kept_as_its_utf_8_bytes(self, store: ResultStore) -> None:
        text = '{ "model":\t"模型 🦙",\r\n"engine": "é" }'
        assert store.get_document(store.save_result(text)) == text.encode()

    def test_an_id_in_the_document_stays_there_and_does_not_name_the_run(self, store: ResultStore) -> None:
        run_id = store.save_result(HOSTILE["own id"], run_id="the-run-id")
        assert run_id == "the-run-id"
        assert store.get_document("not-the-run-id") is None
        result = store.get_result("the-run-id")
        assert result is not None
        assert result["id"] == "not-the-run-id"

    def test_a_result_that_the_caller_changes_does_not_change_the_store(self, store: ResultStore) -> None:
        run_id = store.save_result(STANDARD)
        result = store.get_result(run_id)
        assert result is not None
        result["results"].clear()
        store.query()[0]["model"] = "another"
        assert store.get_result(run_id) == json.loads(STANDARD)
        assert store.get_document(run_id) == STANDARD

    def test_a_mapping_that_the_caller_changes_later_does_not_change_the_store(self, store: ResultStore) -> None:
        mapping = run(results=[{"test_name": "t", "metrics": {"x": 1}}])
        run_id = store.save_result(mapping)
        mapping["results"][0]["metrics"]["x"] = 2
        assert store.get_result(run_id) == run(results=[{"test_name": "t", "metrics": {"x": 1}}])

    def test_equal_documents_of_different_spelling_stay_different(self, store: ResultStore) -> None:
        spellings = [as_bytes(run(x=1)), json.dumps(run(x=1)).encode(), b'{"x": 1, "model": "m", "engine": "e"}']
        ids = store.save_results(spellings)
        assert [store.get_document(run_id) for run_id in ids] == spellings

    def test_a_second_handle_reads_the_same_bytes(self, store: ResultStore) -> None:
        keys = _keys()
        put(store, {run_id: HOSTILE[what] for run_id, what in keys.items()})
        with self.second(store) as other:
            assert [what for run_id, what in keys.items() if other.get_document(run_id) != HOSTILE[what]] == []

    def test_what_was_saved_is_there_after_closing(self, store: ResultStore) -> None:
        with self.second(store):
            pass  # skips before the store is closed
        run_id = store.save_result(STANDARD)
        store.close()
        with self.second(store) as other:
            assert other.get_document(run_id) == STANDARD
            assert [summary.id for summary in other.list_results()] == [run_id]


class RefusalContract(StoreTests):
    """What is refused raises the right error and changes nothing."""

    def test_a_document_that_is_not_a_run_is_refused_with_its_json_path(self, store: ResultStore) -> None:
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

    def test_strict_false_leaves_out_what_is_too_long(self, store: ResultStore) -> None:
        store.save_result(UNFIT["too long"], strict=False)
        (summary,) = store.list_results()
        assert (summary.model, summary.engine, summary.fingerprint) == (None, "e", None)
        assert store.aggregate("test_name", "fits", statistics="sum") == [
            {"test_name": None, "count": 1, "fits_sum": 2}
        ]

    def test_a_text_of_the_greatest_length_is_kept(self, store: ResultStore) -> None:
        longest = "x" * MAX_TEXT
        entry = {"test_name": longest, "metrics": {"x" * (MAX_TEXT - 2): {"y": 1}}}
        store.save_result(
            run(model=longest, results=[entry], labels={longest: longest}, system_info={"fingerprint": longest}),
            run_id="x",
        )
        metric = f"{longest[:-2]}.y"
        assert found(store, labels={longest: longest}, fingerprint=longest, model=longest) == {"x"}
        assert store.aggregate("test_name", metric, statistics="sum") == [
            {"test_name": longest, "count": 1, f"{metric}_sum": 1}
        ]

    def test_memory_stays_within_a_multiple_of_the_document(self, store: ResultStore) -> None:
        store.save_result(MINIMAL)
        document = multiplying_names(200_000)
        with little_memory_for(document):
            with pytest.raises(InvalidDocumentError, match="metrics' names"):
                store.save_result(document)
            run_id = store.save_result(document, strict=False)
            assert store.get_document(run_id) == document
            assert store.count() == 2

    def test_strict_false_refuses_what_is_not_a_json_object(self, store: ResultStore) -> None:
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
