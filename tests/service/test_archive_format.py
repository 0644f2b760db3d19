"""The format: what is written comes back, standard tools read it, and nothing else passes for it."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from kitt_core import open_store
from kitt_core.archive import ArchiveReader, ArchiveWriter, Spool
from kitt_core.archive.members import Limits, Unpacked, read_header, write_header
from kitt_core.archive.records import ArchivedFile, RunRecord, is_safe_name, member_name
from kitt_core.errors import InvalidArchiveError, InvalidDocumentError, StoreUnavailableError
from kitt_core.runs import Attachment
from kitt_core.testing.documents import MINIMAL

from .archives import CREATED, MARKER, read, stored, written
from .contents import CORPUS, attachment

ODD_IDS = [
    ".",
    "..",
    "...",
    "-rf",
    "--",
    "A",
    "a",
    "CON",
    "con",
    "nul.txt",
    "x.",
    "_",
    "a" * 128,
    "A" * 128,
    "~"[:0] or "0",
]
ODD_NAMES = ["a", "A", "é", "e\u0301", "con", "-x", "~", "a~1", ".hidden", "x" * 255, "模型.jsonl", "a b", "%41"]

SMALL = written(
    (stored("one", MINIMAL), [attachment("a.txt", b"first"), attachment("B", b"")]),
    (stored("two", b"{}"), []),
)


# Round trips.


def test_what_is_written_comes_back() -> None:
    runs = [stored(run_id, document) for run_id, document in CORPUS.items()]
    assert read(written(*((run, []) for run in runs))) == runs


def test_an_archive_of_nothing_is_one() -> None:
    assert read(written()) == []


def test_files_come_back_by_their_names_whatever_these_are() -> None:
    files = {name: name.encode() * 1000 for name in ODD_NAMES} | {"empty": b""}
    data = written((stored("a", MINIMAL), [attachment(*item) for item in files.items()]))
    found = {}
    with Spool() as spool:
        for run in ArchiveReader(io.BytesIO(data), size=len(data)).runs(lambda record: spool):
            for file in run.attachments:
                for _ in range(2):  # each opening begins at the beginning
                    with file.open() as stream:
                        found[file.name] = stream.read()
                assert file.size == len(found[file.name])
    assert found == files


def test_names_are_safe_for_whoever_unpacks_them() -> None:
    ids = ODD_IDS
    names = [member_name(text, position) for position, text in enumerate(ids + ODD_NAMES)]
    assert all(is_safe_name(name) and not name.startswith(("-", ".")) for name in names)
    assert len({member_name(text, position).lower() for position, text in enumerate(ids)}) == len(ids)
    assert member_name("0197c2f0-5b7e-7c93-a401-2f6ab8d1c55e", 7) == "0197c2f0-5b7e-7c93-a401-2f6ab8d1c55e"
    assert member_name("results_chunk_0000.jsonl.gz", 7) == "results_chunk_0000.jsonl.gz"


def test_odd_ids_come_back() -> None:
    runs = [stored(run_id, MINIMAL) for run_id in ODD_IDS]
    assert read(written(*((run, []) for run in runs))) == runs


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 10 << 40])
def test_a_header_holds_files_of_any_size(size: int) -> None:
    path = f"kitt-results/{'x' * 80}/outputs/{'y' * 80}"
    block = write_header(path, size, CREATED)
    assert len(block) == 512
    member = read_header(block, "it")
    assert member is not None
    assert (member.path, member.size) == (path, size)


def test_times_that_tar_lacks_do_no_harm() -> None:
    for year in (1, 9999):
        run = evolve(stored("a", MINIMAL), created_at=CREATED.replace(year=year, month=1, day=1))
        assert read(written((run, []))) == [run]


# Standard tools.


def tool(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_tar_and_sha256sum_read_it(tmp_path: Path) -> None:
    files = [attachment(name, name.encode()) for name in ODD_NAMES]
    runs = [(stored(run_id, MINIMAL), files) for run_id in ODD_IDS]
    (tmp_path / "a.tar.gz").write_bytes(written(*runs))
    tool("gzip", "-t", "a.tar.gz", cwd=tmp_path)
    tool("tar", "xzf", "a.tar.gz", cwd=tmp_path)
    checked = tool("sha256sum", "-c", "SHA256SUMS", cwd=tmp_path).splitlines()
    assert len(checked) == 1 + len(runs) * (2 + len(files))
    assert all(line.endswith(": OK") for line in checked)
    noted = json.loads((tmp_path / "manifest.json").read_bytes())
    assert (noted["runs"], noted["attachments"]) == (len(runs), len(runs) * len(files))
    assert noted["sha256sums"] in tool("sha256sum", "SHA256SUMS", cwd=tmp_path)


def test_what_tar_unpacked_is_a_store_of_the_json_backend(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(SMALL)
    tool("tar", "xzf", "a.tar.gz", cwd=tmp_path)
    with open_store(f"json:///{tmp_path}") as store:
        assert {run.id: run.document for run in store.scan()} == {"one": MINIMAL, "two": b"{}"}
        assert {run.created_at for run in store.scan()} == {CREATED}
        assert [finding for finding in store.verify() if finding.severity == "damage"] == []
        assert len(list(store.attachments("one"))) == 2


def test_tar_knows_a_header_of_a_large_file(tmp_path: Path) -> None:
    with (tmp_path / "large.tar").open("wb") as file:
        file.write(write_header("large", 9 << 30, CREATED))
        file.truncate(512 + (9 << 30) + 1024)
    assert str(9 << 30) in tool("tar", "tvf", "large.tar", cwd=tmp_path)


def test_an_archive_that_was_packed_anew_by_gzip_is_the_same() -> None:
    assert read(gzip.compress(gzip.decompress(SMALL), 9)) == read(SMALL)


# Writing.


def test_a_file_that_cannot_be_read_leaves_the_archive_as_it_was() -> None:
    def torn() -> io.BytesIO:
        raise OSError(5, "Input/output error")

    stream = io.BytesIO()
    with ArchiveWriter(stream, MARKER) as archive:
        archive.add(stored("one", MINIMAL), [attachment("a", b"1")])
        with pytest.raises(OSError, match="Input/output"):
            archive.add(stored("two", MINIMAL), [attachment("a", b"1"), Attachment("b", 3, torn)])
        archive.add(stored("two", MINIMAL), [attachment("b", b"2")])
        archive.finish()
    assert [run.id for run in read(stream.getvalue())] == ["one", "two"]


def test_what_could_not_be_restored_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kitt_core.archive.records.MOST_DOCUMENT_BYTES", 10)
    monkeypatch.setattr("kitt_core.archive.records.MOST_RECORD_BYTES", 400)
    stream = io.BytesIO()
    with ArchiveWriter(stream, MARKER) as archive:
        with pytest.raises(InvalidDocumentError, match="more than an archive can hold"):
            archive.add(stored("long", MINIMAL))
        with pytest.raises(InvalidDocumentError, match="more than an archive can describe"):
            archive.add(stored("many", b"{}"), [attachment(str(i), b"") for i in range(3)])
        archive.add(stored("short", b"{}"))
        archive.finish()
    assert [run.id for run in read(stream.getvalue())] == ["short"]


def test_a_run_that_comes_twice_ends_it() -> None:
    with ArchiveWriter(io.BytesIO(), MARKER) as archive:
        archive.add(stored("one", MINIMAL))
        archive.add(stored("one", MINIMAL))
        with pytest.raises(StoreUnavailableError, match="twice"):
            archive.finish()


def test_a_stream_that_fails_leaves_no_file_open() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any, /) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), ArchiveWriter(Full(), MARKER) as archive:
        archive.add(stored("one", os.urandom(1 << 20)))


def test_the_same_runs_make_the_same_archive() -> None:
    assert written((stored("one", MINIMAL), [])) == written((stored("one", MINIMAL), []))


def test_a_record_says_what_it_said() -> None:
    record = RunRecord("a", CREATED, "0" * 64, 7, (ArchivedFile("é", "outputs/x~0", 1, "1" * 64),))
    assert RunRecord.from_bytes("a", record.as_bytes()) == record


@pytest.mark.parametrize("size", [1, 7, 512, 4096, 1 << 20])
def test_parts_of_any_size_are_the_content_in_its_order(size: int) -> None:
    content = os.urandom(1000) * 300 if size < 512 else os.urandom(3 << 20)
    packed = gzip.compress(content, 1)
    unpacked = Unpacked(io.BytesIO(packed), size=len(packed), limits=Limits(ratio=0))
    taken = [unpacked.take(size) for _ in range(len(content) // size - 1)]
    room = (64 << 20) - sum(map(len, taken))  # what lies ready is still to come
    unpacked.check_room(room)
    with pytest.raises(InvalidArchiveError):
        unpacked.check_room(room + 1)
    assert b"".join([*taken, *unpacked.rest()]) == content
