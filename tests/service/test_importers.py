from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kitt_core._builtin.importers import find, read_stream, recognises
from kitt_core.errors import InvalidDocumentError
from kitt_core.plugins import ImportCandidate, PluginManager
from kitt_core.rundir import write_run
from kitt_core.runs import check_run
from kitt_core.service.transfer.importing import find_candidates

DOCUMENT = b'{"model": "m",\r\n "engine": "e"}\r\n'


def documents(stream: bytes) -> list[bytes]:
    return [candidate.read() for candidate in read_stream(io.BytesIO(stream), "standard input")]


def only(candidates: Iterator[ImportCandidate]) -> ImportCandidate:
    found = list(candidates)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("name", "taken"), [("a.json", True), ("A.JSON", True), ("a.jsonl", True), ("a.txt", False), ("a", False)]
)
def test_files_are_recognised_by_their_names(tmp_path: Path, name: str, taken: bool) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    assert recognises(path) is taken
    assert recognises(tmp_path)


def test_a_file_is_one_document_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(DOCUMENT)
    found = only(find(path))
    assert (found.source, found.read(), found.run_id) == (str(path), DOCUMENT, None)


def test_a_line_is_a_document_and_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n{"b": 2} \nbad\n{"c": 3}')
    found = {candidate.source: candidate.read() for candidate in find(path)}
    assert found == {
        f"{path}:1": b'{"a": 1}',
        f"{path}:3": b'{"b": 2} ',
        f"{path}:4": b"bad",
        f"{path}:5": b'{"c": 3}',
    }


def test_a_run_directory_gives_id_time_and_files(tmp_path: Path) -> None:
    saved = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
    directory = write_run(tmp_path, check_run(DOCUMENT, run_id="mine", created_at=saved))
    outputs = directory / "outputs"
    outputs.mkdir()
    (outputs / "results_chunk_0000.jsonl.gz").write_bytes(b"gz")
    found = only(find(tmp_path))
    assert (found.source, found.read()) == (str(directory / "metrics.json"), DOCUMENT)
    assert (found.run_id, found.created_at) == ("mine", saved)
    assert [(file.name, file.size) for file in found.attachments] == [("results_chunk_0000.jsonl.gz", 2)]


@pytest.mark.parametrize(
    "noted", [None, "{", '{"id": "mine", "created_at": "2025-01-01", "sha256": "%s"}' % ("0" * 64)]
)
def test_an_id_that_the_bytes_do_not_confirm_is_not_taken(tmp_path: Path, noted: str | None) -> None:
    (tmp_path / "metrics.json").write_bytes(DOCUMENT)
    if noted is not None:
        (tmp_path / "run.json").write_text(noted)
    found = only(find(tmp_path))
    assert (found.read(), found.run_id, found.created_at) == (DOCUMENT, None, None)


def test_a_tree_is_searched_at_any_depth_in_the_order_of_paths(tmp_path: Path) -> None:
    for name in ("z/y/x/w", "b", "a/1"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "metrics.json").write_bytes(DOCUMENT)
    (tmp_path / "other.json").write_bytes(DOCUMENT)
    found = [Path(candidate.source).relative_to(tmp_path).as_posix() for candidate in find(tmp_path)]
    assert found == ["a/1/metrics.json", "b/metrics.json", "z/y/x/w/metrics.json"]


def test_a_directory_of_plain_files_gives_those(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "notes.txt"):
        (tmp_path / name).write_bytes(DOCUMENT)
    (tmp_path / "c.json").mkdir()
    assert [Path(candidate.source).name for candidate in find(tmp_path)] == ["a.json", "b.json"]


def test_what_stands_in_for_a_document_is_refused_and_links_are_passed_by(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good/metrics.json").write_bytes(DOCUMENT)
    (tmp_path / "odd").mkdir()
    os.mkfifo(tmp_path / "odd/metrics.json")
    (tmp_path / "latest").symlink_to(tmp_path / "good", target_is_directory=True)
    good, odd = find(tmp_path)
    assert good.read() == DOCUMENT
    assert odd.source == str(tmp_path / "odd/metrics.json")
    with pytest.raises(InvalidDocumentError, match="not a regular file"):
        odd.read()


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"not json",
        b'{"a": 1}',
        b'\xef\xbb\xbf{"a": 1}\r\n\r\n \n',
        json.dumps({"a": [1, {"b": 2}]}, indent=2).encode(),
        b'\n\n{"a": 1}\n',
    ],
)
def test_a_stream_of_one_document_is_taken_byte_for_byte(stream: bytes) -> None:
    assert documents(stream) == [stream]


def test_a_stream_whose_first_line_is_an_object_and_goes_on_is_lines() -> None:
    assert documents(b'\xef\xbb\xbf{"a": 1}\n\n \n{"b": 2}\r\n[]\n') == [b'{"a": 1}', b'{"b": 2}', b"[]"]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "-"])
def test_what_never_ends_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("kitt_core._builtin.importers._MOST_BYTES", 100)
    monkeypatch.chdir(tmp_path)

    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            self.given += len(buffer)
            assert self.given < 1 << 20, "it is read without end"
            buffer[:] = b"x" * len(buffer)
            return len(buffer)

    (tmp_path / name).write_bytes(b" " * 101)
    stream = io.BufferedReader(Endless(), 10)
    (found,) = find_candidates(PluginManager(), [name], standard_input=stream)
    with pytest.raises(InvalidDocumentError, match="no store takes"):
        found.read()
