"""Large stores are generated once; the programs measure, and the page gets its tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import everything, peers, scale, writers
from benchmarks.__main__ import PROGRAMS, main
from benchmarks.kept import kept_files, kept_floor, kept_server, kept_sqlite, own_directory, postgres_store
from benchmarks.page import marks_of, write_page
from benchmarks.peer_saving import SAVES
from benchmarks.report import Goal, Measurement, Section
from kitt_core import open_store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_a_store_is_generated_once(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with kept_sqlite(cache, 5, small=True) as store:
            assert store.count() == 5
    kept_floor(cache, 3).close()
    kept_floor(cache, 3).close()
    assert len(list(kept_files(cache, 2).rglob("metrics.json"))) == 2
    assert len([line for line in capsys.readouterr().err.splitlines() if line.startswith("generating")]) == 3


def test_what_is_older_or_incomplete_is_replaced(cache: Path) -> None:
    own_directory(cache)
    leftovers = [cache / name for name in ("sqlite-small-5-0123.db", "sqlite-small-5-partial.db")]
    other = cache / "sqlite-small-50-0123.db"
    for path in (*leftovers, other):
        path.write_text("not a database")
    with kept_sqlite(cache, 5, small=True) as store:
        assert store.count() == 5
    assert other.exists()
    assert not any(path.exists() for path in leftovers)


def test_a_directory_of_somebody_else_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_directory(cache)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(SystemExit, match="belongs to another user"):
        own_directory(cache)


@pytest.mark.long
def test_databases_of_the_server_are_kept() -> None:
    pytest.importorskip("kitt_postgres.testing")
    import tempfile

    # Not in the directory of the test, which the server's account can't reach.
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        for _ in range(2):
            with kept_server(Path(directory)) as server, postgres_store(server, 4, small=True) as store:
                assert store.count() == 4
                assert len(server.execute("SELECT 1 FROM pg_database WHERE datname LIKE 'small%'")) == 1


def test_questions_are_asked_at_each_size(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--sizes", "60,30", "--backend", "sqlite", "--seconds", "0", "--directory", str(cache)]
    assert main(["scale", *options]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[:5] == ["question", "30", "runs", "60", "runs"]
    assert len(lines) == 11
    assert any(line.startswith("newest 50 of a model ") for line in lines)


@pytest.mark.parametrize("sizes", ["0,10", "x"])
def test_sizes_of_scale_are_counts(sizes: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        scale.main(["--sizes", sizes])
    assert "--sizes" in capsys.readouterr().err


def test_files_are_imported_in_each_way(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["imports", "--files", "3", "--rounds", "1", "--directory", str(cache)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()][1:] == [
        "`executemany`",
        "KITT,",
        "KITT,",
    ]
    assert [path.name.partition("-")[0] for path in cache.iterdir()] == ["files"]


def test_writers_take_turns_or_wait(tmp_path: Path) -> None:
    section = writers.busy_timeout_section(tmp_path, writers=2, runs=2, rounds=1)
    assert [line.name for line in section.measurements[:2]] == ["writers-sqlite", "writers-busy-timeout"]
    assert section.measurements[0].metrics["errors"] == 0
    for name in ("turns", "busy"):
        with open_store(f"sqlite:///{tmp_path}/{name}-0.db") as store:
            assert store.count() == 4


def test_readers_read_until_all_is_saved(tmp_path: Path) -> None:
    section = writers.server_section(f"sqlite:///{tmp_path}/k.db", writers=1, runs=2, readers=1)
    assert [line.cells[0] for line in section.measurements] == ["saves", "reads"]


def test_kitt_is_timed_as_its_peers_are(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.peer_saving", "kitt", str(tmp_path), "0", "2"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert len(json.loads(done.stdout)) == 2
    with open_store(f"sqlite:///{tmp_path}/kitt.db") as store:
        assert store.count() == 3


def test_every_peer_can_be_saved_with() -> None:
    assert {peer.name for peer in peers.PEERS} | {"kitt"} == set(SAVES)


def test_a_peer_is_compared_or_the_reason_is_given(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def environment(_: Path, package: str) -> Path:
        if package == "missing":
            raise subprocess.CalledProcessError(1, "pip", stderr="Collecting\nERROR: No matching distribution.\n")
        return Path(sys.executable)

    monkeypatch.setattr(peers, "_environment", environment)
    kitt = peers.Peer("kitt", "kitt-core", "KITT itself", 15)
    tools = [kitt, peers.Peer("missing", "missing", "Missing"), peers.Peer("sacred", "attrs", "Broken")]
    section = peers.measure(cache, rounds=2, runs=1, peers=tools)
    (line,) = section.measurements
    assert line.cells[0] == "KITT itself"
    assert line.goal == Goal(15, at_least=True)
    assert section.remarks[0] == "missing could not be installed: ERROR: No matching distribution."
    assert section.remarks[1].startswith("Broken failed: ModuleNotFoundError")


def test_tables_are_written_between_their_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- figures: one -->\nold\n<!-- end -->\nb\n<!-- figures: two -->\n<!-- end -->\n")
    write_page(page, {"one": "| new \\1 |"})
    assert page.read_text().splitlines()[:5] == ["a", "<!-- figures: one -->", "| new \\1 |", "<!-- end -->", "b"]
    assert marks_of(page.read_text()) == ["one", "two"]


def test_the_page_has_marks_for_everything() -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert sorted(marks_of(text)) == sorted({"machine", "goals", *everything.PARTS})


def test_everything_is_written_and_stored(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def part(*_: Any) -> Section:
        line = Measurement("a", ("a", "7"), {"ratio": 7.0}, ratio=7.0, goal=Goal(5), summary="a against b")
        return Section("only", ("what", "ratio"), (line,))

    monkeypatch.setattr(everything, "PARTS", {"only": part})
    page, target = tmp_path / "page.md", f"sqlite:///{tmp_path}/figures.db"
    page.write_text("".join(f"<!-- figures: {name} -->\n<!-- end -->\n" for name in ("machine", "goals", "only")))
    options = ["--quick", "--directory", str(cache), "--write", str(page), "--store", target]
    assert main(["all", *options]) == 0
    text = page.read_text()
    assert "| a against b | ≤ 5 | 7.00 | missed by 40% |" in text
    assert "| a | 7 | ≤ 5, missed by 40% |" in text
    assert "by `python -m benchmarks all --quick`" in text
    with open_store(target) as store:
        (group,) = store.aggregate("test_name", "ratio")
        assert (group["test_name"], group["ratio_avg"]) == ("a", 7.0)
    page.write_text("nothing")
    with pytest.raises(SystemExit):
        main(["all", *options])
    assert "has no marks for goals, machine, only" in capsys.readouterr().err


def test_all_programs_have_options(capsys: pytest.CaptureFixture[str]) -> None:
    for name in PROGRAMS:
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        assert caught.value.code == 0
        assert name in capsys.readouterr().out
