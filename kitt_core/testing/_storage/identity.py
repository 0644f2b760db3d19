"""Identity: ids, what happens when one is taken, and storing each imported document once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from typing import Any

import pytest

from kitt_core.errors import InvalidDocumentError, InvalidQueryError, RunExistsError, UnsupportedOperationError
from kitt_core.runs.checking import check_run
from kitt_core.runs.model import Attachment
from kitt_core.storage.contract import Capability, ResultStore
from kitt_core.testing._storage.questions import StoreTests, assert_readable, found, lacks, needs, put, snapshot
from kitt_core.testing.documents import HOSTILE, MINIMAL, STANDARD, as_bytes, run, small

_BAD_IDS = ("", "a b", "a/b", "../x", "é", "a\n", "a\0", "x" * 129, "a:b", "*", "%41")


class IdentityContract(StoreTests):
    """Runs have ids."""

    def test_a_run_id_is_a_uuidv7_in_text_form_unless_the_caller_gives_one(self, store: ResultStore) -> None:
        run_id = store.save_result(MINIMAL)
        assert uuid.UUID(run_id).version == 7
        assert str(uuid.UUID(run_id)) == run_id
        assert store.save_result(MINIMAL, run_id="mine_1.0-x") == "mine_1.0-x"
        assert store.get_document("mine_1.0-x") == MINIMAL

    def test_an_id_may_be_any_1_to_128_of_its_characters(self, store: ResultStore) -> None:
        ids = [
            "a",
            "A",
            "-",
            "_",
            ".",
            "..",
            "...",
            "-rf",
            "CON",
            "nul",
            "x" * 128,
            "X" * 128,
            "0",
            "00",
            "run.json",
        ]
        documents = {run_id: as_bytes(run(n=i)) for i, run_id in enumerate(ids)}
        for run_id, document in documents.items():
            assert store.save_result(document, run_id=run_id) == run_id
        assert {run_id: store.get_document(run_id) for run_id in ids} == documents
        assert store.count() == len(ids)

    @pytest.mark.parametrize("run_id", _BAD_IDS, ids=range(len(_BAD_IDS)))
    def test_any_other_id_is_refused(self, store: ResultStore, run_id: str) -> None:
        with pytest.raises(InvalidDocumentError, match="run id") as caught:
            store.save_result(MINIMAL, run_id=run_id)
        assert_readable(caught.value)
        assert store.count() == 0

    @pytest.mark.parametrize("run_id", [None, 5, b"a", ["a"]], ids=repr)
    def test_a_result_is_sought_by_text_only(self, store: ResultStore, run_id: Any) -> None:
        store.save_result(MINIMAL, run_id="a")
        with pytest.raises(InvalidQueryError, match=r"run id is .*, expected text") as caught:
            store.get_result(run_id)
        assert_readable(caught.value)

    def test_an_unknown_id_gives_none(self, store: ResultStore) -> None:
        store.save_result(MINIMAL, run_id="known")
        for unknown in (
            "unknown",
            "know",
            "known2",
            "KNOWN",
            "*",
            "",
            "a/../known",
            "%",
            "k\0",
            "\ud800",
            "é" * 500,
        ):
            assert store.get_document(unknown) is None
            assert store.get_result(unknown) is None

    def test_the_same_id_with_the_same_bytes_is_a_no_op(self, store: ResultStore) -> None:
        first = datetime(2025, 1, 1, tzinfo=UTC)
        store.save_result(STANDARD, run_id="x", created_at=first)
        before = snapshot(store)
        assert store.save_result(STANDARD, run_id="x", created_at=first + timedelta(days=1)) == "x"
        assert snapshot(store) == before
        rows = store.aggregate("engine", "avg_tps", statistics="count")
        assert rows == [{"engine": "vllm", "count": 1, "avg_tps_count": 24}]

    def test_the_same_id_with_other_bytes_is_a_run_exists_error(self, store: ResultStore) -> None:
        store.save_result(STANDARD, run_id="x")
        before = snapshot(store)
        with pytest.raises(RunExistsError) as caught:
            store.save_result(as_bytes(small(1)), run_id="x")
        assert "x" in caught.value.message
        assert_readable(caught.value)
        assert snapshot(store) == before
        assert [summary.model for summary in store.list_results()] == ["meta-llama/Llama-3.1-8B-Instruct"]

    def test_an_equal_document_in_other_bytes_is_a_run_exists_error(self, store: ResultStore) -> None:
        store.save_result(MINIMAL, run_id="x")
        with pytest.raises(RunExistsError):
            store.save_result(MINIMAL + b"\n", run_id="x")
        assert store.get_document("x") == MINIMAL

    def test_a_save_after_a_run_exists_error_works(self, store: ResultStore) -> None:
        store.save_result(MINIMAL, run_id="x")
        with pytest.raises(RunExistsError):
            store.save_result(STANDARD, run_id="x")
        assert store.save_result(STANDARD, run_id="y") == "y"
        assert set(snapshot(store)) == {"x", "y"}

    def test_save_result_without_an_id_always_stores(self, store: ResultStore) -> None:
        ids = [store.save_result(MINIMAL) for _ in range(3)]
        ids += store.save_results([MINIMAL, MINIMAL])
        assert len(set(ids)) == 5
        assert set(snapshot(store)) == set(ids)

    def test_save_results_returns_the_ids_in_the_order_of_the_documents(self, store: ResultStore) -> None:
        documents = [as_bytes(small(i)) for i in range(7)]
        ids = store.save_results(iter(documents))
        assert [store.get_document(run_id) for run_id in ids] == documents
        assert store.count() == 7

    def test_save_results_of_nothing_stores_nothing(self, store: ResultStore) -> None:
        assert store.save_results([]) == []
        assert store.count() == 0

    def test_save_results_takes_bytes_text_and_mappings(self, store: ResultStore) -> None:
        ids = store.save_results([MINIMAL, MINIMAL.decode(), run()])
        assert [store.get_result(run_id) for run_id in ids] == [run()] * 3

    def test_a_batch_leaves_runs_alone_that_are_there_already(self, store: ResultStore) -> None:
        runs = [check_run(small(i), run_id=f"r{i}") for i in range(4)]
        store.save_checked(runs[1:3])
        before = snapshot(store)
        store.save_checked(runs)
        assert snapshot(store) == before | {r.id: (r.document, r.created_at, r.sha256) for r in runs}

    def test_a_batch_may_hold_the_same_run_twice(self, store: ResultStore) -> None:
        runs = [check_run(small(i), run_id=f"r{i}") for i in (0, 1, 0)]
        store.save_checked(runs)
        assert set(snapshot(store)) == {"r0", "r1"}

    def test_a_batch_with_an_id_that_other_bytes_have_stores_nothing(self, store: ResultStore) -> None:
        needs(store, Capability.ATOMIC_BATCH, Capability.DELETE)
        store.save_result(MINIMAL, run_id="r1")
        before = snapshot(store)
        with pytest.raises(RunExistsError):
            store.save_checked([check_run(small(i), run_id=f"r{i}") for i in range(3)])
        assert snapshot(store) == before

    def test_a_batch_with_two_documents_for_one_id_stores_nothing(self, store: ResultStore) -> None:
        with pytest.raises(RunExistsError):
            store.save_checked([check_run(small(0), run_id="r"), check_run(small(1), run_id="r")])
        assert store.count() == 0

    def test_documents_that_raise_while_they_are_read_store_nothing(self, store: ResultStore) -> None:
        def documents() -> Iterator[bytes]:
            yield MINIMAL
            raise LookupError("the source failed")

        with pytest.raises(LookupError):
            store.save_results(documents())
        assert store.count() == 0

    def test_created_at_is_kept_to_the_microsecond(self, store: ResultStore) -> None:
        moment = datetime(2025, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
        store.save_result(MINIMAL, run_id="x", created_at=moment)
        assert [stored.created_at for stored in store.scan()] == [moment]
        assert [summary.created_at for summary in store.list_results()] == [moment]

    def test_a_naive_created_at_is_read_as_utc_and_returned_aware(self, store: ResultStore) -> None:
        store.save_result(MINIMAL, created_at=datetime(2025, 3, 4, 5, 6, 7))  # noqa: DTZ001  # the point of it
        for moment in (next(store.scan()).created_at, store.list_results()[0].created_at):
            assert moment == datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
            assert moment.utcoffset() == timedelta(0)

    def test_a_created_at_with_an_offset_is_the_same_instant_in_utc(self, store: ResultStore) -> None:
        west = timezone(timedelta(hours=-8))
        store.save_result(MINIMAL, created_at=datetime(2025, 3, 4, 20, tzinfo=west))
        for moment in (next(store.scan()).created_at, store.list_results()[0].created_at):
            assert moment == datetime(2025, 3, 5, 4, tzinfo=UTC)
            assert moment.utcoffset() == timedelta(0)

    def test_without_created_at_it_is_the_time_of_the_save(self, store: ResultStore) -> None:
        before = datetime.now(UTC)
        store.save_result(MINIMAL)
        assert before <= next(store.scan()).created_at <= datetime.now(UTC)


class StoringOnceContract(StoreTests):
    """``save_unless_stored`` looks up and stores bytes in one step."""

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
