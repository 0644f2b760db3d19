from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to stand in, and a user without settings."""
    for name in [name for name in os.environ if name.startswith(("KITT_", "PG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KITT_HOME", str(tmp_path / "home"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work
