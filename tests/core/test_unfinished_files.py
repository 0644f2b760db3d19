"""Files written whole or not at all: what a killed writer left is removed, what a living one holds stays."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kitt_core.cli.app import main
from kitt_core.files import remove_unfinished, replaced_file

_KILLED = """
import os, signal, sys
from pathlib import Path
from kitt_core.files import replaced_file

with replaced_file(Path(sys.argv[1]), private=True) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_a_writer(target: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    kill_a_writer(tmp_path / "a.tar.gz")
    (left,) = names(tmp_path)
    assert left.startswith(".kitt-unfinished-a.tar.gz.")
    with replaced_file(tmp_path / "b") as file:
        file.write(b"b")
        (held,) = names(tmp_path)
        assert held.startswith(".kitt-unfinished-b.")
    assert names(tmp_path) == {"b"}


def test_what_a_living_writer_holds_stays(tmp_path: Path) -> None:
    with replaced_file(tmp_path / "a") as first:
        first.write(b"a")
        with replaced_file(tmp_path / "b") as second:
            second.write(b"b")
        assert remove_unfinished(tmp_path) == 0
        assert len(names(tmp_path)) == 2
    assert names(tmp_path) == {"a", "b"}
    assert (tmp_path / "a").read_bytes() == b"a"


def test_only_regular_files_of_that_name_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".kitt-unfinished-directory").mkdir()
    (tmp_path / ".kitt-unfinished-link").symlink_to(tmp_path / "target")
    (tmp_path / "target").touch()
    (tmp_path / ".a.tar.gz.abcdefgh").touch()
    before = names(tmp_path)
    assert remove_unfinished(tmp_path) == 0
    assert names(tmp_path) == before
    assert remove_unfinished(tmp_path / "missing") == 0


def test_doctor_removes_what_is_in_the_current_directory_and_in_kitts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [tmp_path / "here", tmp_path / "home"]
    for place in places:
        place.mkdir()
        kill_a_writer(place / "x.tar.gz")
    monkeypatch.chdir(places[0])
    monkeypatch.setenv("KITT_HOME", str(places[1]))
    main(["doctor"])
    out = capsys.readouterr().out
    for place in places:
        assert f"{place}: removed a file that a killed process left unfinished" in out
        assert not [name for name in names(place) if "unfinished" in name]
    main(["doctor"])
    assert "unfinished" not in capsys.readouterr().out
