"""`run.json` says what was saved in ``outputs/``; an older tree is checked as far as it can tell."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from kitt_core.rundir import FoundRun, check_outputs, find_runs, write_run
from kitt_core.runs import Attachment, Severity, check_run
from kitt_core.testing.documents import MINIMAL

FILES = {"chunk.jsonl.gz": gzip.compress(b'{"n": 1}\n' * 1000), "note.txt": b"abc", "empty": b""}


@pytest.fixture
def run(tmp_path: Path) -> FoundRun:
    files = [Attachment(name, len(data), lambda data=data: BytesIO(data)) for name, data in FILES.items()]  # type: ignore[misc]  # a default that binds
    write_run(tmp_path, check_run(MINIMAL, attachments=files))
    (found,) = find_runs(tmp_path)
    return found


def test_run_json_has_name_size_and_digest_of_each_file(run: FoundRun) -> None:
    noted = json.loads((run.directory / "run.json").read_bytes())
    assert list(noted) == ["id", "created_at", "sha256", "attachments"]
    assert noted["attachments"] == [
        {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in FILES.items()
    ]
    assert list(check_outputs(run)) == []


def _overwritten(file: Path) -> None:
    file.write_bytes(b"x" * file.stat().st_size)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def _appended(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x")


@pytest.mark.parametrize(
    ("harm", "name", "what"),
    [
        (_overwritten, "chunk.jsonl.gz", "has the SHA-256"),
        (_overwritten, "note.txt", "has the SHA-256"),
        (_cut, "chunk.jsonl.gz", "bytes, "),
        (_appended, "empty", "has 1 bytes, 0 were saved"),
        (Path.unlink, "note.txt", "is missing"),
    ],
)
def test_a_file_that_is_not_what_was_saved_is_damage(
    run: FoundRun, harm: Callable[[Path], object], name: str, what: str
) -> None:
    harm(run.directory / "outputs" / name)
    ((severity, text),) = check_outputs(run)
    assert severity is Severity.DAMAGE
    assert text.startswith(f"outputs/{name} ")
    assert what in text


def test_a_file_that_was_added_is_a_notice(run: FoundRun) -> None:
    (run.directory / "outputs/mine").write_bytes(b"")
    assert list(check_outputs(run)) == [(Severity.NOTICE, "outputs/mine was not saved with the run")]


@pytest.mark.parametrize("harm", [_overwritten, _cut])
def test_a_run_of_an_older_kitt_is_checked_where_its_files_can_tell(
    run: FoundRun, harm: Callable[[Path], object]
) -> None:
    noted = json.loads((run.directory / "run.json").read_bytes())
    del noted["attachments"]
    (run.directory / "run.json").write_text(json.dumps(noted))
    assert run.saved_files() is None
    assert list(check_outputs(run)) == []
    for name, data in FILES.items():
        if data:
            harm(run.directory / "outputs" / name)
    ((severity, text),) = check_outputs(run)
    assert severity is Severity.DAMAGE
    assert text.startswith("outputs/chunk.jsonl.gz cannot be read: ")


def test_a_run_of_an_unpacked_archive_is_found_by_the_names_of_its_files(run: FoundRun) -> None:
    noted = json.loads((run.directory / "run.json").read_bytes())
    for listed in noted["attachments"]:
        listed |= {"file": f"outputs/{listed['name']}", "name": f"Other {listed['name']}"}
    (run.directory / "run.json").write_text(json.dumps(noted))
    assert list(check_outputs(run)) == []


@pytest.mark.parametrize("listed", ["x", {}, [1], [{"name": "a"}], [{"name": "a", "size": 1, "sha256": "0"}]])
def test_a_list_that_cannot_be_used_is_damage(run: FoundRun, listed: object) -> None:
    noted = json.loads((run.directory / "run.json").read_bytes()) | {"attachments": listed}
    (run.directory / "run.json").write_text(json.dumps(noted))
    ((severity, text),) = check_outputs(run)
    assert severity is Severity.DAMAGE
    assert text.startswith("run.json cannot be used: attachments")
