from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest

from kitt_core.errors import StoreUnavailableError
from kitt_core.rundir import find_runs, locate, read_attachments, write_run
from kitt_core.runs import CheckedRun
from kitt_core.runs.codec import digest

Make = Callable[..., CheckedRun]
LEGACY = b'{"model": "m", "engine": "e"}\r\n'


def put(root: Path, path: str, document: bytes = LEGACY) -> Path:
    directory = root / path
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "metrics.json").write_bytes(document)
    return directory


def paths(root: Path) -> list[str]:
    return [run.path.as_posix() for run in find_runs(root)]


def test_a_missing_tree_is_empty(root: Path) -> None:
    assert paths(root) == []
    assert locate(root, ["x"]) is None


def test_a_file_instead_of_a_tree_is_an_error(root: Path) -> None:
    root.write_text("")
    with pytest.raises(StoreUnavailableError, match="cannot be read: Not a directory"):
        paths(root)


def test_runs_are_found_at_any_depth_in_order(root: Path) -> None:
    for path in ("org/name/e/2025-06-01_120000", "m/e/t", "", "a", "m/e", "b-1", "b/1"):
        put(root, path)
    assert paths(root) == [".", "a", "b/1", "b-1", "m/e", "m/e/t", "org/name/e/2025-06-01_120000"]


def test_what_is_not_a_run_is_skipped_and_said(root: Path, tmp_path: Path) -> None:
    outside = put(tmp_path, "outside")
    put(root, "good")
    put(root, "good/outputs")
    put(root, ".kitt-tmp-1")
    put(root, ".git/x")
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "away").symlink_to(outside, target_is_directory=True)
    (root / "link").mkdir()
    (root / "link/metrics.json").symlink_to(outside / "metrics.json")
    (root / "directory/metrics.json").mkdir(parents=True)
    (root / "pipe").mkdir()
    os.mkfifo(root / "pipe/metrics.json")
    skipped: dict[str, str] = {}
    runs = list(find_runs(root, on_skip=lambda path, reason: skipped.update({path.as_posix(): reason})))
    assert [run.path for run in runs] == [PurePosixPath("good")]
    assert skipped == {
        "loop": "is a link, which is not followed",
        "away": "is a link, which is not followed",
        "link/metrics.json": "is a link, which is not followed",
        "pipe/metrics.json": "is not a regular file",
    }


def test_a_run_of_an_older_kitt_has_an_id_of_path_and_content(root: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere/kitt-results"
    ids = []
    for base in (root, moved):
        directory = put(base, "m/e/2025-06-01_120000")
        os.utime(directory / "metrics.json", (1_748_779_200, 1_748_779_200))
        (run,) = find_runs(base)
        stored = run.read()
        assert stored.document == LEGACY
        assert stored.sha256 == digest(LEGACY)
        assert stored.created_at == datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
        assert run.identity() == type(run.identity())(stored.id, stored.created_at, stored.sha256)
        ids.append(stored.id)
    assert ids[0] == ids[1] == "69927813b879b6d6d7720d7770e11741"
    put(root, "m/e/other")
    put(root, "m/e/2025-06-01_120000", LEGACY + b"\n")
    assert len({ids[0], *(run.read().id for run in find_runs(root))}) == 3


def test_times_that_no_date_has_are_still_read(root: Path) -> None:
    directory = put(root, "m")
    os.utime(directory / "metrics.json", (-5, -5))
    (run,) = find_runs(root)
    assert run.identity().created_at == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"id": "x"}',
        b"\xff\xfe",
        b'{"id": "../x", "created_at": "2025-01-01", "sha256": "' + b"0" * 64 + b'"}',
        b'{"id": "x", "created_at": "yesterday", "sha256": "' + b"0" * 64 + b'"}',
        b'{"id": "x", "created_at": 5, "sha256": "' + b"0" * 64 + b'"}',
        b'{"id": "x", "created_at": "2025-01-01", "sha256": "zz"}',
        b'{"id": 7, "created_at": "2025-01-01", "sha256": "' + b"0" * 64 + b'"}',
    ],
)
def test_an_unusable_run_json_is_named_and_nothing_stands_in_for_it(root: Path, content: bytes) -> None:
    directory = put(root, "m/e/t")
    (bare,) = find_runs(root)
    derived = bare.identity().id
    (directory / "run.json").write_bytes(content)
    (run,) = find_runs(root)
    for question in (run.identity, run.read, lambda: run.is_any_of([derived])):
        with pytest.raises(OSError, match=r"run\.json cannot be used: "):
            question()


def test_a_run_json_that_is_not_a_file_is_not_followed(root: Path, tmp_path: Path) -> None:
    good = {"id": "stolen", "created_at": "2025-01-01", "sha256": "0" * 64}
    (tmp_path / "run.json").write_text(json.dumps(good))
    (put(root, "a") / "run.json").symlink_to(tmp_path / "run.json")
    os.mkfifo(put(root, "b") / "run.json")
    (put(root, "c") / "run.json").mkdir()
    runs = list(find_runs(root))
    assert len(runs) == 3
    for run in runs:
        with pytest.raises(OSError, match=r"Too many levels|cannot be used|Is a directory"):
            run.identity()


def test_a_run_is_located_under_any_directory_name(root: Path, make_run: Make) -> None:
    run = make_run(run_id="r-12345678")
    directory = write_run(root, run)
    put(root, "old/e/2025-06-01_120000")
    for name in ("renamed", "2025-06-01_120005_other", "2025-06-01T12-00-05_12345678"):
        directory = directory.rename(directory.with_name(name))
        located = locate(root, [run.id])
        assert located is not None
        assert (located[0], located[1].directory) == (run.id, directory)
    assert locate(root, ["other"]) is None
    for old in find_runs(root):
        assert locate(root, ["nothing", old.identity().id]) == (old.identity().id, old)


def test_an_unreadable_run_hides_no_other(root: Path, make_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("z")
    write_run(root, run)
    put(root, "a/e/2025-06-01_120000")
    real = os.open

    def broken(path: Path, *arguments: int) -> int:
        if "/a/" in str(path):
            raise OSError(5, "Input/output error")
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", broken)
    located = locate(root, [run.id])
    assert located is not None
    assert located[1].document() == run.document


def test_attachments_are_plain_files_in_numerical_order(root: Path, tmp_path: Path) -> None:
    outputs = put(root, "m") / "outputs"
    outputs.mkdir()
    for number in (10000, 9999, 2):
        (outputs / f"results_chunk_{number:04}.jsonl.gz").write_bytes(b"x")
    (outputs / "deeper").mkdir()
    (outputs / "link").symlink_to(tmp_path)
    (run,) = find_runs(root)
    assert [attachment.name for attachment in read_attachments(run)] == [
        "results_chunk_0002.jsonl.gz",
        "results_chunk_9999.jsonl.gz",
        "results_chunk_10000.jsonl.gz",
    ]


def test_outputs_elsewhere_are_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").write_text("x")
    (put(root, "m") / "outputs").symlink_to(tmp_path / "secret", target_is_directory=True)
    (put(root, "n") / "outputs").write_text("a file")
    assert [list(read_attachments(run)) for run in find_runs(root)] == [[], []]
