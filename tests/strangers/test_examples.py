"""The distributions in docs/examples, installed by `tox -e core` as a stranger's packages are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from kitt_core.testing.documents import STANDARD

NAMES = ("kitt-shelve", "kitt-example-exporter")


def is_installed(name: str) -> bool:
    try:
        return bool(distribution(name).files)
    except PackageNotFoundError:
        return False


pytestmark = pytest.mark.skipif(
    not all(map(is_installed, NAMES)), reason="the examples are not installed here; `tox -e core` does it"
)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "metrics.json").write_bytes(STANDARD)
    return tmp_path


def kitt(work: Path, *arguments: str) -> bytes:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KITT_")}
    done = subprocess.run(
        [sys.executable, "-m", "kitt_core", *arguments],
        cwd=work,
        env=kept | {"KITT_HOME": str(work / "home")},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_kitt_lists_them(work: Path) -> None:
    listed = json.loads(kitt(work, "plugins", "list", "--format", "json"))
    states = {(row["kind"], row["name"]): (row["distribution"], row["state"]) for row in listed}
    assert states["backend", "shelve"] == ("kitt-shelve", "loaded")
    assert states["exporter", "html"] == ("kitt-example-exporter", "loaded")


def test_a_run_goes_into_the_shelf_and_comes_back_bit_for_bit(work: Path) -> None:
    shelf = "--backend=shelve:///runs"
    kitt(work, shelf, "storage", "import", "metrics.json")
    (row,) = json.loads(kitt(work, shelf, "storage", "list", "--format", "json"))
    assert row["engine"] == "vllm"
    assert kitt(work, shelf, "storage", "export", row["id"], "-o", "-") == STANDARD
    assert json.loads(kitt(work, "--backend=runs", "storage", "list", "--format", "json")) == [row]
    kitt(work, shelf, "storage", "verify")


def test_a_suffix_chooses_the_format_and_nothing_is_rendered(work: Path) -> None:
    document = b'{"model": "<script>", "engine": "e\\ud800", "results": []}'
    (work / "hostile.json").write_bytes(document)
    kitt(work, "--backend=shelve:///runs", "storage", "import", "metrics.json", "hostile.json")
    kitt(work, "--backend=shelve:///runs", "storage", "export", "-o", "runs.html")
    written = (work / "runs.html").read_text(encoding="ascii")
    assert "<td>vllm</td>" in written
    assert "<td>&lt;script&gt;</td>" in written
    assert "<script>" not in written
    assert written.count("<tr>") == 3
