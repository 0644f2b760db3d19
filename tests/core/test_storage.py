from __future__ import annotations

import io
import threading
from collections.abc import Iterator

import pytest

from kitt_core.errors import InvalidDocumentError, RunExistsError, UnsupportedOperationError
from kitt_core.runs import Attachment, CheckedRun, Filters, StoredRun, check_run
from kitt_core.storage import ResultStore
from kitt_core.storage.memory import MemoryStore


def make(model: str, run_id: str | None = None, *names: str) -> CheckedRun:
    files = [Attachment(name, 0, io.BytesIO) for name in names]
    return check_run({"model": model, "engine": "e"}, run_id=run_id, attachments=files)


@pytest.mark.parametrize(
    "name", ["a", "results_chunk_0000.jsonl.gz", ".hidden", "...", "a b", "ü" * 127, "x" * 255]
)
def test_an_attachment_may_have_any_plain_name(name: str) -> None:
    assert make("m", None, name).attachments[0].name == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "a\0", "a\nb.txt", "a\x7f", "\u202e", "ü" * 128, "\ud800"]
)
def test_an_attachment_that_some_store_could_not_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidDocumentError, match="is not a valid file name"):
        make("m", None, name)


def test_an_attachments_name_is_given_once() -> None:
    with pytest.raises(InvalidDocumentError, match="'b' is given twice"):
        make("m", None, "a", "b", "c", "b")


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with MemoryStore() as store:
        yield store


def ids(store: ResultStore) -> set[str]:
    return {run.id for run in store.scan()}


def test_bytes_that_are_there_are_not_stored_again(store: MemoryStore) -> None:
    old, new = make("old", "first"), make("new", "new")
    store.save_checked([old])
    assert store.save_unless_stored([make("old", "second"), new, make("new", "third")]) == {old.sha256: "first"}
    assert ids(store) == {"first", "new"}
    assert store.save_unless_stored([new, old]) == {new.sha256: "new", old.sha256: "first"}
    assert store.save_unless_stored([]) == {}


def test_a_taken_id_stores_nothing_of_the_batch(store: MemoryStore) -> None:
    store.save_checked([make("old", "taken")])
    for batch in ([make("a"), make("b", "taken")], [make("a", "twice"), make("b", "twice")]):
        with pytest.raises(RunExistsError, match=r"with (other|different) content"):
            store.save_unless_stored(batch)
    assert ids(store) == {"taken"}


def test_the_same_run_under_a_damaged_digest_is_there() -> None:
    class Forgetful(MemoryStore):
        def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
            del filters
            return iter(())

    with Forgetful() as store:
        run = make("m", "id")
        store.save_checked([run])
        assert store.save_unless_stored([run, make("other", "other")]) == {run.sha256: "id"}
        assert store.get_document("other") is not None


def test_attachments_need_a_store_that_keeps_them() -> None:
    class Plain(MemoryStore):
        capabilities = frozenset()

    with Plain() as store, pytest.raises(UnsupportedOperationError):
        store.save_unless_stored([make("m", None, "file")])


def test_threads_that_import_the_same_runs_store_each_once() -> None:
    class Slow(MemoryStore):
        """Gives another thread the time to look before this one stores."""

        def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
            found = list(super().scan(filters))
            pause.wait(0.05)
            return iter(found)

    pause = threading.Event()
    with Slow() as store:
        batches = [[make(f"m{n}") for n in range(5)] for _ in range(4)]
        threads = [threading.Thread(target=store.save_unless_stored, args=(batch,)) for batch in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ids(store)) == 5
