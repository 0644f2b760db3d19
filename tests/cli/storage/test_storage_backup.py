from __future__ import annotations

import io
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest

from kitt_core import open_store
from kitt_core.archive import members
from kitt_core.cli.app import main
from kitt_core.runs import Attachment

Kitt = Callable[..., Any]
Make = Callable[..., bytes]


def documents(uri: str) -> dict[str, bytes]:
    with open_store(uri) as store:
        return {run.id: run.document for run in store.scan()}


def call(capsysbinary: pytest.CaptureFixture[bytes], *arguments: str) -> tuple[int, bytes, list[str]]:
    capsysbinary.readouterr()
    code = main(list(arguments))
    captured = capsysbinary.readouterr()
    return code, captured.out, captured.err.decode().splitlines()


@pytest.mark.parametrize("to", ["json:///new", "sqlite:///copy.db"])
def test_all_runs_are_backed_up_and_come_back(
    kitt: Kitt, stored: list[str], to: str, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    outcome = kitt("backup", "a.tar.gz")
    assert (outcome.code, outcome.out, outcome.err) == (0, b"", "3 runs backed up (runs.db to a.tar.gz)\n")
    assert stat.S_IMODE(Path("a.tar.gz").stat().st_mode) == 0o600
    for numbers in ("3 restored, 0 already there, 0 failed", "0 restored, 3 already there, 0 failed"):
        code, out, said = call(capsysbinary, "--backend", to, "storage", "restore", "a.tar.gz")
        assert (code, out) == (0, b"")
        assert said[0].startswith(f"{numbers} (backup of 20")
        assert main(["--backend", to, "storage", "verify"]) == 0
    assert documents(to) == documents("runs.db")


def test_a_file_is_replaced_only_if_that_is_asked_for(kitt: Kitt, stored: list[str]) -> None:
    Path("a.tar.gz").write_bytes(b"precious")
    outcome = kitt("backup", "a.tar.gz")
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 2)
    assert "--force" in outcome.err
    assert Path("a.tar.gz").read_bytes() == b"precious"
    assert kitt("backup", "a.tar.gz", "--force").code == 0
    assert kitt("restore", "a.tar.gz").code == 0


@pytest.mark.parametrize("name", ["runs.db", "./runs.db", "link.db", "runs.db-wal"])
def test_the_store_is_never_the_file(kitt: Kitt, stored: list[str], name: str) -> None:
    Path("link.db").symlink_to("runs.db")
    outcome = kitt("backup", name, "--force")
    assert outcome.code == 2
    assert "it belongs to the store" in outcome.err
    assert "after -o" not in outcome.err
    assert len(documents("runs.db")) == 3


def test_the_numbers_can_be_had_as_data(kitt: Kitt, stored: list[str]) -> None:
    assert kitt("backup", "a.tar.gz", "--format", "json").json == {
        "runs": 3,
        "attachments": 0,
        "failed": [],
        "unread": 0,
    }
    assert kitt("restore", "a.tar.gz", "--format", "json").json == {
        "restored": 0,
        "replaced": 0,
        "present": 3,
        "kept": 0,
        "failed": [],
        "files_left": 0,
        "unfit": 0,
        "left_out": 0,
    }


def test_standard_output_and_input(kitt: Kitt, stored: list[str], home: Path) -> None:
    base = [sys.executable, "-m", "kitt_core"]
    backup = subprocess.run(
        [*base, "--backend", "runs.db", "storage", "backup", "-"], capture_output=True, check=True
    )
    assert backup.stderr == b"3 runs backed up (runs.db to standard output)\n"
    command = [*base, "--backend", "json:///new", "storage", "restore", "-"]
    subprocess.run(command, input=backup.stdout, capture_output=True, check=True)
    assert documents("json:///new") == documents("runs.db")
    done = subprocess.run(command, input=backup.stdout[:-5], capture_output=True, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith(b"error: standard input: it is truncated")


def test_standard_output_holds_one_thing_and_is_no_terminal(
    kitt: Kitt, stored: list[str], terminal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = kitt("backup", "-", "--format", "json")
    assert (outcome.code, outcome.out) == (2, b"")
    assert kitt("backup", "-", "--format", "json", "-o", "report.json").code == 0
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["--backend", "runs.db", "storage", "backup", "-"]) == 2
    assert terminal.text() == ""


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_the_report_does_not_go_into_the_archive(kitt: Kitt, stored: list[str], command: str) -> None:
    kitt("backup", "a.tar.gz")
    before = Path("a.tar.gz").read_bytes()
    outcome = kitt(command, "a.tar.gz", "-o", "./a.tar.gz", *(["--force"] if command == "backup" else []))
    assert outcome.code == 2
    assert "-o names the archive itself" in outcome.err
    assert Path("a.tar.gz").read_bytes() == before


def test_conflicts(
    kitt: Kitt, stored: list[str], document: Make, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    kitt("backup", "a.tar.gz")
    with open_store("json:///.") as store:
        store.save_result(document("org/other"), run_id=stored[1])
    restore = ("--backend", "json:///.", "storage", "restore", "a.tar.gz")
    code, _, said = call(capsysbinary, *restore)
    assert code == 5
    assert said[0].startswith("error: 1 run is already in ")
    assert stored[1] in said[0]
    assert "--on-conflict skip" in said[1]
    assert set(documents("json:///.")) == {stored[1]}
    code, _, said = call(capsysbinary, *restore, "--on-conflict", "skip")
    assert (code, said[0].split(" (")[0]) == (
        0,
        "2 restored, 0 already there, 1 kept as in the store, 0 failed",
    )
    assert documents("json:///.")[stored[1]] == document("org/other")
    code, _, said = call(capsysbinary, *restore, "--on-conflict", "replace")
    assert (code, said[0]) == (0, said[0])
    assert said[0].startswith("1 restored (1 replacing others), 2 already there, 0 failed")
    assert documents("json:///.") == documents("runs.db")


def test_damaged_runs_exit_with_1_and_are_counted_at_the_restoration(
    kitt: Kitt, document: Make, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    with open_store("json:///.") as store:
        for i in range(3):
            store.save_result(document(f"m{i}"), run_id=f"run-{i}")
    victim = next(Path("kitt-results").rglob("metrics.json"))
    victim.write_bytes(document("changed"))
    code, _, said = call(capsysbinary, "--backend", "json:///.", "storage", "backup", "a.tar.gz")
    assert code == 1
    assert "its document has changed" in said[0]
    assert said[-1].startswith("2 runs backed up, 1 left out")
    outcome = kitt("restore", "a.tar.gz")
    assert outcome.code == 0
    assert "1 run was damaged when the store was backed up, and is not in the archive" in outcome.err
    assert len(documents("runs.db")) == 2


def test_files_that_stay_behind_are_said(kitt: Kitt, document: Make) -> None:
    files = [Attachment(name, 1, lambda: io.BytesIO(b"1")) for name in ("a", "b")]
    with open_store("json:///.") as store:
        store.save_result(document(), attachments=files)
    assert main(["--backend", "json:///.", "storage", "backup", "a.tar.gz"]) == 0
    outcome = kitt("restore", "a.tar.gz")
    assert "2 attachments left out: runs.db keeps documents only" in outcome.err


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (None, 3, "no such file"),
        (b"hello", 5, "it does not begin like a gzip file"),
        (b"", 5, "it is truncated"),
    ],
)
def test_what_is_no_archive(kitt: Kitt, content: bytes | None, code: int, said: str) -> None:
    if content is not None:
        Path("a").write_bytes(content)
    outcome = kitt("restore", "a")
    assert outcome.code == code
    assert outcome.err.startswith("error: a: ")
    assert said in outcome.err
    assert len(outcome.err.splitlines()) <= 2
    assert not Path("runs.db").exists()


def test_a_limit_on_what_it_unpacks_to(kitt: Kitt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_ALWAYS", 1 << 20)
    with open_store("sqlite:///big.db") as store:
        store.save_result({"model": "m", "engine": "e", "pad": "x" * (3 << 20)})
    assert main(["--backend", "big.db", "storage", "backup", "a"]) == 0
    options = ["--max-ratio", "1", "--max-document", "1"]
    for option in ("--max-document 4", "--max-ratio 1100"):
        outcome = kitt("restore", "a", *options)
        assert outcome.code == 5
        assert outcome.err.splitlines()[-1].startswith("hint: ")
        assert option in outcome.err.splitlines()[-1]
        options += option.split()
    assert kitt("restore", "a", *options).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["backup"],
        ["backup", ""],
        ["backup", "no/such/directory/a"],
        ["backup", "."],
        ["restore"],
        ["restore", ""],
        ["restore", "a", "--on-conflict", "maybe"],
        ["restore", "a", "--max-ratio", "0"],
        ["restore", "a", "--max-document", "0"],
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_2(kitt: Kitt, stored: list[str], arguments: list[str]) -> None:
    Path("a").touch()
    outcome = kitt(*arguments)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert len(outcome.err.splitlines()) <= 2


def test_a_store_that_cannot_be_used_exits_with_4(kitt: Kitt, stored: list[str]) -> None:
    kitt("backup", "a.tar.gz")
    Path("no.db").write_bytes(b"no database" * 100)
    assert main(["--backend", "sqlite:///no.db", "storage", "restore", "a.tar.gz"]) == 4
    assert main(["--backend", "sqlite:///no.db", "storage", "backup", "b.tar.gz"]) == 4
    assert not Path("b.tar.gz").exists()


def test_a_terminal_shows_how_far_it_is(kitt: Kitt, stored: list[str], terminal: Any) -> None:
    with redirect_stderr(terminal):
        assert main(["--backend", "runs.db", "storage", "backup", "a.tar.gz"]) == 0
        assert main(["--backend", "json:///new", "storage", "restore", "a.tar.gz"]) == 0
    for text in ("Backing up", "3/3", "Checking", "Restoring"):
        assert text in terminal.text()


def test_a_full_disk_leaves_no_file(kitt: Kitt, stored: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    outcome = kitt("backup", "/dev/full")
    assert outcome.code == 2
    assert "No space left" in outcome.err
