from __future__ import annotations

from contextlib import redirect_stderr

import pytest

from kitt_core.cli.invocation import State
from kitt_core.cli.progress import progress_bar

from .conftest import Terminal


def test_a_terminal_shows_what_is_done_and_nothing_of_it_is_markup(terminal: Terminal) -> None:
    with redirect_stderr(terminal), progress_bar(State(), "starting") as bar:
        bar.describe("[bold]latency[/]")
        bar(3, 54)
    assert "[bold]latency[/]" in terminal.text()
    assert "3/54" in terminal.text()


def test_a_total_may_be_unknown(terminal: Terminal) -> None:
    with redirect_stderr(terminal), progress_bar(State(), "reading") as bar:
        bar(12, None)
    assert "12/?" in terminal.text()


def test_quiet_shows_no_bar(terminal: Terminal) -> None:
    with redirect_stderr(terminal), progress_bar(State(verbosity=-1), "starting") as bar:
        bar(1, 2)
    assert terminal.text() == ""


def test_a_pipe_shows_no_bar(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with progress_bar(State(), "starting") as bar:
        bar(1, 2)
        bar.describe("more")
    assert capsysbinary.readouterr().err == b""
