from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from kitt_core import open_store
from kitt_core.cli.app import main


@frozen
class Outcome:
    """What a call of ``kitt`` left behind."""

    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.decode().splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Kitt = Callable[..., Outcome]


@pytest.fixture
def kitt(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Kitt:
    """Call ``kitt storage`` with the installed plugins, on a SQLite file of the test's own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(["--backend", "sqlite:///runs.db", "storage", *arguments])
        captured = capsysbinary.readouterr()
        return Outcome(code, captured.out, captured.err.decode())

    return call


@pytest.fixture(scope="session")
def document() -> Callable[..., bytes]:
    """Make documents with one throughput entry."""

    def make(model: str = "org/m", engine: str = "vllm", avg_tps: float = 50.0, **more: Any) -> bytes:
        entry = {"test_name": "throughput", "run_number": 1, "passed": True, "metrics": {"avg_tps": avg_tps}}
        fields = {"model": model, "engine": engine, "suite_name": "quick", "passed": True, "results": [entry]}
        return json.dumps({**fields, "total_benchmarks": 1, "passed_count": 1, **more}, indent=2).encode()

    return make


@pytest.fixture(scope="session")
def three_runs(tmp_path_factory: pytest.TempPathFactory, document: Callable[..., bytes]) -> tuple[Path, list[str]]:
    """A database with three runs, to be copied: saving them takes longer. And their ids, as they are ordered."""
    path = tmp_path_factory.mktemp("three-runs") / "runs.db"
    kinds = [("org/a", "vllm", 10.0), ("org/b", "vllm", 45.0), ("other/c", "tgi", 90.0)]
    with open_store(f"sqlite:///{path}") as store:
        ids = [
            store.save_result(
                document(
                    model,
                    engine,
                    tps,
                    timestamp=f"2025-0{month}-01T00:00:00",
                    labels={"team": engine},
                    passed=month != 1,
                )
            )
            for month, (model, engine, tps) in enumerate(kinds, 1)
        ]
    return path, ids


@pytest.fixture
def stored(kitt: Kitt, three_runs: tuple[Path, list[str]]) -> list[str]:
    """Three runs in the store, their ids in the order of their times."""
    path, ids = three_runs
    shutil.copy(path, "runs.db")
    return list(ids)
