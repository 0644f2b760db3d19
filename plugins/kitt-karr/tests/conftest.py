"""Fixtures: the real git, a store, the command line, several machines."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import frozen

from kitt_core.cli.app import main
from kitt_core.cli.invocation import State
from kitt_core.testing.documents import small
from kitt_karr.store import KarrResultStore


class Git:
    """The git of this machine, without anybody's configuration."""

    environment: ClassVar[dict[str, str]] = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "C",
        "GIT_COMMITTER_EMAIL": "c@example.org",
        "GIT_TERMINAL_PROMPT": "0",
    }

    def __call__(self, directory: Path, *arguments: str, **variables: str) -> str:
        """Run git in a directory and return what it says."""
        done = self.run(directory, *arguments, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, directory: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run git in a directory; it may fail."""
        command = ["git", "-C", str(directory), *arguments]
        environment = self.environment | variables
        return subprocess.run(command, capture_output=True, text=True, env=environment, encoding="utf-8")

    def clone(self, source: Path, target: Path, *options: str) -> Path:
        """Clone a repository as another machine would."""
        self(target.parent, *options, "clone", "--quiet", "--no-local", source.as_uri(), str(target))
        return target

    def assert_intact(self, directory: Path) -> None:
        """Assert that git finds nothing wrong; objects that a refused save left unreferenced are allowed."""
        done = self.run(directory, "fsck", "--strict", "--full", "--no-dangling")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.fixture
def git() -> Git:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    return Git()


@pytest.fixture
def git_lfs(git: Git) -> Git:
    if shutil.which("git-lfs") is None:
        pytest.skip("git-lfs is not installed")
    return git


@pytest.fixture(autouse=True)
def no_git_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the git configuration of whoever runs the tests away from the store."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "karr"


@pytest.fixture
def store(path: Path) -> Iterator[KarrResultStore]:
    with KarrResultStore(path, lfs_threshold=100) as store:
        yield store


@frozen
class Answer:
    """What one call of ``kitt`` gave."""

    code: int
    out: str
    err: str


Kitt = Callable[..., Answer]


@pytest.fixture
def kitt(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kitt:
    """Call ``kitt`` in this process, in a directory of its own, as a user without settings."""
    for name in [name for name in os.environ if name.startswith("KITT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KITT_HOME", str(tmp_path / "kitt-home"))
    (tmp_path / "work").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "work")

    def call(*arguments: object, state: State | None = None) -> Answer:
        code = main([str(argument) for argument in arguments], state=state)
        captured = capsysbinary.readouterr()
        return Answer(code, captured.out.decode(), captured.err.decode())

    return call


class Machines:
    """Repositories that are clones of one, as those of several machines."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._number = 0

    def save(self, name: str, **extra: object) -> str:
        """Store a run in one of them and return its id."""
        self._number += 1
        with KarrResultStore(self.root / name, lfs_threshold=100) as store:
            return store.save_result(small(self._number), **extra)  # type: ignore[arg-type]  # as it is given

    def ids(self, name: str) -> set[str]:
        """Return the ids that one of them has."""
        with KarrResultStore(self.root / name) as store:
            return {run.id for run in store.list_results()}


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(tmp_path)
