from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from kitt_core.cli.app import main
from kitt_core.cli.invocation import State
from kitt_core.plugins import PluginManager


@frozen
class Answer:
    """What one call of ``kitt`` gave."""

    code: int
    out: str
    err: str


class Terminal(io.TextIOWrapper):
    """A stdout that a person reads."""

    def __init__(self) -> None:
        self.bytes = _TerminalBytes()
        super().__init__(self.bytes, encoding="utf-8", write_through=True)

    def text(self) -> str:
        self.flush()
        return self.bytes.getvalue().decode()


class _TerminalBytes(io.BytesIO):
    def isatty(self) -> bool:
        return True


Kitt = Callable[..., Answer]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh machine: no variables, no files, an empty directory to stand in."""
    for name in [name for name in os.environ if name.startswith(("KITT_", "PG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KITT_HOME", str(tmp_path / "home"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return tmp_path / "home"


@pytest.fixture
def plugins() -> PluginManager:
    """A manager that knows what a test registers, and no installed plugin."""
    return PluginManager(disabled=(), autoload=False)


@pytest.fixture
def kitt(capsysbinary: pytest.CaptureFixture[bytes], plugins: PluginManager) -> Kitt:
    """Call ``kitt`` in this process, with the plugins of the test."""

    def call(*arguments: object, installed: bool = False) -> Answer:
        state = State()
        if not installed:
            state.plugins = plugins
        code = main([str(argument) for argument in arguments], state=state)
        captured = capsysbinary.readouterr()
        return Answer(code, captured.out.decode(), captured.err.decode())

    return call


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 100 columns; `redirect_stdout` makes it stdout."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()
