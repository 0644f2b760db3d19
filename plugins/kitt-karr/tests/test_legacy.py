"""Repositories of KITT 1.x: both conventions of paths, with LFS and without, as they are."""

from __future__ import annotations

import logging
import tarfile
from pathlib import Path
from typing import Any

import pytest

from kitt_core.runs import Severity
from kitt_core.testing.documents import MINIMAL
from kitt_karr.store import KarrResultStore
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile, SQLiteStore

LEGACY = Path(__file__).parents[4] / "shared/legacy"
NAME = "karr-NVIDIA-GeForce-RTX-4090-24GB_AMD-Process"
LISTED = [
    ("Qwen/Qwen2.5-7B-Instruct", "vllm", "standard", True, 6, 6),
    ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "llama_cpp", "standard", True, 6, 6),
    ("01-ai/Yi-1.5-9B", "ollama", "performance", True, 6, 6),
    ("01-ai/Yi-1.5-9B", "llama_cpp", "quick", False, 6, 5),
]
needs_legacy = pytest.mark.skipif(not LEGACY.exists(), reason="the legacy fixtures are outside the repository")
archives = pytest.mark.parametrize("archive", ["karr_plain.tar.gz", "karr_lfs.tar.gz"])


def unpacked(archive: str, directory: Path) -> Path:
    with tarfile.open(LEGACY / archive) as file:
        file.extractall(directory, filter="data")
    return directory / NAME


@needs_legacy
@archives
def test_a_repository_lists_shows_verifies_and_copies(archive: str, tmp_path: Path) -> None:
    path = unpacked(archive, tmp_path)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with KarrResultStore(path) as store, SQLiteStore(SQLiteDatabase(SQLiteFile(tmp_path / "runs.db"))) as database:
        listed = [
            (run.model, run.engine, run.suite_name, run.passed, run.total_benchmarks, run.passed_count)
            for run in store.list_results()
        ]
        assert listed == LISTED
        (row,) = store.aggregate("engine", "avg_tps", filters={"engine": "vllm"})
        assert row["avg_tps_avg"] == pytest.approx(98.4717, abs=1e-4)
        runs = list(store.scan())
        for run in runs:
            assert run.document in before.values()
            assert store.get_document(run.id) == run.document
            assert run.created_at.year > 2000
            (attachment,) = store.attachments(run.id)
            with attachment.open() as file:
                assert file.read(2) == b"\x1f\x8b"
        assert list(store.verify()) == []
        for run in runs:
            database.save_result(run.document, run_id=run.id, created_at=run.created_at, strict=False)
        assert {(run.id, run.document, run.created_at) for run in database.scan()} == {
            (run.id, run.document, run.created_at) for run in runs
        }
    after = {file: file.read_bytes() for file in before if file.exists()}
    assert after == before
    with KarrResultStore(path) as again:
        assert {run.id for run in again.scan()} == {run.id for run in runs}


@needs_legacy
@archives
def test_its_runs_have_the_same_ids_and_times_in_a_clone_and_after_a_rebuild(
    git: Any, archive: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = unpacked(archive, tmp_path)
    clone = git.clone(path, tmp_path / "clone")
    with KarrResultStore(path) as store, KarrResultStore(clone) as other:
        runs = sorted((run.id, run.created_at) for run in store.scan())
        assert sorted((run.id, run.created_at) for run in other.scan()) == runs
        list(other.verify(rebuild=True))
        assert sorted((run.id, run.created_at) for run in other.scan()) == runs
        if archive == "karr_lfs.tar.gz":  # the clone has pointers only
            with caplog.at_level(logging.WARNING):
                assert [list(other.attachments(run_id)) for run_id, _ in runs] == [[]] * 4
            assert "only its LFS pointer" in caplog.text
            findings = list(other.verify())
            assert [finding.severity for finding in findings] == [Severity.NOTICE] * 4
            assert "git lfs pull" in findings[0].what


@needs_legacy
@archives
def test_new_runs_are_added_to_it_byte_for_byte(git: Any, archive: str, tmp_path: Path) -> None:
    path = unpacked(archive, tmp_path)
    document = b'{"model": "m",\r\n "engine": "e"}\n'
    with KarrResultStore(path) as store:
        run_id = store.save_result(document)
        assert store.count() == 5
    git.assert_intact(path)
    clone = git.clone(path, tmp_path / "clone", "-c", "core.autocrlf=true")
    (file,) = (clone / "m/e").glob("*/metrics.json")
    assert file.read_bytes() == document
    assert file.parent.name.endswith(run_id[-8:])
    assert "m/e" not in git(clone, "status", "--porcelain")
    assert "+{" in git(clone, "show", "HEAD", "--", f"{file.relative_to(clone)}")  # and not "binary files differ"


@needs_legacy
def test_an_old_run_is_deleted_with_its_directory_alone(git: Any, tmp_path: Path) -> None:
    path = unpacked("karr_plain.tar.gz", tmp_path)
    with KarrResultStore(path) as store:
        (old,) = store.scan({"suite_name": "quick"})
        assert store.delete_result(old.id)
        assert store.count() == 3
    assert not (path / "meta-llama").exists()
    assert (path / "Yi-1.5-9B").exists()
    assert git(path, "status", "--porcelain") == ""


def test_runs_lie_at_any_depth_and_inside_each_other(git: Any, tmp_path: Path) -> None:
    path = tmp_path / "old"
    git(tmp_path, "init", "-q", str(path))
    places = [".", "a", "a/b/c/d", "x/outputs/y", "m/e/t/outputs"]
    for number, place in enumerate(places):
        (path / place).mkdir(parents=True, exist_ok=True)
        (path / place / "metrics.json").write_bytes(MINIMAL + b" " * number)
    (path / "m/e/t/metrics.json").write_bytes(MINIMAL + b"\n")
    (path / "link").symlink_to("a")
    (path / ".kitt-tmp").mkdir()
    (path / ".kitt-tmp/metrics.json").write_bytes(MINIMAL)
    git(path, "add", ".")
    git(path, "commit", "-qm", "all")
    with KarrResultStore(path) as store:
        found = {run.document: run.id for run in store.scan()}
        # m/e/t/outputs belongs to the run m/e/t, as its attachments.
        assert set(found) == {MINIMAL + b" " * n for n in range(4)} | {MINIMAL + b"\n"}
        assert store.delete_result(found[MINIMAL])
        assert store.delete_result(found[MINIMAL + b" "])
        assert store.count() == 3
        assert store.get_document(found[MINIMAL + b"  "]) == MINIMAL + b"  "
        assert list(store.verify()) == []
    git.assert_intact(path)


def test_a_directory_that_becomes_a_run_takes_its_outputs_from_the_list(git: Any, tmp_path: Path) -> None:
    path = tmp_path / "old"
    git(tmp_path, "init", "-q", str(path))
    (path / "a/outputs/b").mkdir(parents=True)
    (path / "a/outputs/b/metrics.json").write_bytes(MINIMAL)
    git(path, "add", ".")
    git(path, "commit", "-qm", "one")
    with KarrResultStore(path) as store:
        assert store.count() == 1
        (path / "a/metrics.json").write_bytes(MINIMAL + b" ")
        git(path, "add", ".")
        git(path, "commit", "-qm", "two")
        assert [run.document for run in store.scan()] == [MINIMAL + b" "]
        git(path, "revert", "--no-edit", "HEAD")
        assert [run.document for run in store.scan()] == [MINIMAL]
        assert list(store.verify()) == []
