"""The commands of docs/karr.md, exactly as written there: git and git-lfs take a repository to another machine."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitt_core.runs import Attachment
from kitt_core.testing.documents import MINIMAL, small
from kitt_karr.store import KarrResultStore

PAGE = Path(__file__).parents[3] / "docs/karr.md"
LARGE = bytes(range(256)) * 8000


def shell(git: Any, here: Path, script: str) -> None:
    """Run commands as a user types them; ``/mnt`` is a directory of the test."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", script.replace("/mnt", str(here))],
        cwd=here,
        env=git.environment | {"PATH": path, "KITT_HOME": str(here / "home"), "HOME": str(here)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def ids(path: Path) -> set[str]:
    with KarrResultStore(path) as store:
        assert [finding for finding in store.verify() if "LFS content is not here" not in finding.what] == []
        return {run.id for run in store.list_results()}


@pytest.fixture
def blocks() -> list[str]:
    if not PAGE.exists():
        pytest.skip("the pages are in the repository, not in the distribution")
    section = (
        PAGE.read_text(encoding="utf-8").partition("## Carrying it to other machines")[2].partition("\n## ")[0]
    )
    return [*re.findall(r"```sh\n(.*?)```", section, re.DOTALL), *re.findall(r"`(git [^`]* pull [^`]*)`", section)]


def test_git_carries_runs_to_another_machine_and_back(git: Any, tmp_path: Path, blocks: list[str]) -> None:
    begin, clone, _, _, pull = blocks
    (tmp_path / "kitt-results/m/e/t").mkdir(parents=True)
    (tmp_path / "kitt-results/m/e/t/metrics.json").write_bytes(MINIMAL)
    shell(git, tmp_path, begin)
    with KarrResultStore(tmp_path / "karr") as store:
        first = store.save_result(small(1))
    shell(git, tmp_path, "git -C karr push")
    shell(git, tmp_path, clone)
    assert len(ids(tmp_path / "runs")) == 2
    with KarrResultStore(tmp_path / "karr") as store:
        second = store.save_result(small(2))
    shell(git, tmp_path, pull)  # both sides have new runs: a merge
    assert ids(tmp_path / "karr") == ids(tmp_path / "runs") | {second}
    assert first in ids(tmp_path / "runs")
    shell(git, tmp_path, "git -C karr push; git -C runs pull")
    assert ids(tmp_path / "runs") == ids(tmp_path / "karr")
    for name in ("karr", "runs"):
        assert git(tmp_path / name, "status", "--porcelain") == ""
        git.assert_intact(tmp_path / name)


def test_git_lfs_carries_the_contents_of_large_outputs(git_lfs: Any, tmp_path: Path, blocks: list[str]) -> None:
    begin, _, send, fetch, _ = blocks
    shell(git_lfs, tmp_path, begin)
    with KarrResultStore(tmp_path / "karr") as store:
        run_id = store.save_result(
            MINIMAL, attachments=[Attachment("large", len(LARGE), partial(io.BytesIO, LARGE))]
        )
    shell(git_lfs, tmp_path, "git -C karr push")
    shell(git_lfs, tmp_path, send)
    shell(git_lfs, tmp_path, "git clone /mnt/runs.git runs")
    with KarrResultStore(tmp_path / "runs") as store:
        assert list(store.attachments(run_id)) == []
    shell(git_lfs, tmp_path, fetch)
    with KarrResultStore(tmp_path / "runs") as store:
        (found,) = store.attachments(run_id)
        with found.open() as file:
            assert file.read() == LARGE
        assert list(store.verify()) == []
