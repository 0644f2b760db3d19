"""What can't be read now is said and ends with 1, whatever the command; once it can be read, it is there again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kitt_core import open_store
from kitt_core.cli.app import main
from kitt_core.testing.documents import small

Kitt = Callable[..., Any]
COMMANDS = [
    ("list",),
    ("list", "--model", "*", "--sort", "metric:avg_tps"),
    ("stats",),
    ("aggregate", "--by", "model"),
    ("export", "--format", "jsonl", "-o", "-"),
    ("copy", "--to", "copy.db"),
    ("backup", "b.tar.gz"),
]


@pytest.fixture
def kitt(home: Path, capsys: pytest.CaptureFixture[str]) -> Kitt:
    """Call ``kitt storage`` with the installed plugins, on the tree of the current directory."""

    def call(*arguments: str, quiet: bool = False) -> tuple[int, str, str]:
        code = main([*(["-q"] if quiet else []), "--backend", "json:///.", "storage", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def tree(home: Path) -> Path:
    with open_store("json:///.") as store:
        store.save_results([small(n) for n in range(3)])
    return Path("kitt-results")


@pytest.mark.parametrize("command", COMMANDS[:4], ids=" ".join)
@pytest.mark.parametrize("damage", ["no JSON", "gone", "a broken run.json"])
def test_a_run_that_cannot_be_used_is_named_like_one_that_cannot_be_read(
    kitt: Kitt, tree: Path, command: Sequence[str], damage: str
) -> None:
    document = sorted(tree.glob("*/*/*/metrics.json"))[1]
    if damage == "gone":
        document.unlink()
    else:
        (document if damage == "no JSON" else document.with_name("run.json")).write_bytes(b"{")
    code, _, err = kitt(*command)
    assert code == 1
    note, error, _ = err.splitlines()
    assert note.startswith("warning: ")
    assert str(document.parent.relative_to(tree)) in note
    assert error == "error: the runs in 1 place of the store are missing here: they cannot be read"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("quiet", [False, True])
def test_an_answer_that_lacks_what_cannot_be_read_ends_with_1(
    kitt: Kitt, tree: Path, tmp_path: Path, command: Sequence[str], *, quiet: bool
) -> None:
    document = sorted(tree.glob("*/*/*/metrics.json"))[1]
    document.rename(tmp_path / "kept")
    os.mkfifo(document)
    code, _, err = kitt(*command, quiet=quiet)
    assert code == 1
    *notes, error, hint = err.splitlines()
    assert error == "error: the runs in 1 place of the store are missing here: they cannot be read"
    assert "storage verify" in hint
    assert any("metrics.json" in note and note.startswith("warning: ") for note in notes) is not quiet
    assert not any(note.startswith("error: ") for note in notes)
    document.unlink()
    (tmp_path / "kept").rename(document)
    again = ("copy", "--to", "copy.db") if command[0] == "copy" else ("list", "--format", "jsonl")
    code, out, err = kitt(*again)
    assert code == 0
    if command[0] == "copy":
        assert err.startswith("1 copied, 2 already there, 0 failed")
    else:
        assert len(out.splitlines()) == 3


def test_a_run_that_is_not_found_may_be_one_that_cannot_be_read(kitt: Kitt, tree: Path) -> None:
    with open_store("json:///.") as store:
        (run_id,) = (run.id for run in store.list_results({"model": "*2"}))
    (document,) = tree.glob("*2/*/*/metrics.json")
    document.unlink()
    os.mkfifo(document)
    code, _, err = kitt("show", run_id)
    assert code == 3
    assert "the runs in 1 place of the store are missing here" in err


def test_a_copy_counts_them_for_programs(kitt: Kitt, tree: Path) -> None:
    document = next(tree.glob("*/*/*/metrics.json"))
    document.unlink()
    os.mkfifo(document)
    code, out, _ = kitt("copy", "--to", "c.db", "--format", "json")
    assert code == 1
    assert '"unread": 1' in out
