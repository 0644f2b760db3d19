"""A command that a hint names is complete: it works on the store that the user named."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kitt_core import open_store
from kitt_core.cli.app import main
from kitt_core.cli.invocation import State
from kitt_core.cli.messages import completed, completing_commands, logging_to_stderr, say


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ([], "kitt storage list"),
        (["--backend", "sqlite"], "kitt --backend sqlite storage list"),
        (["-O", "path=a.db"], "kitt -O path=a.db storage list"),
        (["--backend", "json", "-O", "path=a b"], "kitt --backend json -O 'path=a b' storage list"),
        (["--config", "my.toml"], "kitt --config my.toml storage list"),
    ],
)
def test_every_global_option_is_carried(given: list[str], shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.toml").touch()
    main([*given, "storage", "init"])
    capsys.readouterr()
    assert main([*given, "storage", "show", "nosuch"]) == 3
    assert f"hint: `{shown}` shows the ids" in capsys.readouterr().err


def test_a_secret_is_not_carried(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--backend 'postgresql://me:***@h/db' "
    with completing_commands(lambda: options):
        say("hint: `kitt storage list` shows the ids")
    assert capsys.readouterr().err == f"hint: `kitt {options}storage list` shows the ids\n"
    state = State(backend="postgresql://me:s3cret@h/db", options={"schema": "x", "nosuch": "s3cret"})
    assert state.shown_options() == "--backend 'postgresql://me:***@h/db' -O schema=x -O 'nosuch=***' "


def test_only_commands_that_use_the_store_are_completed() -> None:
    with completing_commands(lambda: "--backend x "):
        assert completed("`kitt run` and `kitt plugins list`") == "`kitt --backend x run` and `kitt plugins list`"
        for text in (
            "`kitt storage --help` shows the usage",
            "`kitt --backend y storage list`",
            "kitt storage list",
        ):
            assert completed(text) == text
    assert completed("`kitt run`") == "`kitt run`"


def test_a_warning_is_completed_too(capsys: pytest.CaptureFixture[str]) -> None:
    with completing_commands(lambda: "--backend x "), logging_to_stderr(logging.WARNING):
        logging.getLogger("kitt_core.test").warning("`kitt storage verify` says why")
    assert capsys.readouterr().err == "warning: `kitt --backend x storage verify` says why\n"


def test_hints_about_the_target_of_a_copy_name_the_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with open_store(f"sqlite:///{new}") as store:
        store.save_result({"model": "m", "engine": "e"})
    shutil.copy(new, old)
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("DELETE FROM schema_version WHERE version = 13")
        connection.commit()
    assert main(["--backend", f"{old}", "storage", "copy", "--to", f"{new}"]) == 4
    of_source = capsys.readouterr().err
    assert main(["--backend", f"{new}", "storage", "copy", "--to", "sqlite", "--to-option", f"path={old}"]) == 4
    of_target = capsys.readouterr().err
    assert f"`kitt --backend {old} storage" in of_source
    assert f"`kitt --backend sqlite -O path={old} storage" in of_target
