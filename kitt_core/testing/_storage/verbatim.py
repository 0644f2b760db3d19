"""Verbatim: the bytes given are the bytes kept."""

from __future__ import annotations

import json

from kitt_core.runs import codec
from kitt_core.storage.contract import ResultStore
from kitt_core.testing._storage.questions import StoreTests, put
from kitt_core.testing.documents import HOSTILE, MINIMAL, STANDARD, as_bytes, run


def _keys() -> dict[str, str]:
    """Return a run id for each hostile document."""
    return {f"run-{i:03}": what for i, what in enumerate(HOSTILE)}


class VerbatimContract(StoreTests):
    """What goes in comes out."""

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
