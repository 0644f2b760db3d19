"""Attachments: files beside a document, or a refusal."""

from __future__ import annotations

from io import BytesIO
from typing import BinaryIO

import pytest

from kitt_core.errors import InvalidDocumentError, KittError, UnsupportedOperationError
from kitt_core.runs.model import Attachment
from kitt_core.storage.contract import Capability, ResultStore
from kitt_core.testing._storage.questions import (
    StoreTests,
    assert_readable,
    found,
    lacks,
    needs,
)
from kitt_core.testing.documents import MINIMAL

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
    """Attachments need ``ATTACHMENTS``; reading gives none without."""

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

    def test_a_name_that_is_no_plain_file_name_is_refused(self, store: ResultStore) -> None:
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
