from __future__ import annotations

import errno
import io
import os
import subprocess
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from kitt_core import open_store
from kitt_core.errors import InputNotFoundError, InvalidArchiveError, StoreUnavailableError
from kitt_core.runs.codec import digest
from kitt_core.service.transfer.restoring import check_archive, open_archive, restore_runs
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing.documents import MINIMAL, small

from .archives import archive_of, changed, five, packed, parts_of, restore, summed, with_json
from .contents import BACKENDS, OpenStore, attachment, documents, filled

# Archives that are none.


def hostile() -> dict[str, bytes]:
    with MemoryStore() as source:
        source.save_result(MINIMAL, run_id="one", attachments=[attachment("a", b"content")])
        source.save_result(small(1), run_id="two")
        good = archive_of(source).getvalue()
    parts = parts_of(good)

    def with_document(document: bytes) -> bytes:
        noted = changed(
            parts, "two/run.json", lambda part: with_json(part, sha256=digest(document), size=len(document))
        )
        return packed(summed(changed(noted, "two/metrics.json", lambda part: evolve(part, content=document))))

    return {
        "cut off": good[:-1],
        "trailing garbage": good + b"x",
        "a document that changed": packed(
            summed(changed(parts, "two/metrics.json", lambda part: evolve(part, content=part.content[:-1] + b" ")))
        ),
        "a file that changed": packed(
            summed(changed(parts, "outputs/a", lambda part: evolve(part, content=b"CONTENT")))
        ),
        "no manifest": packed(parts[:-1]),
        "traversal": packed(summed(changed(parts, "two/run.json", lambda part: with_json(part, id="../two")))),
        "no JSON": with_document(b"{"),
        "no object": with_document(b"[]"),
        "too deep": with_document(b'{"a":' * 300 + b"1" + b"}" * 300),
        "not an archive": MINIMAL,
        "nothing": b"",
    }


HOSTILE_ARCHIVES = hostile()


@pytest.mark.parametrize("to", BACKENDS)
def test_nothing_of_a_bad_archive_is_written(open_backend: OpenStore, to: str) -> None:
    target = open_backend(to)
    for name, data in HOSTILE_ARCHIVES.items():
        with pytest.raises(InvalidArchiveError):
            restore(io.BytesIO(data), target)
        assert target.count() == 0, name


def test_a_bad_archive_makes_no_store(tmp_path: Path) -> None:
    for uri in (f"sqlite:///{tmp_path}/new/runs.db", f"json:///{tmp_path}/other"):
        with open_store(uri) as target, pytest.raises(InvalidArchiveError):
            restore(io.BytesIO(HOSTILE_ARCHIVES["cut off"]), target)
    assert list(tmp_path.rglob("*.db*")) == []
    assert list(tmp_path.rglob("kitt-results")) == []


GOOD = five().getvalue()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255), st.booleans())
def test_damage_anywhere_writes_nothing_or_is_none(position: int, change: int, cut: bool) -> None:
    damaged = GOOD[:position] + (b"" if cut else bytes([GOOD[position] ^ change]) + GOOD[position + 1 :])
    with MemoryStore() as target, MemoryStore() as source:
        try:
            restore(io.BytesIO(damaged), target)
        except InvalidArchiveError:
            assert target.count() == 0
        else:
            assert not cut
            assert documents(target) == documents(filled(source))


def test_an_archive_that_changes_between_the_readings_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kitt_core.service.transfer.restoring._MOST_LOOKED_FOR", 2)
    other = packed(summed(changed(parts_of(GOOD), "003/run.json", lambda part: with_json(part, id="other"))))
    stream = io.BytesIO(GOOD)
    with MemoryStore() as target:
        archive = check_archive(stream, target)
        stream.seek(0)
        stream.truncate()
        stream.write(other)
        with pytest.raises(InvalidArchiveError, match="changed while it was being restored"):
            restore_runs(stream, archive, target)
        assert set(documents(target)) == {"run-000", "run-001"}


def test_a_file_that_is_not_there_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError), open_archive(tmp_path / "nothing"):
        pass
    with pytest.raises(InvalidArchiveError, match="cannot be read: Is a directory"), open_archive(tmp_path):
        pass
    (tmp_path / "a").write_bytes(b"hello")
    with (
        MemoryStore() as target,
        pytest.raises(InvalidArchiveError, match="/a: it is not an archive"),
        open_archive(tmp_path / "a") as stream,
    ):
        check_archive(stream, target)


def test_a_pipe_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a").write_bytes(GOOD)
    with (
        subprocess.Popen(f"cat {tmp_path}/a > {tmp_path}/pipe", shell=True),
        MemoryStore() as target,
        open_archive(tmp_path / "pipe") as stream,
    ):
        assert restore_runs(stream, check_archive(stream, target), target).copied == 5


class FullDisk(io.BytesIO):
    """A temporary file on a disk without room."""

    def __init__(self, **options: object) -> None:
        super().__init__()

    def write(self, data: object, /) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_temporary_disk_without_room_is_not_the_fault_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_place(**options: object) -> FullDisk:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    said = "the temporary directory cannot be written"
    os.mkfifo(tmp_path / "pipe")
    for temporary in (FullDisk, no_place):
        monkeypatch.setattr("tempfile.TemporaryFile", temporary)
        with (
            subprocess.Popen(["sh", "-c", f"printf x > {tmp_path}/pipe"]),
            pytest.raises(StoreUnavailableError, match=said) as caught,
            open_archive(tmp_path / "pipe"),
        ):
            pass
        assert caught.value.exit_code == 4
        assert "TMPDIR" in (caught.value.hint or "")


def test_a_full_disk_while_files_are_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    with MemoryStore() as source:
        source.save_result(MINIMAL, run_id="one", attachments=[attachment("a", b"content")])
        stream = archive_of(source)
    with MemoryStore() as target:
        archive = check_archive(stream, target)
        monkeypatch.setattr("tempfile.TemporaryFile", FullDisk)
        with pytest.raises(StoreUnavailableError, match="No space left"):
            restore_runs(stream, archive, target)
        assert target.count() == 0
