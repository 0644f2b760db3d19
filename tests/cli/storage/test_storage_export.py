from __future__ import annotations

import errno
import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from kitt_core.cli.app import main

Kitt = Callable[..., Any]
Make = Callable[..., bytes]


def test_one_run_goes_to_standard_output_byte_for_byte(kitt: Kitt) -> None:
    hostile = b'\xef\xbb\xbf{"model": "m", "engine": "e", "a": 1.0e3, "a": NaN,\r\n "t": "\\ud800\\u0000"}'
    run_id = kitt("import", "-", "--format", "json", stdin=hostile).json["stored"][0]
    assert kitt("export", run_id).out == hostile
    assert kitt("export", run_id[-8:], "-o", "-").out == hostile
    assert kitt("show", run_id[-8:], "--format", "json").out == hostile


def test_several_runs_need_a_directory_or_another_format(kitt: Kitt, stored: list[str]) -> None:
    outcome = kitt("export", *stored[:2])
    assert (outcome.code, outcome.out) == (2, b"")
    assert outcome.err.splitlines() == [
        "error: several runs are selected, but json holds only one",
        "hint: give a directory (-o DIR/) to get a file per run, or --format jsonl",
    ]


@pytest.mark.parametrize("arguments", [("-o", "out/"), ("-o", "out"), ("-o", "out/", "--format", "json")])
def test_several_runs_go_to_a_directory(
    kitt: Kitt, stored: list[str], tmp_path: Path, arguments: list[str]
) -> None:
    outcome = kitt("export", "--engine", "vllm", *arguments)
    assert outcome.code == 0
    assert "2 runs written to out" in outcome.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(f"{i}.json" for i in stored[:2])


def test_the_extension_names_the_format(kitt: Kitt, stored: list[str], tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.md"):
        assert kitt("export", "-o", name).code == 0
    assert len((tmp_path / "a.jsonl").read_bytes().splitlines()) == 3
    assert (tmp_path / "a.csv").read_text().startswith("run_id,model,engine,suite_name,")
    assert (tmp_path / "a.md").read_text().count("### ") == 3
    assert kitt("export", "-o", "a.txt").code == 2


def test_ids_and_filters_select_together(kitt: Kitt, stored: list[str]) -> None:
    outcome = kitt("export", *(run_id[-8:] for run_id in stored), "--where", "avg_tps>40", "--format", "jsonl")
    assert sorted(json.loads(line)["model"] for line in outcome.lines) == ["org/b", "other/c"]


def test_a_selection_of_nothing_exits_with_3_and_leaves_no_file(
    kitt: Kitt, stored: list[str], tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    for target in ("out/", "out.csv", "-"):
        outcome = kitt("export", "--model", "nobody", "-o", target, "--format", "csv")
        assert (outcome.code, outcome.out) == (3, b"")
        assert outcome.err.startswith("error: no run in ")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("text", "what"), [("nope-nope", "no run 'nope-nope'"), ("01", "no run '01'")])
def test_an_unknown_id_exits_with_3(kitt: Kitt, stored: list[str], text: str, what: str) -> None:
    outcome = kitt("export", text)
    assert outcome.code == 3
    assert what in outcome.err


def test_an_ambiguous_part_names_the_candidates(kitt: Kitt, stored: list[str]) -> None:
    outcome = kitt("show", stored[0][:5])
    assert outcome.code == 3
    assert all(run_id in outcome.err for run_id in stored)


def test_an_unwritable_place_is_a_usage_error(kitt: Kitt, stored: list[str]) -> None:
    outcome = kitt("export", stored[0], "-o", "missing/a.json")
    assert outcome.code == 2
    assert "missing/a.json cannot be written" in outcome.err


def test_an_unknown_format_names_the_known_ones(kitt: Kitt, stored: list[str]) -> None:
    outcome = kitt("export", stored[0], "--format", "parquet")
    assert outcome.code == 2
    assert "csv, json, jsonl, markdown" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "ID", "-o", "runs.db", "--format", "json"),
        ("export", "-o", "runs.db-wal", "--format", "csv"),
        ("list", "-o", "runs.db"),
        ("show", "ID", "--format", "json", "-o", "runs.db"),
        ("stats", "-o", "./runs.db"),
        ("aggregate", "--by", "model", "-o", "runs.db-shm"),
        ("import", "new.json", "-o", "runs.db"),
        ("migrate", "-o", "runs.db"),
        ("status", "-o", "runs.db"),
        ("verify", "-o", "runs.db"),
    ],
)
def test_no_command_overwrites_the_database_that_it_reads(
    kitt: Kitt, stored: list[str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "new.json").write_bytes(b'{"model": "new", "engine": "e"}')
    outcome = kitt(*(stored[0] if argument == "ID" else argument for argument in arguments))
    assert (outcome.code, outcome.out) == (2, b"")
    error, hint = outcome.err.splitlines()
    assert error.endswith(" cannot be written: it belongs to the store runs.db")
    assert hint == "hint: name another file after -o"
    assert len(kitt("list", "--format", "jsonl").lines) == 3


@pytest.mark.parametrize("command", [("doctor",), ("run",)])
def test_neither_doctor_nor_run_overwrites_the_store(
    kitt: Kitt, stored: list[str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    before = (tmp_path / "runs.db").read_bytes()
    assert main(["--backend", "sqlite:///runs.db", *command, "-o", "runs.db"]) == 2
    assert (tmp_path / "runs.db").read_bytes() == before


@pytest.mark.parametrize("target", ["TREE/new.csv", "METRICS", "TREE/new/"])
def test_nothing_is_written_into_a_tree_that_is_the_store(kitt: Kitt, tmp_path: Path, target: str) -> None:
    main(["--backend", "json:///.", "storage", "init"])
    directory = tmp_path / "kitt-results/m/e/run"
    directory.mkdir(parents=True)
    (directory / "metrics.json").write_bytes(b'{"model": "m", "engine": "e"}')
    output = target.replace("METRICS", "TREE/m/e/run/metrics.json").replace("TREE", "kitt-results")
    assert main(["--backend", "json:///.", "storage", "export", "--format", "csv", "-o", output]) == 2
    assert [path.name for path in (tmp_path / "kitt-results").rglob("*")] == ["m", "e", "run", "metrics.json"]
    assert (directory / "metrics.json").read_bytes() == b'{"model": "m", "engine": "e"}'


@pytest.mark.parametrize(
    "command",
    [("list",), ("export", "ID"), ("export", "ID", "--format", "json"), ("show", "ID", "--format", "json")],
)
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("", "--output is empty"),
        ("n" * 300 + ".json", "cannot be written: File name too long"),
        ("loop.json", "cannot be written: Too many levels of symbolic links"),
        ("closed/x.json", "cannot be written: Permission denied"),
    ],
)
def test_a_name_that_cannot_be_an_output_is_one_line(
    kitt: Kitt,
    stored: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    name: str,
    what: str,
) -> None:
    (tmp_path / "loop.json").symlink_to("loop.json")
    refuse_below(tmp_path / "closed", monkeypatch)
    before = sorted(tmp_path.iterdir())
    outcome = kitt(*(stored[0] if argument == "ID" else argument for argument in command), "-o", name)
    assert (outcome.code, outcome.out) == (2, b"")
    error, hint = outcome.err.splitlines()
    assert error.startswith(f"error: {name[:100]}" if name else "error: ")
    assert what in error
    assert hint
    assert sorted(tmp_path.iterdir()) == before


def refuse_below(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the system refuse what is in ``directory``, as it refuses a user who is not root."""
    stat = Path.stat

    def refused(path: Path, **options: Any) -> Any:
        if directory in path.absolute().parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refused)


@pytest.mark.parametrize(
    "command",
    [
        *(("export", "--format", name) for name in ("json", "jsonl", "csv", "markdown")),
        *(("show", "ID", "--format", name) for name in ("json", "jsonl", "csv", "markdown", "table")),
    ],
)
def test_a_terminal_gets_no_control_character_of_a_document(
    kitt: Kitt, terminal: Any, command: tuple[str, ...]
) -> None:
    document = '{"model": "a\x7fb\x9b2Jc\u202ed\\u001b[2Je", "engine": "e", "results": [{"test_name": "t\x9b"}]}'
    run_id = kitt("import", "-", "--format", "json", stdin=document.encode()).json["stored"][0]
    with redirect_stdout(terminal), redirect_stderr(terminal):
        kitt(*(run_id if argument == "ID" else argument for argument in command))
    text = re.sub(r"\x1b\[[0-9;]*m", "", terminal.text())  # the table's own colours
    assert "2Je" in text
    assert "0/?" not in text  # no progress bar between the data
    assert [c for c in text if not c.isprintable() and c not in "\n\t"] == []


@pytest.mark.parametrize(
    "arguments", [("export", "-o", "out/"), ("export", "--format", "jsonl"), ("show", "ID", "--format", "json")]
)
def test_a_document_that_is_not_what_was_saved_is_named(
    kitt: Kitt, stored: list[str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with closing(sqlite3.connect("runs.db")) as connection:
        connection.execute("UPDATE runs SET raw_json = '{' WHERE id = ?", (stored[0],))
        connection.commit()
    outcome = kitt(*(stored[0] if argument == "ID" else argument for argument in arguments))
    assert outcome.code == 1
    assert f"error: run {stored[0]}: its document has changed in runs.db" in outcome.err
    assert len(outcome.err.splitlines()) <= 3
