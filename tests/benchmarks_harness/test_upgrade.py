"""The measurement of a large upgrade works, and its memory does not grow with the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.upgrade import main, make_old_database, measure

MEBIBYTE = 2**20


def test_a_small_database_is_made_and_upgraded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--megabytes", "1", "--directory", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "made 200 runs" in out
    assert "progress was reported" in out
    assert len(list(tmp_path.glob("*.bak"))) == 1


@pytest.mark.long
def test_memory_does_not_grow_with_the_database(tmp_path: Path) -> None:
    peaks = []
    for size in (60, 180):
        path = tmp_path / f"{size}.db"
        runs = make_old_database(path, size * MEBIBYTE)
        _, memory, steps = measure(path)
        assert steps > runs / 50
        peaks.append(memory)
    assert peaks[1] < peaks[0] + 32 * MEBIBYTE
