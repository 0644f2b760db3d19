"""Documents that take far more memory than bytes: refused, and let in by the option that the error names."""

from __future__ import annotations

import re

import pytest

from kitt_core.archive.members import Limits
from kitt_core.archive.records import MOST_RECORD_BYTES, RunRecord
from kitt_core.errors import InvalidArchiveError
from kitt_core.runs import codec
from kitt_core.service.transfer.restoring import check_archive
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing.documents import MINIMAL

from .archives import archive_of, restore

SMALLEST = Limits(ratio=1100, document_mib=1)
WRAPPED = MINIMAL.rstrip().removesuffix(b"}") + b', "values": ['
DENSE = {
    "arrays": b"[],",
    "objects": b"{},",
    "nested": b"[[[]]],",
    "objects of one": b'{"a":1},',
    "texts": b'"",',
}


def document(unit: bytes, size: int) -> bytes:
    return WRAPPED + unit * (size // len(unit)) + b"0]}"


@pytest.mark.parametrize("unit", DENSE.values(), ids=DENSE)
def test_a_dense_document_is_refused_unparsed_and_the_hint_lets_it_in(
    unit: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MemoryStore() as source:
        source.save_result(MINIMAL, run_id="small")
        source.save_result(document(unit, 300_000), run_id="dense")
        stream = archive_of(source)
    with MemoryStore() as target:
        with monkeypatch.context() as patch:
            parse = codec._loads
            patch.setattr(codec, "_loads", lambda text: parse(text) if len(text) < 5000 else pytest.fail("parsed"))
            with pytest.raises(
                InvalidArchiveError, match="run dense: its document contains more than 32768 texts"
            ) as e:
                check_archive(stream, target, limits=SMALLEST)
        named = re.search(r"--max-document (\d+)$", e.value.hint or "")
        assert named
        assert restore(stream, target, limits=Limits(ratio=1100, document_mib=int(named[1]))).copied == 2


def test_a_large_document_is_refused_and_the_hint_lets_it_in() -> None:
    with MemoryStore() as source:
        source.save_result(document(b"1.5,", 3 << 20), run_id="large")
        stream = archive_of(source)
    with MemoryStore() as target:
        with pytest.raises(
            InvalidArchiveError, match=r"its document has \d+ bytes, expected at most 1 MiB"
        ) as caught:
            check_archive(stream, target, limits=SMALLEST)
        assert (caught.value.hint or "").endswith("--max-document 4")
        assert restore(stream, target, limits=Limits(ratio=1100, document_mib=4)).copied == 1


def test_many_documents_need_few_attempts() -> None:
    """Each error names what is enough for one document: the next one may need more."""
    with MemoryStore() as source:
        for position in (1, 3, 4):
            source.save_result(document(b"[],", 40_000 * position), run_id=f"run-{position}")
        stream = archive_of(source)
    limits, attempts, copied = SMALLEST, 0, 0
    with MemoryStore() as target:
        while not copied:
            try:
                copied = restore(stream, target, limits=limits).copied
            except InvalidArchiveError as error:
                limits = Limits(1100, int((error.hint or "").rsplit(" ", 1)[1]))
                attempts += 1
    assert copied == 3
    assert 1 <= attempts <= 2


def test_numbers_are_bounded_by_their_bytes_alone() -> None:
    with MemoryStore() as source:
        source.save_result(document(b"1,", 1_000_000))
        stream = archive_of(source)
    with MemoryStore() as target:
        assert restore(stream, target, limits=SMALLEST).copied == 1


def test_a_record_is_no_way_around_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_loads", lambda text: pytest.fail("it was parsed"))
    with pytest.raises(InvalidArchiveError, match="more than 1048576 texts"):
        RunRecord.from_bytes("run.json", b'{"a":[' + b"[]," * (MOST_RECORD_BYTES // 3) + b"0]}")
