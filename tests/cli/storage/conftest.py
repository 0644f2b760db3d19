from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

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


@pytest.fixture
def document() -> Callable[..., bytes]:
    """Make documents with one throughput entry."""

    def make(model: str = "org/m", engine: str = "vllm", avg_tps: float = 50.0, **more: Any) -> bytes:
        entry = {"test_name": "throughput", "run_number": 1, "passed": True, "metrics": {"avg_tps": avg_tps}}
        fields = {"model": model, "engine": engine, "suite_name": "quick", "passed": True, "results": [entry]}
        return json.dumps({**fields, "total_benchmarks": 1, "passed_count": 1, **more}, indent=2).encode()

    return make


@pytest.fixture
def stored(kitt: Kitt, document: Callable[..., bytes]) -> list[str]:
    """Three runs in the store, their ids in the order of their times."""
    ids = []
    for month, (model, engine, tps) in enumerate(
        [("org/a", "vllm", 10.0), ("org/b", "vllm", 45.0), ("other/c", "tgi", 90.0)], 1
    ):
        timestamp = f"2025-0{month}-01T00:00:00"
        data = document(model, engine, tps, timestamp=timestamp, labels={"team": engine}, passed=month != 1)
        outcome = kitt("import", "-", "--format", "json", stdin=data)
        assert outcome.code == 0
        ids += outcome.json["stored"]
    return ids
