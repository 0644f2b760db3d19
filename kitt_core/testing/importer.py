r"""`ImporterContract`: what `kitt_core.plugins.Importer` promises, as tests.

A subclass provides some files of the importer's kind, with the documents that they contain::

    class TestCsv(ImporterContract):
        plugin = "kitt_csv.plugin"
        name = "csv"

        @pytest.fixture
        def samples(self, tmp_path):
            path = tmp_path / "runs.csv"
            path.write_text("model,engine\nm,e\n")
            return {path: [b'{"model": "m", "engine": "e"}']}

        @pytest.fixture
        def unrecognised(self, tmp_path):
            path = tmp_path / "notes.txt"
            path.write_text("not a result")
            return [path]
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kitt_core.errors import KittError
from kitt_core.plugins.loading import IMPORTERS, Kind
from kitt_core.plugins.records import ImportCandidate, Importer
from kitt_core.runs.ids import check_run_id
from kitt_core.testing._storage.questions import assert_readable
from kitt_core.testing.record import RecordContract

__all__ = ["ImporterContract"]

Samples = Mapping[Path, Sequence[bytes]]


class ImporterContract(RecordContract):
    """Tests of a reader for one kind of result files.

    Attributes:
        stream: What standard input may contain, None if the importer does not read it.
        stream_documents: The documents that ``stream`` contains.
    """

    kind: ClassVar[Kind[Importer]] = IMPORTERS
    stream: ClassVar[bytes | None] = None
    stream_documents: ClassVar[Sequence[bytes]] = ()

    @pytest.fixture
    def samples(self) -> Any:
        """Return files and directories of this kind, each with its documents in order; to be overridden."""
        pytest.fail(f"{type(self).__name__} needs a fixture `samples`: a mapping from path to documents")

    @pytest.fixture
    def unrecognised(self) -> Any:
        """Return files that the importer must not recognise; to be overridden."""
        pytest.fail(f"{type(self).__name__} needs a fixture `unrecognised`: paths that are not recognised")

    def test_it_recognises_its_own_files_and_no_others(
        self, record: Importer, samples: Samples, unrecognised: Sequence[Path]
    ) -> None:
        assert samples
        assert [path for path in samples if record.recognises(path) is not True] == []
        assert unrecognised
        assert [path for path in unrecognised if record.recognises(path) is not False] == []

    def test_what_does_not_exist_raises_nothing(self, record: Importer, tmp_path: Path) -> None:
        assert record.recognises(tmp_path / "not" / "there") is False

    def test_it_finds_the_documents_in_their_order(self, record: Importer, samples: Samples) -> None:
        for path, documents in samples.items():
            assert [candidate.read() for candidate in record.find(path)] == list(documents), path

    def test_the_order_is_stable(self, record: Importer, samples: Samples) -> None:
        for path in samples:
            first, second = ([candidate.source for candidate in record.find(path)] for _ in range(2))
            assert first == second

    def test_finding_is_an_iterator_and_reading_may_come_later_and_again(
        self, record: Importer, samples: Samples
    ) -> None:
        for path, documents in samples.items():
            found = record.find(path)
            assert iter(found) is found
            candidates = list(found)
            assert [candidate.read() for candidate in reversed(candidates)] == list(reversed(documents))
            assert [candidate.read() for candidate in candidates] == list(documents)

    def test_every_candidate_says_where_it_was_found(self, record: Importer, samples: Samples) -> None:
        for path in samples:
            sources = [candidate.source for candidate in record.find(path)]
            assert len(set(sources)) == len(sources)
            assert [source for source in sources if not source.startswith(str(path))] == []

    def test_ids_times_and_files_are_of_their_types(self, record: Importer, samples: Samples) -> None:
        for path in samples:
            for candidate in record.find(path):
                assert type(candidate) is ImportCandidate
                assert type(candidate.read()) is bytes
                assert candidate.run_id is None or check_run_id(candidate.run_id) == candidate.run_id
                assert candidate.created_at is None or candidate.created_at.tzinfo is not None
                for attachment in candidate.attachments:
                    with attachment.open() as file:
                        assert len(file.read()) == attachment.size

    def test_nothing_is_changed(self, record: Importer, samples: Samples) -> None:
        before = {path: _state(path) for path in samples}
        for path in samples:
            record.recognises(path)
            assert [candidate.read() for candidate in record.find(path)]
        assert {path: _state(path) for path in samples} == before

    def test_a_file_that_disappears_affects_only_its_candidates(self, record: Importer, samples: Samples) -> None:
        for path, documents in samples.items():
            candidates = list(record.find(path))
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            for candidate, document in zip(candidates, documents, strict=True):
                try:
                    assert candidate.read() == document
                except OSError:
                    continue
                except KittError as error:
                    assert_readable(error)

    def test_it_reads_standard_input(self, record: Importer) -> None:
        if self.stream is None:
            assert list(record.read_stream(BytesIO(b"anything"), "standard input")) == []
            return
        found = list(record.read_stream(BytesIO(self.stream), "standard input"))
        assert [candidate.read() for candidate in found] == list(self.stream_documents)
        assert all(candidate.source.startswith("standard input") for candidate in found)

    def test_standard_input_may_hold_anything(self, record: Importer) -> None:
        for content in (b"", b"\0", b"\xff\xfe{\0}\0", b"{", b"\n\n", b"[" * 10_000):
            for candidate in record.read_stream(BytesIO(content), "standard input"):
                try:
                    assert type(candidate.read()) is bytes
                except KittError as error:
                    assert_readable(error)


def _state(path: Path) -> list[tuple[str, bytes | None]]:
    return [(str(entry), entry.read_bytes() if entry.is_file() else None) for entry in sorted(_entries(path))]


def _entries(path: Path) -> Iterator[Path]:
    yield path
    yield from path.rglob("*")
