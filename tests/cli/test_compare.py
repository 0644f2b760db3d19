"""``kitt compare`` on real stores and files."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kitt_core import open_store
from kitt_core.cli.app import main
from kitt_core.testing.documents import as_bytes

from .conftest import Kitt, Terminal

if TYPE_CHECKING:
    from kitt_postgres.testing import Database

FIRST = "0197c2f0-5b7e-7c93-a401-2f6ab8d1c55e"
SECOND = "0197c2f0-5b7e-7c93-a401-2f6ab8d1d66f"


def document(avg_tps: Any = 40.0, **more: Any) -> dict[str, Any]:
    entry = {
        "test_name": "throughput",
        "passed": True,
        "metrics": {"avg_tps": avg_tps, "ttft_ms": {"p50": 12.34567}},
        "settings": {"concurrency": 1},
    }
    made = {"model": "m", "engine": "e", "passed": True, "total_benchmarks": 1, "passed_count": 1}
    return {**made, "engine_info": {"name": "e"}, "results": [entry], **more}


def save(target: str) -> None:
    with open_store(target) as store:
        store.initialize()
        store.save_result(document(), run_id=FIRST)
        store.save_result(document(50.0, model="n"), run_id=SECOND)


@pytest.fixture
def compared(kitt: Kitt) -> Callable[..., Any]:
    """Compare two runs and return what ``--format json`` gives."""

    def call(*arguments: object, backend: str = "sqlite:///runs.db") -> Any:
        answer = kitt("--backend", backend, "compare", *arguments, "--format", "json", installed=True)
        assert answer.code == 0, answer.err
        return json.loads(answer.out)

    return call


@pytest.mark.parametrize("target", ["sqlite:///runs.db", "json:///tree", "karr:///repository"])
def test_two_runs_of_a_store(target: str, compared: Callable[..., Any]) -> None:
    save(target)
    found = compared("c55e", SECOND, backend=target)
    assert [(found[side]["id"], found[side]["model"]) for side in "ab"] == [(FIRST, "m"), (SECOND, "n")]
    assert found["differences"] == [{"what": "model", "a": "m", "b": "n"}]
    ttft, tps = found["metrics"]
    assert (ttft["metric"], ttft["a"], ttft["ratio"]) == ("ttft_ms.p50", 12.34567, 1.0)
    assert tps == {
        "benchmark": "throughput",
        "metric": "avg_tps",
        "a": 40.0,
        "b": 50.0,
        "ratio": 1.25,
        "unit": "token/s",
        "direction": "higher",
        "definition_a": "user.osl_over_e2e",
        "definition_b": "user.osl_over_e2e",
        "n_a": 1,
        "n_b": 1,
        "note": "",
    }
    assert found["alone"] == []


def test_two_runs_in_postgres(new_database: Callable[[], Database], compared: Callable[..., Any]) -> None:
    uri = new_database().uri
    save(uri)
    assert [metric["ratio"] for metric in compared("c55e", "d66f", backend=uri)["metrics"]] == [1.0, 1.25]


def test_a_run_of_the_store_and_paths_of_all_kinds(compared: Callable[..., Any], tmp_path: Path) -> None:
    save("sqlite:///runs.db")
    save("json:///.")
    (metrics,) = Path().glob("kitt-results/n/**/metrics.json")
    shutil.copytree(metrics.parent, "bare")
    for path in (metrics, metrics.parent, "bare", "./bare/", "kitt-results/n"):
        found = compared("c55e", path)
        assert [metric["ratio"] for metric in found["metrics"]] == [1.0, 1.25], path
        assert found["a"]["source"].endswith("runs.db")
        assert found["b"]["source"].endswith("metrics.json")
    assert compared(metrics.parent, metrics)["a"]["id"] == SECOND


def test_files_alone_need_no_store(compared: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.json").write_bytes(as_bytes(document()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(as_bytes(document(20.0)))))
    found = compared("a.json", "-", backend="postgresql://nobody@localhost:1/none")
    assert [metric["ratio"] for metric in found["metrics"]] == [1.0, 0.5]
    assert sorted(path.name for path in Path().iterdir()) == ["a.json"]


def test_the_same_run_twice(compared: Callable[..., Any]) -> None:
    save("sqlite:///runs.db")
    found = compared("c55e", "c55e")
    assert {metric["ratio"] for metric in found["metrics"]} == {1.0}
    assert found["differences"] == []


def test_a_table_says_what_the_runs_are_and_what_differs(kitt: Kitt, terminal: Terminal) -> None:
    save("sqlite:///runs.db")
    piped = kitt("--backend", "sqlite:///runs.db", "compare", FIRST, SECOND, installed=True)
    header, metrics = piped.out.split("\n\n")
    assert ["model", "m", "n"] in [line.split("\t") for line in header.splitlines()]
    assert metrics.splitlines()[-1].split("\t") == [
        "throughput",
        "avg_tps",
        *("40.0", "50.0", "1.25", "token/s", "higher", "1", "1", ""),
    ]
    with redirect_stdout(terminal):
        assert main(["--backend", "sqlite:///runs.db", "compare", FIRST, SECOND]) == 0
    drawn = terminal.text()
    assert "12.35" in drawn
    assert "12.34567" not in drawn


def test_markdown_goes_to_a_file_with_both_tables(kitt: Kitt) -> None:
    save("sqlite:///runs.db")
    arguments = ("compare", FIRST, SECOND, "--format", "markdown", "-o", "found.md")
    assert kitt("--backend", "sqlite:///runs.db", *arguments, installed=True).code == 0
    run, metrics = Path("found.md").read_text().split("\n\n")
    assert run.startswith("| run | A | B |\n|---|---|---|\n")
    assert "| throughput | ttft_ms.p50 | 12.35 | 12.35 | 1 | ms | lower | 1 | 1 | \\- |" in metrics


@pytest.mark.parametrize("output_format", ["csv", "jsonl"])
def test_rows_alone_say_on_stderr_that_there_is_more(kitt: Kitt, output_format: str) -> None:
    save("sqlite:///runs.db")
    arguments = ("compare", FIRST, SECOND, "--metric", "avg_*", "--format", output_format)
    answer = kitt("--backend", "sqlite:///runs.db", *arguments, installed=True)
    rows = (
        list(csv.DictReader(io.StringIO(answer.out)))
        if output_format == "csv"
        else [json.loads(line) for line in answer.out.splitlines()]
    )
    assert [(row["metric"], float(row["ratio"])) for row in rows] == [("avg_tps", 1.25)]
    assert answer.err == "A and B differ in model; --format json has the values\n"
    quiet = kitt("-q", "--backend", "sqlite:///runs.db", *arguments, installed=True)
    assert quiet.err == ""


def test_nothing_in_common_is_a_warning(kitt: Kitt) -> None:
    Path("a.json").write_bytes(as_bytes(document()))
    Path("b.json").write_bytes(b'{"model": "m", "engine": "e"}')
    answer = kitt("compare", "a.json", "b.json", "--format", "json", installed=True)
    assert (answer.code, answer.err) == (0, "warning: A and B have no metric in common\n")
    assert {row["note"] for row in json.loads(answer.out)["alone"]} == {"only in A"}
    answer = kitt("compare", "a.json", "a.json", "--metric", "ttfx*", installed=True)
    assert answer.code == 0
    assert answer.err.startswith(
        "warning: A and B have no metric in common that matches 'ttfx*'\nneither run has "
    )


def test_a_metric_that_neither_run_has_is_named(kitt: Kitt) -> None:
    Path("a.json").write_bytes(as_bytes(document()))
    patterns = [part for name in ("avg_tps", "throughput/avg_tsp", "avg_tsp") for part in ("--metric", name)]
    answer = kitt("compare", "a.json", "a.json", *patterns, "--format", "json", installed=True)
    assert answer.err.splitlines() == [
        (
            'neither run has a metric that matches "throughput/avg_tsp"; did you mean throughput/avg_tps'
            " or throughput/ttft_ms.p50?"
        ),
        'neither run has a metric that matches "avg_tsp"; did you mean avg_tps?',
    ]


def test_numbers_that_json_lacks_are_null(compared: Callable[..., Any]) -> None:
    Path("a.json").write_bytes(b'{"results": [{"metrics": {"x": NaN, "y": 1e400}}], "odd": Infinity}')
    found = compared("a.json", "a.json")
    assert [(row["a"], row["ratio"], row["note"]) for row in found["metrics"]] == [
        (None, None, "1 of 1 failed in A; no finite value in A; 1 of 1 failed in B; no finite value in B")
    ] * 2


def test_text_from_documents_stays_text(kitt: Kitt, terminal: Terminal) -> None:
    Path("a.json").write_bytes(as_bytes(document(model="[red]\x1b[31m|", engine="=1+1")))
    Path("b.json").write_bytes(as_bytes(document()))
    with redirect_stdout(terminal):
        assert main(["compare", "a.json", "b.json"]) == 0
    assert "\x1b[31m" not in terminal.text()
    assert "[red]\\x1b[31m|" in terminal.text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((FIRST, "9999"), 3, "no run '9999' in "),
        ((FIRST, "0197"), 3, "'0197' is part of the ids of several runs"),
        ((FIRST, "missing.json"), 3, "missing.json: no such file or directory"),
        ((FIRST, "not/there"), 3, "not/there: no such file or directory"),
        ((FIRST, "empty"), 3, "empty: it contains no results"),
        ((FIRST, "kitt-results"), 3, "kitt-results contains several runs: "),
        ((FIRST, "broken.json"), 5, "broken.json: $: not JSON"),
        ((FIRST, "array.json"), 5, "array.json: $ is an array of 0, expected an object"),
        ((FIRST, "text.txt"), 5, "text.txt: no installed importer takes this file"),
        ((FIRST, ""), 2, "SECOND is empty, expected a value"),
        ((FIRST, "\x00"), 3, "no run '***' in "),
        ((FIRST, "x" * 5000), 3, "no run 'xxx"),
        (("-", "-"), 2, "standard input can be only one of the two runs"),
        ((FIRST,), 2, "missing argument 'B'"),
        ((FIRST, SECOND, FIRST), 2, "got unexpected extra argument"),
        ((FIRST, "broken.json", "-o", "broken.json"), 5, "broken.json: $: not JSON"),
        ((FIRST, "good.json", "-o", "good.json"), 2, "good.json is one of the runs to compare"),
        ((FIRST, "tree", "-o", "tree/metrics.json"), 2, "tree/metrics.json is one of the runs to compare"),
        ((FIRST, SECOND, "-o", "runs.db"), 2, "runs.db cannot be written: it belongs to the store"),
    ],
)
def test_mistakes_are_one_line(kitt: Kitt, arguments: tuple[str, ...], code: int, message: str) -> None:
    save("sqlite:///runs.db")
    save("json:///.")
    Path("empty").mkdir()
    Path("tree").mkdir()
    contents = {"broken.json": b"{", "array.json": b"[]", "text.txt": b"x", "good.json": b"{}"}
    for name, content in {**contents, "tree/metrics.json": b"{}"}.items():
        Path(name).write_bytes(content)
    before = {path: path.read_bytes() for path in Path().rglob("*.json")}
    answer = kitt("--backend", "sqlite:///runs.db", "compare", *arguments, installed=True)
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.startswith(f"error: {message}"), answer.err
    assert len(answer.err.splitlines()) <= 2
    assert {path: path.read_bytes() for path in Path().rglob("*.json")} == before


def test_a_damaged_run_of_the_store_is_one_line(kitt: Kitt) -> None:
    save("sqlite:///runs.db")
    with closing(sqlite3.connect("runs.db")) as connection, connection:
        connection.execute("UPDATE runs SET raw_json = '{' WHERE id = ?", (FIRST,))
    answer = kitt("--backend", "sqlite:///runs.db", "compare", FIRST, SECOND, installed=True)
    assert answer.code == 5
    assert answer.err.startswith(f"error: run {FIRST} cannot be read: ")
