"""`ExporterContract`: what `kitt_core.plugins.Exporter` promises, as tests.

::

    class TestYaml(ExporterContract):
        plugin = "kitt_yaml.plugin"
        name = "yaml"
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from io import BytesIO, RawIOBase
from typing import ClassVar, Final, cast

import pytest

from kitt_core.errors import KittError
from kitt_core.plugins.loading import EXPORTERS, Kind
from kitt_core.plugins.records import Exporter
from kitt_core.runs import codec
from kitt_core.runs.model import StoredRun
from kitt_core.testing._storage.questions import assert_readable
from kitt_core.testing.documents import HOSTILE, STANDARD, UNFIT, as_bytes, small
from kitt_core.testing.record import RecordContract

__all__ = ["ExporterContract"]

_MOMENT: Final = datetime(2025, 1, 1, tzinfo=UTC)


def _stored(run_id: str, document: bytes) -> StoredRun:
    return StoredRun(run_id, document, _MOMENT, codec.digest(document))


class _Pipe(RawIOBase):
    """A stream that, like a pipe, can only be written to."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(cast("bytes", data))
        self.written += view
        return view.nbytes


def _written(exporter: Exporter, runs: Iterable[StoredRun]) -> bytes:
    stream = BytesIO()
    exporter.write(runs, stream)
    assert not stream.closed, "the stream belongs to the caller"
    return stream.getvalue()


class ExporterContract(RecordContract):
    """Tests of an export format."""

    kind: ClassVar[Kind[Exporter]] = EXPORTERS

    def test_the_suffix_ends_a_file_name(self, record: Exporter) -> None:
        assert record.suffix.startswith(".")
        assert record.suffix[1:].isprintable()
        assert not set(record.suffix) & set("/\\ ")
        assert record.suffix == record.suffix.lower(), "a file's extension is compared in lower case"

    def test_a_run_is_written_and_the_stream_left_open(self, record: Exporter) -> None:
        assert _written(record, [_stored("a", STANDARD)])

    def test_it_is_given_an_iterator(self, record: Exporter) -> None:
        run = _stored("a", STANDARD)
        assert _written(record, iter([run])) == _written(record, [run])

    def test_no_runs_are_no_error(self, record: Exporter) -> None:
        assert isinstance(_written(record, iter(())), bytes)

    def test_several_runs_go_to_one_stream(self, record: Exporter) -> None:
        if record.single:
            pytest.skip(f"{record.name} declares that it holds one run")
        runs = [_stored(f"r{i}", as_bytes(small(i))) for i in range(3)]
        written = [_written(record, runs[:length]) for length in range(1, 4)]
        assert len(written[0]) < len(written[1]) < len(written[2])

    def test_the_same_runs_give_the_same_bytes(self, record: Exporter) -> None:
        runs = [_stored("a", STANDARD)]
        assert _written(record, runs) == _written(record, runs)

    def test_different_runs_give_different_bytes(self, record: Exporter) -> None:
        assert _written(record, [_stored("a", as_bytes(small(1)))]) != _written(
            record, [_stored("a", as_bytes(small(2)))]
        )

    def test_the_stream_is_only_written_to(self, record: Exporter) -> None:
        pipe = _Pipe()
        record.write([_stored("a", STANDARD)], pipe)  # type: ignore[arg-type]  # a raw stream is also binary
        assert bytes(pipe.written) == _written(record, [_stored("a", STANDARD)])

    @pytest.mark.parametrize("what", [what for what in HOSTILE if what != "long text"])
    def test_every_document_that_can_be_saved_can_be_written(self, record: Exporter, what: str) -> None:
        assert isinstance(_written(record, [_stored("a", HOSTILE[what])]), bytes)

    @pytest.mark.parametrize("what", list(UNFIT))
    def test_every_document_of_an_older_store_can_be_written(self, record: Exporter, what: str) -> None:
        assert isinstance(_written(record, [_stored("a", UNFIT[what])]), bytes)

    def test_a_damaged_document_is_named_or_written_as_it_is(self, record: Exporter) -> None:
        stream, refusal = BytesIO(), None
        try:
            record.write([_stored("the-damaged-one", b'{"model": ')], stream)
        except KittError as error:
            refusal = error
        if refusal is None:
            assert b'{"model":' in stream.getvalue()
        else:
            assert "the-damaged-one" in refusal.message
            assert_readable(refusal)

    def test_an_error_of_the_source_is_not_swallowed(self, record: Exporter) -> None:
        def runs() -> Iterator[StoredRun]:
            yield _stored("a", STANDARD)
            raise LookupError("the store is gone")

        with pytest.raises(LookupError, match="the store is gone"):
            _written(record, runs())

    def test_runs_are_not_kept_after_they_were_written(self, record: Exporter) -> None:
        if record.single:
            pytest.skip(f"{record.name} declares that it holds one run")
        kept: list[int] = []
        given: list[weakref.ref[StoredRun]] = []

        def runs() -> Iterator[StoredRun]:
            for i in range(6):
                run = _stored(f"r{i}", as_bytes(small(i)))
                given.append(weakref.ref(run))
                yield run
                del run
                gc.collect()
                kept.append(sum(reference() is not None for reference in given))

        _written(record, runs())
        assert max(kept) <= 2
