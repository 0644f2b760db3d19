from __future__ import annotations

import io
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitt_core.cli.app import main

Kitt = Callable[..., Any]
Make = Callable[..., bytes]


def ids(kitt: Kitt) -> list[str]:
    return [row["id"] for row in kitt("list", "--format", "json").json]


def test_delete_takes_parts_of_ids_and_asks_nothing_with_yes(kitt: Kitt, stored: list[str]) -> None:
    outcome = kitt("delete", "--yes", stored[0][-8:], stored[1], stored[1][-8:])
    assert (outcome.code, outcome.out) == (0, b"")
    assert outcome.err.splitlines() == [f"deleted {stored[0]}", f"deleted {stored[1]}"]
    assert ids(kitt) == [stored[2]]


def test_nothing_is_deleted_if_one_id_is_unknown(kitt: Kitt, stored: list[str]) -> None:
    assert kitt("delete", "--yes", stored[0], "nope-nope").code == 3
    assert len(ids(kitt)) == 3


def test_without_a_terminal_the_flag_is_asked_for(kitt: Kitt, stored: list[str]) -> None:
    outcome = kitt("delete", stored[0], stdin=b"y\n")
    assert outcome.code == 2
    assert "hint: give --yes" in outcome.err
    assert len(ids(kitt)) == 3


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "left", "code"), [(b"y\n", 2, 0), (b"n\n", 3, 1), (b"", 3, 1)])
def test_the_question_names_the_runs(
    kitt: Kitt,
    stored: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
    answer: bytes,
    left: int,
    code: int,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO(answer)))
    assert main(["--backend", "sqlite:///runs.db", "storage", "delete", stored[0][-8:]]) == code
    captured = capsysbinary.readouterr()
    assert captured.out == b""
    assert stored[0] in captured.err.decode()
    assert "org/a" in captured.err.decode()
    assert len(ids(kitt)) == left


def test_init_may_be_called_again(kitt: Kitt, tmp_path: Path) -> None:
    for _ in range(2):
        outcome = kitt("init")
        assert outcome.code == 0
        assert "is ready, schema version" in outcome.err
    assert (tmp_path / "runs.db").is_file()


def test_status_tells_where_the_store_is_and_its_version(kitt: Kitt, stored: list[str]) -> None:
    values = kitt("status", "--format", "json").json
    assert (values["backend"], values["state"], values["pending"]) == ("sqlite", "current", [])
    assert values["version"] == values["newest"]
    assert values["location"].endswith("runs.db")
    assert values["size_bytes"] > 0


def test_migrate_has_nothing_to_do_on_a_current_store(kitt: Kitt, stored: list[str]) -> None:
    outcome = kitt("migrate", "--dry-run", "--format", "json")
    assert (outcome.code, outcome.json) == (0, [])
    assert "is up to date" in outcome.err


def test_verify_finds_nothing_wrong_with_a_sound_store(kitt: Kitt, stored: list[str]) -> None:
    outcome = kitt("verify", "--format", "json")
    assert (outcome.code, outcome.json) == (0, [])
    assert "no damage, 0 notices" in outcome.err


def test_a_notice_is_no_damage(kitt: Kitt, document: Make) -> None:
    run_id = kitt("import", "-", "--format", "json", stdin=document(total_benchmarks=24)).json["stored"][0]
    outcome = kitt("verify", "--format", "json")
    assert outcome.code == 0
    assert [(row["run_id"], row["severity"]) for row in outcome.json] == [(run_id, "notice")]
    assert "total_benchmarks is 24, but the results give 1" in outcome.json[0]["what"]


def test_damage_exits_with_1_and_names_the_run(kitt: Kitt, stored: list[str], tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute(
            "UPDATE runs SET raw_json = replace(raw_json, '10.0', '99.0') WHERE id = ?", (stored[0],)
        )
    connection.close()
    outcome = kitt("verify", "--format", "json")
    assert outcome.code == 1
    assert {row["run_id"] for row in outcome.json} == {stored[0]}
    assert "damage" in {row["severity"] for row in outcome.json}


def test_a_run_that_cannot_be_read_is_named_and_can_be_deleted(
    kitt: Kitt, stored: list[str], tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("UPDATE runs SET raw_json = '{' WHERE id = ?", (stored[0],))
    connection.close()
    shown = kitt("show", stored[0])
    assert shown.code == 5
    assert shown.err.startswith(f"error: run {stored[0]} cannot be read: ")
    assert kitt("delete", "--yes", stored[0]).code == 0
    assert kitt("verify").code == 0


@pytest.mark.parametrize("content", [b"this is text, not a database", b"SQLite format 3\x00torn"])
def test_a_file_that_is_no_store_is_left_alone(kitt: Kitt, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "runs.db").write_bytes(content)
    for command in (("list",), ("init",), ("verify",), ("stats",)):
        outcome = kitt(*command)
        assert outcome.code == 4
        assert outcome.err.startswith("error: ")
    assert (tmp_path / "runs.db").read_bytes() == content


def test_a_store_that_cannot_delete_says_so_before_it_looks(
    kitt: Kitt, stored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kitt_core.storage import Capability
    from kitt_sqlite.store import SQLiteResultStore

    monkeypatch.setattr(SQLiteResultStore, "capabilities", SQLiteResultStore.capabilities - {Capability.DELETE})
    outcome = kitt("delete", "--yes", "nope-nope")
    assert outcome.code == 2
    assert "cannot delete runs" in outcome.err


@pytest.mark.parametrize("output_format", ["table", "json", "csv", "markdown"])
def test_a_store_that_cannot_be_verified_gives_no_heading(kitt: Kitt, tmp_path: Path, output_format: str) -> None:
    (tmp_path / "runs.db").write_bytes(bytes(8192))
    outcome = kitt("verify", "--format", output_format)
    assert (outcome.code, outcome.out) == (4, b"")
    assert outcome.err.startswith("error: ")
