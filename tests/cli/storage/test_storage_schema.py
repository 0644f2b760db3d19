"""The commands of the schema on databases of the past, and every command on those of the future."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kitt_core.cli.app import main
from kitt_sql.testing import SQLITE, TOKEN, create_statements, insert_operations, insert_run, legacy_runs

Kitt = Callable[..., Any]
MIGRATE = "kitt --backend sqlite:///runs.db storage migrate"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of KITT 1.x at version 3 where the command looks for its store."""
    path = tmp_path / "runs.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in create_statements(3, SQLITE):
            connection.execute(statement)
        connection.executemany("INSERT INTO schema_version (version) VALUES (?)", [(1,), (2,), (3,), (2,)])
        for run in legacy_runs():
            insert_run(connection.execute, run)
        insert_operations(connection.execute, 3, result_id=None)
    return path


def test_status_says_what_the_database_is_and_what_is_odd_about_it(kitt: Kitt, old: Path) -> None:
    values = kitt("status", "--format", "json").json
    assert (values["state"], values["version"], values["newest"]) == ("old", 3, 13)
    assert values["pending"][0] == "kitt-0004-agent-token-hash"
    assert values["notes"] == [
        f"written by KITT 1.x: `{MIGRATE}` adopts it and brings it to version 13",
        "surplus rows in schema_version: 1",
        "agents with their token in plain text, of which the upgrade keeps only the hash: 2",
    ]


def test_doctor_names_the_command_that_upgrades(
    old: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.chdir(old.parent)
    assert main(["--backend", "sqlite:///runs.db", "doctor"]) == 0
    said = capsysbinary.readouterr().out.decode()
    assert "`kitt --backend sqlite:///runs.db storage migrate` adopts it" in said
    assert "`kitt --backend sqlite:///runs.db storage migrate` upgrades it" in said


def test_other_commands_refuse_it_with_the_command_that_upgrades(kitt: Kitt, old: Path) -> None:
    before = old.read_bytes()
    outcome = kitt("list")
    assert (outcome.code, outcome.out) == (4, b"")
    assert outcome.err.splitlines() == [
        "error: runs.db has schema version 3; this KITT needs 13",
        "hint: `kitt --backend sqlite:///runs.db storage migrate` upgrades it, after a backup beside it",
    ]
    assert old.read_bytes() == before


def test_the_command_in_a_hint_can_be_pasted(old: Path, capsys: pytest.CaptureFixture[str], home: Path) -> None:
    old.rename("my runs.db")
    assert main(["--backend", "sqlite:///my runs.db", "storage", "list"]) == 4
    command = shlex.split(capsys.readouterr().err.splitlines()[1].split("`")[1])
    assert command == ["kitt", "--backend", "sqlite:///my runs.db", "storage", "migrate"]
    assert main(command[1:]) == 0
    assert main(["--backend", "my runs.db", "storage", "list"]) == 0
    assert not (home / "kitt.db").exists()


def test_a_dry_run_prints_what_it_did_and_changes_nothing(kitt: Kitt, old: Path) -> None:
    before = old.read_bytes()
    outcome = kitt("migrate", "--dry-run")
    assert outcome.code == 0
    assert outcome.lines[0] == "migration"
    assert outcome.lines[1] == "kitt-0004-agent-token-hash"
    assert "agents whose token was plain text and is now a hash: 2 (box-0, box-1)" in outcome.err
    assert "10 migrations would be applied" in outcome.err
    assert kitt("status", "--format", "json").json["version"] == 3
    assert old.read_bytes() == before
    assert [file.name for file in old.parent.glob("runs.db*")] == ["runs.db"]


@pytest.mark.parametrize(("flags", "copies"), [((), 1), (("--no-backup",), 0)])
def test_migrate_adopts_it_after_a_backup_unless_that_is_declined(
    kitt: Kitt, old: Path, flags: tuple[str, ...], copies: int
) -> None:
    outcome = kitt("migrate", *flags)
    assert outcome.code == 0
    assert len(outcome.lines) == 11
    assert ("the copy made before is" in outcome.err) == bool(copies)
    assert "runs with an empty document: 1 (empty00000000000)" in outcome.err
    backups = list(old.parent.glob("runs.db.v3-*.bak"))
    assert [file.stat().st_mode & 0o777 for file in backups] == [0o600] * copies
    assert kitt("verify").code == 0
    assert len(kitt("list", "--format", "json").json) == len(legacy_runs())
    assert TOKEN.encode() not in old.read_bytes()
    again = kitt("migrate")
    assert (again.code, again.lines) == (0, ["migration"])
    assert "is up to date" in again.err


FUTURE = {
    "version": "INSERT INTO schema_version (version) VALUES (99)",
    "migration": "INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('h', 'kitt-0013-tomorrow')",
}
COMMANDS = [
    ("storage", "list"),
    ("storage", "show", "abcd"),
    ("storage", "stats"),
    ("storage", "aggregate", "--by", "model"),
    ("storage", "import", "metrics.json"),
    ("storage", "export"),
    ("storage", "copy", "--to", "memory:"),
    ("storage", "backup", "all.kitt"),
    ("storage", "restore", "ours.kitt"),
    ("storage", "delete", "--yes", "abcd"),
    ("storage", "init"),
    ("storage", "migrate"),
    ("storage", "migrate", "--dry-run"),
    ("storage", "verify"),
    ("run",),
    ("compare", "abcd", "abce"),
]


@pytest.fixture(params=list(FUTURE.values()), ids=list(FUTURE))
def future(request: pytest.FixtureRequest, kitt: Kitt, stored: list[str], tmp_path: Path) -> Path:
    path = tmp_path / "runs.db"
    assert kitt("backup", "ours.kitt").code == 0
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(request.param)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (tmp_path / "metrics.json").write_text('{"model": "m", "engine": "e"}')
    return path


def test_every_command_but_status_and_doctor_refuses_a_database_of_the_future(
    future: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    before = future.read_bytes()
    for command in COMMANDS:
        assert main(["--backend", "sqlite:///runs.db", *command]) == 4, command
        lines = capsysbinary.readouterr().err.decode().splitlines()
        assert lines[0].startswith("error: runs.db has schema version"), command
        assert lines[-1] == "hint: upgrade KITT; the store was left untouched", command
    assert main(["--backend", "sqlite:///runs.db", "storage", "status"]) == 0
    assert main(["--backend", "sqlite:///runs.db", "doctor"]) == 4  # it works, and says that nothing else will
    assert future.read_bytes() == before
    assert sorted(file.name for file in future.parent.glob("runs.db*")) == ["runs.db"]
