"""What remotes refuse and what cannot be reached: one line, its cure, the exit code, and nothing lost."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from kitt_core.runs import Attachment
from kitt_karr.store import KarrResultStore

ORIGIN = "origin.git"


def attachment(name: str, content: bytes) -> Attachment:
    return Attachment(name, len(content), lambda: io.BytesIO(content))


def pushed(kitt: Any, machines: Any, name: str) -> Any:
    answer = kitt("karr", "push", "-C", machines.root / name)
    assert answer.code == 0, answer.err
    return answer


# ssh: the program is the user's; here one that runs the command on this machine.


def ssh(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = directory / "ssh-of-the-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(program))


def test_ssh_carries_the_commits_and_says_what_it_does_not_carry(
    kitt: Any, two: Any, git: Any, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh(two.root, 'for last; do :; done; exec sh -c "$last"', monkeypatch)
    run = two.save("a")
    url = f"ssh://me@host.example{origin}"
    answer = kitt("karr", "push", "-C", two.root / "a", url)
    assert answer.code == 0, answer.err
    assert run in two.ids(ORIGIN)
    assert kitt("karr", "pull", "-C", two.root / "b", f"me@host.example:{origin}").code == 0
    assert two.ids("b") == two.ids("a")
    large = two.save("a", attachments=[attachment("a.log", b"x" * 5000), attachment("b.log", b"y" * 5000)])
    answer = kitt("karr", "push", "-C", two.root / "a", url)
    assert answer.code == 1
    *_, error, hint = answer.err.splitlines()
    assert error.startswith(
        "error: 2 LFS objects not sent (KITT copies LFS contents to directories and web servers"
    )
    assert "`git lfs push --all REMOTE`; the commits did travel" in hint
    assert large in two.ids(ORIGIN)


@pytest.mark.parametrize(
    ("script", "what", "cure"),
    [
        ("echo 'Host key verification failed.' >&2; exit 255", "Host key verification failed", "ssh-keygen -R"),
        ("echo 'me@h: Permission denied (publickey).' >&2; exit 255", "Permission denied", "ssh-add"),
        (
            "echo 'ssh: connect to host h port 22: Connection refused' >&2; exit 255",
            "Connection refused",
            "address",
        ),
        ("echo \"fatal: '/x' does not appear to be a git repository\" >&2; exit 128", "appear", "init --bare"),
        ("exit 1", "did not say why", "address"),
    ],
)
def test_what_ssh_says_is_one_line_with_its_cure(
    script: str, what: str, cure: str, kitt: Any, two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh(two.root, script, monkeypatch)
    for command in ("push", "pull"):
        answer = kitt("karr", command, "-C", two.root / "a", "ssh://me@host.example/x.git")
        error, hint = answer.err.splitlines()
        assert answer.code == 1
        assert error.startswith("error: ssh://")
        assert what in error
        assert cure in hint


# Refusals.


def hook(origin: Path, name: str, script: str) -> None:
    path = origin / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_hook_that_refuses_is_quoted_and_nothing_is_lost(kitt: Any, two: Any, git: Any, origin: Path) -> None:
    hook(origin, "pre-receive", "echo 'no results on Fridays' >&2; exit 1")
    before = git(origin, "rev-parse", "main")
    two.save("a")
    answer = kitt("karr", "push", "-C", two.root / "a")
    error, hint = answer.err.splitlines()
    assert answer.code == 1
    assert error == f"error: {origin} refused the push: pre-receive hook declined (no results on Fridays)"
    assert "nothing was changed there" in hint
    assert git(origin, "rev-parse", "main") == before
    (origin / "hooks/pre-receive").unlink()
    pushed(kitt, two, "a")
    assert two.ids(ORIGIN) == two.ids("a")


def test_hooks_run_when_they_agree(kitt: Any, two: Any, origin: Path) -> None:
    hook(origin, "post-receive", f"cat > {origin}/received")
    two.save("a")
    pushed(kitt, two, "a")
    assert "refs/heads/main" in (origin / "received").read_text()


def test_hooks_need_git(kitt: Any, two: Any, origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook(origin, "update", "exit 0")
    two.save("a")
    monkeypatch.setenv("PATH", "/nowhere")
    answer = kitt("karr", "push", "-C", two.root / "a")
    assert answer.code == 1
    error, hint = answer.err.splitlines()
    assert error == f"error: {origin} has the hook update, which needs the program git; it is not installed"
    assert hint == "hint: install git"


def test_nothing_needs_git_where_there_is_no_hook(kitt: Any, two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    two.save("a")
    two.save("b")
    monkeypatch.setenv("PATH", "/nowhere")
    for name in ("a", "b"):
        pushed(kitt, two, name)
    assert kitt("karr", "pull", "-C", two.root / "a").code == 0
    assert two.ids("a") == two.ids("b") == two.ids(ORIGIN)


def test_a_branch_that_a_work_tree_shows_is_not_pushed_to(kitt: Any, two: Any, git: Any, origin: Path) -> None:
    clone = git.clone(origin, two.root / "clone")
    two.save("a")
    answer = kitt("karr", "push", "-C", two.root / "a", clone)
    assert answer.code == 1
    assert "branch is currently checked out" in answer.err
    assert git(clone, "status", "--porcelain") == ""


def test_repositories_that_were_made_apart_are_not_merged(
    kitt: Any, two: Any, machines: Any, origin: Path
) -> None:
    own = machines.save("c")
    for command in ("push", "pull"):
        answer = kitt("karr", command, "-C", machines.root / "c", origin)
        assert answer.code == 1
        error, hint = answer.err.splitlines()
        assert "share no commit" in error
        assert "storage import" in hint
    assert kitt("karr", "init", "new", "--remote", origin).code == 0
    assert kitt("--backend", "karr:///new", "storage", "import", machines.root / "c").code == 0
    with KarrResultStore("new") as store:
        assert store.get_document(own) is not None


@pytest.mark.parametrize("place", ["nothing", "a file"])
def test_a_remote_that_is_none(place: str, kitt: Any, two: Any) -> None:
    path = two.root / place
    if place == "a file":
        path.write_text("x")
    for command in ("push", "pull"):
        answer = kitt("karr", command, "-C", two.root / "a", path)
        assert (answer.code, len(answer.err.splitlines())) == (1, 2)
        assert "is not a git repository" in answer.err


def test_unknown_names_schemes_and_no_remote_at_all(kitt: Any, two: Any, machines: Any) -> None:
    answer = kitt("karr", "push", "-C", two.root / "a", "upstream")
    assert answer.code == 2
    assert answer.err.splitlines()[1] == "hint: its remotes: origin"
    answer = kitt("karr", "push", "-C", two.root / "a", "ftp://me:secret@host/x")
    assert answer.code == 2
    assert "no transport for ftp" in answer.err
    assert "secret" not in answer.err
    for address in ("codecommit::eu-west-1://runs", "ext::sh -c x", "https::host/x"):
        answer = kitt("karr", "push", "-C", two.root / "a", address)
        assert answer.code == 2
        assert f"no transport for {address.partition(':')[0]}\nhint: there are file, ssh, " in answer.err
    machines.save("alone")
    answer = kitt("karr", "push", "-C", machines.root / "alone")
    assert answer.code == 2
    assert "has no remote called origin" in answer.err


def test_a_host_that_is_not_there(kitt: Any, two: Any) -> None:
    answer = kitt("karr", "push", "-C", two.root / "a", "http://me:secret@localhost:1/x.git")
    error, hint = answer.err.splitlines()
    assert (answer.code, error) == (1, "error: http://me:***@localhost:1/x.git cannot be reached")
    assert hint.startswith("hint: check the address")
    assert "secret" not in answer.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written(kitt: Any, two: Any, origin: Path) -> None:
    two.save("a")
    (origin / "objects/pack").chmod(0o500)
    answer = kitt("karr", "push", "-C", two.root / "a")
    (origin / "objects/pack").chmod(0o700)
    assert (answer.code, len(answer.err.splitlines())) == (1, 2)


def test_heads_that_cannot_move(kitt: Any, two: Any, git: Any, tmp_path: Path) -> None:
    tip = git(two.root / "b", "rev-parse", "main").strip()
    git(two.root / "b", "update-ref", "--no-deref", "HEAD", tip)
    for command in ("push", "pull"):
        answer = kitt("karr", command, "-C", two.root / "b")
        assert (answer.code, len(answer.err.splitlines())) == (4, 2)
        assert "detached HEAD" in answer.err
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(tmp_path / "unborn"))
    answer = kitt("karr", "push", "-C", tmp_path / "unborn", two.root / ORIGIN)
    assert answer.code == 4
    assert "has no commit yet" in answer.err
    assert kitt("karr", "pull", "-C", tmp_path / "unborn", two.root / ORIGIN).code == 0
    assert two.ids("unborn") == two.ids("a")
    assert git(tmp_path / "unborn", "status", "--porcelain") == ""
