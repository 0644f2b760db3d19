"""Every command works on PostgreSQL, named by the environment, by the backend's name or by a URI."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kitt_core.cli.app import main
from kitt_core.testing.documents import as_bytes, small

if TYPE_CHECKING:
    from kitt_postgres.testing import Database

Kitt = Callable[..., str]


@pytest.fixture
def uri(new_database: Callable[[], Database]) -> str:
    return new_database().uri


@pytest.fixture
def kitt(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Kitt:
    """Call ``kitt`` on an empty database; its output contains no password."""
    monkeypatch.setenv("KITT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KITT_DB_DSN", uri)
    monkeypatch.delenv("KITT_BACKEND", raising=False)
    monkeypatch.chdir(tmp_path)
    password = uri.partition("@")[0].rpartition(":")[2]

    def call(*arguments: str, code: int = 0) -> str:
        given = main(list(arguments))
        captured = capfd.readouterr()
        assert given == code, captured.err
        assert password not in captured.out + captured.err
        return captured.out or captured.err

    return call


def rows(text: str) -> Any:
    return json.loads(text)


def test_a_team_sets_up_runs_looks_compares_and_tidies(kitt: Kitt, uri: str, tmp_path: Path) -> None:
    assert "kitt storage init" in kitt("storage", "list", code=4)
    kitt("storage", "init")
    assert rows(kitt("storage", "status", "--format", "json"))["state"] == "current"
    kitt("run", "--requests", "2", "--max-tokens", "4")
    ((run_id, engine),) = [
        (row["id"], row["engine"])
        for row in rows(kitt("--backend=postgres", "storage", "list", "--format", "json"))
    ]
    assert engine == "reference"
    (tmp_path / "files").mkdir()
    for number in range(5):
        (tmp_path / "files" / f"{number}.json").write_bytes(as_bytes(small(number)))
    kitt(f"--backend={uri}", "storage", "import", "files")
    assert rows(kitt("storage", "stats", "--format", "json"))["runs"] == 6
    assert len(rows(kitt("storage", "aggregate", "--by", "engine", "--format", "json"))) >= 1
    assert run_id in kitt("storage", "show", run_id[-8:])
    assert kitt("storage", "export", run_id, "-o", "-").encode() == next(
        path.read_bytes() for path in Path("kitt-results").rglob("metrics.json")
    )
    kitt("storage", "verify")
    kitt("storage", "backup", "all.tar.gz")
    with tarfile.open("all.tar.gz") as archive:
        parts = [part.read() for member in archive if (part := archive.extractfile(member)) is not None]
    password = uri.partition("@")[0].rpartition(":")[2].encode()
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert [content for content in parts + written if password in content] == []
    kitt("storage", "migrate")
    kitt("storage", "copy", "--to", "sqlite:///copy.db")
    assert len(rows(kitt("--backend=sqlite:///copy.db", "storage", "list", "--format", "json"))) == 6
    kitt("storage", "delete", run_id, "--yes")
    kitt("--backend=sqlite:///copy.db", "storage", "copy", "--to", "postgres")
    assert rows(kitt("storage", "stats", "--format", "json"))["runs"] == 6


def test_what_is_shown_of_a_store_has_no_password(kitt: Kitt) -> None:
    assert "***" in kitt("config", "show")
    assert "backends.postgres.pool_size" in kitt("config", "show")
    assert "missing" in kitt("doctor")
    assert "KITT_DB_DSN" in kitt("plugins", "show", "postgres")
    assert "kitt-postgres" in kitt("plugins", "list")
