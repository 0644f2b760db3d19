"""``kitt karr init``, ``log`` and ``gc``, and how the commands find their repository."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kitt_core.fingerprint import collect_system_info
from kitt_core.plugins import FINGERPRINTS, PluginManager
from kitt_karr.repository_choice import machine_repository, only_repository
from kitt_karr.store import KarrResultStore


def test_help_imports_no_git(tmp_path: Path) -> None:
    code = (
        "import sys; from kitt_core.cli.app import main; code = main(['karr', '--help']);"
        "print(code, 'dulwich' in sys.modules, 'kitt_karr.git.repository' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "0 False False"
    assert "Pack the repository" in done.stdout


# init


def test_init_makes_the_repository_of_this_machine_with_its_files(kitt: Any, git: Any) -> None:
    fingerprint = collect_system_info(PluginManager().all(FINGERPRINTS)).sections["fingerprint"]
    name = f"karr-{fingerprint[:40]}"
    answer = kitt("karr", "init")
    assert (answer.code, answer.out, answer.err) == (0, "", f"{name} is ready\n")
    assert {path.name for path in Path(name).iterdir()} == {
        *(".git", ".gitattributes", "README.md", "hardware_fingerprint.txt")
    }
    assert Path(name, "hardware_fingerprint.txt").read_text() == fingerprint
    assert git(Path(name), "status", "--porcelain") == ""
    assert git(Path(name), "reflog", "--format=%gs") == "Initial commit: KARR results repository\n"
    assert kitt("karr", "init").err == f"{name} exists already\n"
    assert [path.name for path in Path().iterdir()] == [name]


def test_init_takes_a_path_or_that_of_the_backend(kitt: Any, git: Any) -> None:
    assert kitt("karr", "init", "runs/karr").code == 0
    assert kitt("--backend", "karr:///other", "karr", "init", "--bare").code == 0
    for path, bare in (("runs/karr", "false"), ("other", "true")):
        assert len(git(Path(path), "log", "--format=%s").splitlines()) == 1
        assert git(Path(path), "config", "core.bare").strip() == bare
        git.assert_intact(Path(path))


def test_init_refuses_a_repository_of_somebody_else(kitt: Any, git: Any) -> None:
    git(Path(), "init", "--quiet", "source")
    Path("source/code.py").write_text("print()")
    git(Path("source"), "add", ".")
    git(Path("source"), "commit", "--quiet", "-m", "Code")
    answer = kitt("karr", "init", "source")
    assert (answer.code, answer.out) == (4, "")
    assert answer.err.startswith("error: ")
    assert "source is a git repository, but not KARR's: it has neither hardware_fingerprint.txt" in answer.err
    assert git(Path("source"), "log", "--format=%s") == "Code\n"
    Path("source/hardware_fingerprint.txt").touch()
    git(Path("source"), "add", ".")
    git(Path("source"), "commit", "--quiet", "-m", "As the hint says")
    assert kitt("karr", "init", "source").err == "source exists already\n"


def test_init_refuses_what_is_something_else(kitt: Any) -> None:
    Path("notes").mkdir()
    Path("notes/x").write_text("x")
    answer = kitt("karr", "init", "notes")
    assert (answer.code, len(answer.err.splitlines())) == (4, 2)
    assert [path.name for path in Path("notes").iterdir()] == ["x"]


# log


@pytest.fixture
def three(kitt: Any, machines: Any) -> Path:
    """A repository with two runs, one of which was deleted."""
    path: Path = machines.root / "work" / "karr-x"
    first = machines.save("work/karr-x")
    machines.save("work/karr-x")
    with KarrResultStore(path) as store:
        store.delete_result(first)
    return path


def test_log_lists_the_commits_with_what_they_did(kitt: Any, three: Path, git: Any) -> None:
    rows = json.loads(kitt("karr", "log", "--format", "json").out)
    assert [(row["message"].split(":")[0], row["added"], row["removed"]) for row in rows] == [
        ("Delete results", 0, 1),
        ("Add results", 1, 0),
        ("Add results", 1, 0),
        ("Initial commit", 0, 0),
    ]
    assert [row["commit"] for row in rows] == git(three, "log", "--format=%H").split()
    assert rows[0]["parents"] == [rows[1]["commit"]]
    assert rows[0]["author"] == "KITT <kitt@localhost>"
    assert rows[0]["time"].endswith("Z")


def test_log_in_every_format(kitt: Any, three: Path) -> None:
    lines = kitt("karr", "log", "--limit", "2", "--format", "jsonl").out.splitlines()
    assert [json.loads(line)["removed"] for line in lines] == [1, 0]
    (row, *_) = csv.DictReader(io.StringIO(kitt("karr", "log", "--format", "csv").out))
    assert list(row) == ["commit", "time", "author", "message", "added", "removed", "parents"]
    assert kitt("karr", "log", "--format", "markdown").out.startswith(
        "| commit | time | message | added | removed |"
    )
    assert kitt("karr", "log").out.splitlines()[0] == "commit\ttime\tmessage\tadded\tremoved"
    assert len(kitt("karr", "log", "--limit", "all").out.splitlines()) == 5
    assert kitt("karr", "log", "-o", "log.json", "--format", "json").out == ""
    assert len(json.loads(Path("log.json").read_text())) == 4


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1" * 30, "\uff11"])
def test_log_takes_a_number_or_all(limit: str, kitt: Any, three: Path) -> None:
    assert kitt("karr", "log", "--limit", limit).code == 2


def test_log_never_writes_into_the_repository(kitt: Any, three: Path) -> None:
    head = (three / "HEAD").read_bytes()
    assert kitt("karr", "log", "-o", three / "HEAD").code == 2
    assert (three / "HEAD").read_bytes() == head


def test_log_of_nothing(kitt: Any, git: Any) -> None:
    answer = kitt("karr", "log", "-C", "nothing")
    assert (answer.code, len(answer.err.splitlines())) == (4, 2)
    git(Path(), "init", "--quiet", "unborn")
    assert json.loads(kitt("karr", "log", "-C", "unborn", "--format", "json").out) == []


# Which repository.


def test_the_repository_is_the_one_that_is_meant(
    kitt: Any, three: Path, machines: Any, git: Any, monkeypatch: Any
) -> None:
    def commits(*options: object) -> int:
        answer = kitt(*options, "--format", "json")
        assert answer.code == 0, answer.err
        return len(json.loads(answer.out))

    assert commits("karr", "log") == 4
    machines.save("elsewhere")
    assert commits("karr", "log", "-C", machines.root / "elsewhere") == 2
    assert commits("--backend", f"karr:///{machines.root}/elsewhere", "karr", "log") == 2
    git.clone(three, three.parent / "clone")
    monkeypatch.chdir("clone")
    assert commits("karr", "log") == 4
    monkeypatch.chdir("..")
    machines.save("work/karr-y")
    answer = kitt("karr", "log")
    assert answer.code == 2
    assert answer.err.splitlines()[0] == "error: several KARR repositories are here: karr-x, karr-y"
    monkeypatch.chdir(machines.root)
    answer = kitt("karr", "log")
    assert (answer.code, answer.err.splitlines()[0]) == (2, "error: no KARR repository is here")


def test_a_machine_does_not_take_the_repository_of_another(tmp_path: Path) -> None:
    mine, other = "F" * 40 + "-mine", "F" * 40 + "-other"
    first = tmp_path / f"karr-{'F' * 40}"
    assert machine_repository(tmp_path, mine) == first
    with KarrResultStore(first, fingerprint=mine) as store:
        store.initialize()
    assert machine_repository(tmp_path, mine) == first
    second = tmp_path / f"karr-{'F' * 40}-2"
    assert machine_repository(tmp_path, other) == second
    second.mkdir()
    (second / "notes").write_text("x")  # somebody's directory
    assert machine_repository(tmp_path, other) == tmp_path / f"karr-{'F' * 40}-3"
    assert machine_repository(tmp_path, "") == tmp_path / "karr"


def test_a_repository_without_fingerprint_belongs_to_no_machine(tmp_path: Path, git: Any) -> None:
    with KarrResultStore(tmp_path / "karr-x") as store:
        store.initialize()
    assert machine_repository(tmp_path, "x") == tmp_path / "karr-x-2"
    git(tmp_path, "init", "--quiet", "--bare", str(tmp_path / "karr-y"))
    assert only_repository(tmp_path / "karr-x") == tmp_path / "karr-x"


# gc


def loose(path: Path) -> int:
    return sum(1 for folder in (path / "objects").glob("??") for _ in folder.iterdir())


def test_gc_prefers_git_and_says_so(kitt: Any, three: Path, git: Any) -> None:
    answer = kitt("karr", "gc")
    assert answer.code == 0
    first, second = answer.err.splitlines()
    assert first == f"git packs {three}"
    assert second.endswith("MB now")
    assert loose(three) == 0
    with KarrResultStore(three) as store:
        assert store.count() == 1
    git.assert_intact(three)


def test_gc_works_without_git(kitt: Any, three: Path, git: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setenv("PATH", "/nowhere")
        answer = kitt("karr", "gc")
    assert answer.code == 0
    assert "git is not installed: KITT packs" in answer.err
    assert loose(three) == 0
    with KarrResultStore(three) as store:
        assert store.count() == 1
        store.save_result({"model": "m", "engine": "e"})
    git.assert_intact(three)
    assert shutil.which("git") is not None


def test_gc_of_something_damaged_is_one_line(kitt: Any, three: Path, git: Any) -> None:
    tree = git(three, "rev-parse", "main^{tree}").strip()
    (three / "objects" / tree[:2] / tree[2:]).unlink()
    answer = kitt("karr", "gc")
    assert answer.code == 4
    _, error, hint = answer.err.splitlines()  # the first says who packs
    assert error == f"error: git could not pack {three} (exit code 128); nothing is lost"
    assert f"git -C {three} gc" in hint
