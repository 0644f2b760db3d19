"""The measurement of the load generator's limit works."""

from __future__ import annotations

import pytest

from benchmarks.load import Pace, main


def test_the_core_alone_is_measured_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--in-process", "--levels", "1,4", "--seconds", "0.05", "--tokens", "10"]) == 0
    heading, one, four = capsys.readouterr().out.splitlines()
    assert heading.split()[:4] == ["in", "flight", "req/s", "token/s"]
    assert [one.split()[0], four.split()[0]] == ["1", "4"]
    assert float(one.split()[2]) > float(one.split()[1]) > 0


def test_a_paced_server_gives_so_many_tokens() -> None:
    assert Pace(0.05, 0.01, 96).tokens_per_second(8) == pytest.approx(768)
    assert Pace(0, 0, 10).tokens_per_second(8) is None


def test_a_level_below_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--levels", "0,1"])
    assert "has a level below 1" in capsys.readouterr().err


def test_a_paced_server_is_measured_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("kitt_engines.testing")
    assert main(["--levels", "2", "--seconds", "0.1", "--tokens", "5", "--gap", "2", "--ttft", "5"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[-1] == "0"
