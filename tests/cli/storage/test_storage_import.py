from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kitt_core.errors import StoreUnavailableError
from kitt_core.hookspecs import hookimpl
from kitt_core.runs import CheckedRun
from kitt_core.service.transfer import importing
from kitt_core.storage import ResultStore

Kitt = Callable[..., Any]
Make = Callable[..., bytes]

FLAT = Path("/work/shared/legacy/flat_results.tar.gz")


def tree(root: Path, document: Make, count: int = 3) -> Path:
    for number in range(count):
        directory = root / f"m{number}/vllm/2025-01-01_00000{number}"
        directory.mkdir(parents=True)
        (directory / "metrics.json").write_bytes(document(f"m{number}"))
    return root


def test_the_same_tree_twice_adds_nothing_and_says_so(kitt: Kitt, document: Make, tmp_path: Path) -> None:
    path = str(tree(tmp_path / "kitt-results", document))
    first, again = kitt("import", path), kitt("import", path)
    assert (first.code, again.code) == (0, 0)
    assert "3 stored, 0 already there, 0 refused" in first.err
    assert "nothing added, 3 already there, 0 refused" in again.err
    assert first.out == again.out == b""
    assert len(kitt("list", "--format", "json").json) == 3


def test_one_document_is_stored_under_an_id_that_is_said(kitt: Kitt, document: Make, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(document())
    err = kitt("import", "a.json").err
    run_id = err.split()[3]
    assert kitt("export", run_id).out == document()
    assert run_id in kitt("import", "a.json").err


def test_some_refused_of_several_are_named_and_exit_with_1(kitt: Kitt, document: Make, tmp_path: Path) -> None:
    root = tree(tmp_path / "tree", document)
    (root / "m1/vllm/2025-01-01_000001/metrics.json").write_bytes(b'{"model": "m", "engine": "e", "passed": "no"}')
    outcome = kitt("import", str(root), "--format", "json")
    assert outcome.code == 1
    bad = str(root / "m1/vllm/2025-01-01_000001/metrics.json")
    assert f'error: {bad}: $.passed is "no", expected true or false' in outcome.err
    assert len(outcome.json["stored"]) == 2
    assert outcome.json["refused"] == [{"source": bad, "reason": '$.passed is "no", expected true or false'}]


@pytest.mark.parametrize(
    ("content", "code"), [(b"{}", 5), (b"not json", 5), (b"", 5), (b"\xff\xfe{\x00}\x00", 5), (None, 3)]
)
def test_a_single_input_that_cannot_be_taken_tells_by_its_exit_code(
    kitt: Kitt, tmp_path: Path, content: bytes | None, code: int
) -> None:
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    outcome = kitt("import", "a.json")
    assert outcome.code == code
    assert "error: a.json: " in outcome.err
    assert outcome.out == b""


def test_a_directory_without_results_exits_with_3(kitt: Kitt, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    outcome = kitt("import", "empty")
    assert outcome.code == 3
    assert outcome.err.splitlines()[0] == "error: empty: it contains no results"


def test_lines_come_through_standard_input(kitt: Kitt) -> None:
    lines = b'{"model": "a", "engine": "e"}\n{"model": "b", "engine": "e"}\n'
    assert kitt("import", "-", stdin=lines).code == 0
    assert sorted(row["model"] for row in kitt("list", "--format", "json").json) == ["a", "b"]


@pytest.mark.skipif(not FLAT.exists(), reason="the legacy fixtures are not on this machine")
def test_results_of_kitt_1_are_imported_whole(kitt: Kitt, tmp_path: Path) -> None:
    with tarfile.open(FLAT) as archive:
        archive.extractall(tmp_path, filter="data")
    assert kitt("import", "kitt-results").code == 0
    kitt("export", "-o", "out/")
    exported = {path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert exported == {path.read_bytes() for path in tmp_path.glob("kitt-results/**/metrics.json")}
    assert len(exported) == 3


def test_what_was_exported_is_recognised_again(kitt: Kitt, stored: list[str]) -> None:
    kitt("export", "-o", "out/")
    assert "nothing added, 3 already there" in kitt("import", "out").err


def test_listeners_hear_of_each_new_run(kitt: Kitt, document: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[str, str]] = []

    class Listener:
        @staticmethod
        @hookimpl
        def kitt_run_saved(run: Any, location: str) -> None:
            heard.append((run.rows.run.model, location))

    from kitt_core.plugins import PluginManager

    announce = PluginManager.announce_saved

    def announced(self: PluginManager, run: Any, location: str) -> None:
        self.register(Listener(), "listener")
        announce(self, run, location)

    monkeypatch.setattr(PluginManager, "announce_saved", announced)
    kitt("import", "-", stdin=document("new"))
    kitt("import", "-", stdin=document("new"))
    assert [model for model, _ in heard] == ["new"]
    assert heard[0][1].endswith("runs.db")


def test_several_documents_in_a_row_are_told_to_be_lines(kitt: Kitt) -> None:
    data = b'{\n  "model": "a", "engine": "e"\n}\n{\n  "model": "b}{", "engine": "e"\n}\n'
    outcome = kitt("import", "-", stdin=data)
    assert outcome.code == 5
    assert "it seems to contain several documents" in outcome.err
    assert "hint: pass the files as arguments, or convert them to lines with `jq -c .`" in outcome.err
    assert kitt("import", "-", stdin=data.split(b"\n}\n")[1] + b"\n}").code == 0


def test_a_path_that_is_not_there_has_a_hint(kitt: Kitt) -> None:
    outcome = kitt("import", "nodir/x")
    assert outcome.code == 3
    assert outcome.err == "error: nodir/x: no such file or directory\nhint: check the path; - is standard input\n"


def test_a_store_that_goes_away_exits_with_4_and_says_how_far_it_came(
    kitt: Kitt, document: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path, document, 5)
    (root / "bad").mkdir()
    (root / "bad" / "metrics.json").write_bytes(b"{")
    whole = ResultStore.save_unless_stored
    batches = iter(range(9))

    def fails(store: ResultStore, runs: Sequence[CheckedRun]) -> dict[str, str]:
        if next(batches) == 3:
            raise StoreUnavailableError("the server is gone", hint="try again")
        return whole(store, runs)

    monkeypatch.setattr(importing, "_MOST_RUNS", 1)
    with monkeypatch.context() as lost:
        lost.setattr(ResultStore, "save_unless_stored", fails)
        outcome = kitt("import", str(root))
    assert (outcome.code, outcome.out) == (4, b"")
    refused, said, *error = outcome.err.splitlines()
    assert refused.startswith(f"error: {root}/bad/metrics.json: ")
    assert said == "3 stored, 0 already there, 1 refused so far; run the same command again to continue"
    assert error == ["error: the server is gone", "hint: try again"]
    assert "2 stored, 3 already there, 1 refused (" in kitt("import", str(root)).err


@pytest.mark.parametrize("jobs", ["0", "-1", "x", "", "1.5", "65"])
def test_jobs_that_are_no_number_of_processes_are_refused(kitt: Kitt, tmp_path: Path, jobs: str) -> None:
    outcome = kitt("import", f"--jobs={jobs}", str(tmp_path))
    assert (outcome.code, outcome.out) == (2, b"")
    error, hint = outcome.err.splitlines()
    assert error.startswith("error: ")
    assert "--jobs" in error
    assert hint.startswith("hint: ")


def test_jobs_change_nothing_that_is_printed(
    kitt: Kitt, document: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_SECONDS_ALONE", 0)
    monkeypatch.setattr(importing, "_SECONDS_TO_START", 0)
    root = tree(tmp_path / "tree", document, 250)
    (root / "m7/vllm/2025-01-01_000007/metrics.json").write_bytes(b"{")
    first = kitt("import", "--jobs", "2", str(root), "--format", "json")
    again = [kitt("import", "--jobs", jobs, str(root), "--format", "json") for jobs in ("1", "2")]
    assert (first.code, len(first.json["stored"]), len(first.json["refused"])) == (1, 249, 1)
    assert again[0].json["present"] == first.json["stored"]
    assert (again[0].code, again[0].out, again[0].err) == (again[1].code, again[1].out, again[1].err)
