"""Upkeep: attachments, deleting a run and everything that belongs to it, and what `verify` reports."""

from __future__ import annotations

from io import BytesIO
from typing import BinaryIO

import pytest

from kitt_core.errors import InvalidDocumentError, KittError, UnsupportedOperationError
from kitt_core.runs.model import Attachment, Finding, Severity
from kitt_core.storage.contract import Capability, ResultStore
from kitt_core.testing._storage.agreement import fill
from kitt_core.testing._storage.questions import StoreTests, assert_readable, found, lacks, needs, put, snapshot
from kitt_core.testing.documents import HOSTILE, MINIMAL, STANDARD, UNFIT, run, small

_CONTENT = bytes(range(256)) * 300


def _file(name: str, content: bytes = _CONTENT) -> Attachment:
    return Attachment(name, len(content), lambda: BytesIO(content))


def _contents(store: ResultStore, run_id: str) -> dict[str, bytes]:
    contents = {}
    for attachment in store.attachments(run_id):
        with attachment.open() as file:
            contents[attachment.name] = file.read()
        assert attachment.size == len(contents[attachment.name])
    return contents


class AttachmentContract(StoreTests):
    """Attachments need ``ATTACHMENTS``; without it, reading them gives none."""

    def test_attachments_are_kept_byte_for_byte(self, store: ResultStore) -> None:
        needs(store, Capability.ATTACHMENTS)
        files = {
            "results_chunk_0000.jsonl.gz": _CONTENT,
            "empty": b"",
            "name with é and %": b"\r\n",
            ".hidden": b"\0",
        }
        store.save_result(MINIMAL, run_id="a", attachments=[_file(*item) for item in files.items()])
        assert _contents(store, "a") == files
        assert store.get_document("a") == MINIMAL

    def test_attachments_come_by_name_and_can_be_opened_again(self, store: ResultStore) -> None:
        needs(store, Capability.ATTACHMENTS)
        store.save_result(MINIMAL, run_id="a", attachments=[_file(name) for name in ("b", "c", "a")])
        attachments = list(store.attachments("a"))
        assert [attachment.name for attachment in attachments] == ["a", "b", "c"]
        for _ in range(2):
            with attachments[0].open() as file:
                assert file.read(10) == _CONTENT[:10]

    def test_attachments_belong_to_their_run(self, store: ResultStore) -> None:
        needs(store, Capability.ATTACHMENTS)
        store.save_result(MINIMAL, run_id="a", attachments=[_file("x", b"of a")])
        store.save_result(MINIMAL, run_id="b", attachments=[_file("x", b"of b"), _file("y", b"")])
        store.save_result(MINIMAL, run_id="c")
        assert [_contents(store, run_id) for run_id in "abc"] == [{"x": b"of a"}, {"x": b"of b", "y": b""}, {}]

    def test_deleting_a_run_removes_its_attachments(self, store: ResultStore) -> None:
        needs(store, Capability.ATTACHMENTS)
        needs(store, Capability.DELETE)
        store.save_result(MINIMAL, run_id="a", attachments=[_file("x")])
        store.delete_result("a")
        assert _contents(store, "a") == {}
        store.save_result(MINIMAL, run_id="a")
        assert _contents(store, "a") == {}

    def test_an_attachment_that_cannot_be_read_stores_nothing(self, store: ResultStore) -> None:
        needs(store, Capability.ATTACHMENTS)

        def fail() -> BinaryIO:
            raise OSError("the disk is gone")

        with pytest.raises((OSError, KittError), match="the disk is gone"):
            store.save_result(MINIMAL, run_id="a", attachments=[_file("x"), Attachment("y", 3, fail)])
        assert found(store) == set()
        assert _contents(store, "a") == {}
        store.save_result(MINIMAL, run_id="a", attachments=[_file("y", b"new")])
        assert _contents(store, "a") == {"y": b"new"}

    def test_a_name_that_is_not_a_plain_file_name_is_refused(self, store: ResultStore) -> None:
        for name in ("", ".", "..", "../x", "/x", "a/b", "a\\b", "a\0b"):
            with pytest.raises(InvalidDocumentError) as caught:
                store.save_result(MINIMAL, attachments=[_file(name)])
            assert_readable(caught.value)
        with pytest.raises(InvalidDocumentError, match="twice"):
            store.save_result(MINIMAL, attachments=[_file("x"), _file("x")])
        assert store.count() == 0

    def test_without_attachments_they_are_refused_and_nothing_is_stored(self, store: ResultStore) -> None:
        lacks(store, Capability.ATTACHMENTS)
        with pytest.raises(UnsupportedOperationError, match="ATTACHMENTS") as caught:
            store.save_result(MINIMAL, attachments=[_file("x")])
        assert_readable(caught.value)
        assert found(store) == set()

    def test_a_run_without_attachments_gives_none(self, store: ResultStore) -> None:
        store.save_result(MINIMAL, run_id="a", attachments=[])
        assert list(store.attachments("a")) == []
        assert list(store.attachments("unknown")) == []


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
    """``verify`` distinguishes damage from notices."""

    def test_verify_finds_nothing_in_a_good_store(self, store: ResultStore) -> None:
        assert list(store.verify()) == []
        put(store, {"standard": STANDARD, "minimal": MINIMAL} | {f"r{i}": small(i) for i in range(10)})
        assert list(store.verify()) == []
        assert store.count() == 12
        assert store.unread == ()

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
