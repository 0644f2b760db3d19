"""Push and pull: two histories become one, through remotes of every kind, and nothing is lost."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kitt_core.errors import ConfigurationError
from kitt_core.runs import Attachment
from kitt_karr.connection import Connection
from kitt_karr.exchange import Movement, pull, push
from kitt_karr.neighbours import send_to_neighbour
from kitt_karr.refusals import RemoteError
from kitt_karr.remote import find_remote
from kitt_karr.repository import Repository
from kitt_karr.store import KarrResultStore

ORIGIN = "origin.git"


def attachment(name: str, content: bytes) -> Attachment:
    return Attachment(name, len(content), lambda: io.BytesIO(content))


def outputs(path: Path, run_id: str) -> dict[str, bytes]:
    found = {}
    with KarrResultStore(path) as store:
        for one in store.attachments(run_id):
            with one.open() as file:
                found[one.name] = file.read()
    return found


def pushed(kitt: Any, machines: Any, name: str) -> Any:
    answer = kitt("karr", "push", "-C", machines.root / name)
    assert answer.code == 0, answer.err
    return answer


def pulled(kitt: Any, machines: Any, name: str) -> Any:
    answer = kitt("karr", "pull", "-C", machines.root / name)
    assert answer.code == 0, answer.err
    return answer


def test_histories_that_diverged_are_merged_and_nothing_is_lost(
    kitt: Any, two: Any, git: Any, origin: Path
) -> None:
    saved = {two.save("a"), two.save("a"), two.save("b"), two.save("b")} | two.ids("a") | two.ids("b")
    assert "2 runs added, 0 removed" in pushed(kitt, two, "a").err
    assert "both histories merged" in pushed(kitt, two, "b").err
    assert "2 runs added" in pulled(kitt, two, "a").err
    assert two.ids("a") == two.ids("b") == two.ids(ORIGIN) == saved
    tips = {git(two.root / name, "rev-parse", "main") for name in ("a", "b", ORIGIN)}
    assert len(tips) == 1
    for name in ("a", "b", ORIGIN):
        git.assert_whole(two.root / name)
    parents = git(origin, "log", "-1", "--format=%P").split()
    assert len(parents) == 2
    assert "nothing new" in pulled(kitt, two, "b").err


def test_a_pull_merges_too(kitt: Any, two: Any, git: Any) -> None:
    two.save("a")
    pushed(kitt, two, "a")
    two.save("b")
    assert "both histories merged" in pulled(kitt, two, "b").err
    assert two.ids("a") < two.ids("b")
    git.assert_whole(two.root / "b")


def test_a_deletion_on_one_side_holds_and_the_other_sides_runs_stay(kitt: Any, two: Any) -> None:
    (first,) = two.ids("a")
    with KarrResultStore(two.root / "a") as store:
        assert store.delete_result(first)
    added = two.save("b")
    pushed(kitt, two, "b")
    pushed(kitt, two, "a")
    assert two.ids(ORIGIN) == two.ids("a") == {added}
    pulled(kitt, two, "b")
    assert two.ids("b") == {added}


def test_repositories_that_merged_each_other_can_merge_again(kitt: Any, two: Any, git: Any) -> None:
    """Two merge bases: a run that one of them lacks was known to both sides all the same."""
    ids = {name: two.save(name) for name in ("a", "b")}
    (first,) = two.ids("a") - set(ids.values())
    tips = {name: git(two.root / name, "rev-parse", "main").strip() for name in ("a", "b")}
    for name, other in (("a", "b"), ("b", "a")):
        git(two.root / other, "branch", "--force", "before", tips[other])
        assert kitt("karr", "pull", "-C", two.root / name, two.root / other, "before").code == 0
    with KarrResultStore(two.root / "a") as store:
        assert store.delete_result(ids["b"])
    last = two.save("b")
    assert len(git(two.root / "a", "rev-list", "main").split()) > 3
    assert kitt("karr", "pull", "-C", two.root / "a", two.root / "b").code == 0
    assert two.ids("a") == {first, ids["a"], last}
    git.assert_whole(two.root / "a")


def test_a_file_that_both_changed_is_one_line_and_nothing_changes(kitt: Any, two: Any, git: Any) -> None:
    for name in ("a", "b"):
        clone = git.clone(two.root / name, two.root / f"clone-of-{name}")
        (clone / "README.md").write_text(f"{name}\n")
        git(clone, "commit", "--quiet", "-am", "words")
        git(clone, "push", "--quiet")
    pushed(kitt, two, "a")
    tips = [git(two.root / name, "rev-parse", "main") for name in ("b", ORIGIN)]
    answer = kitt("karr", "push", "-C", two.root / "b")
    error, hint = answer.err.splitlines()
    assert answer.code == 1
    assert error == "error: README.md was changed here and there in different ways; nothing was changed"
    assert "git merge" in hint
    assert tips == [git(two.root / name, "rev-parse", "main") for name in ("b", ORIGIN)]
    git.assert_whole(two.root / "b")


def test_git_is_the_other_side(kitt: Any, two: Any, git: Any, origin: Path) -> None:
    clone = git.clone(origin, two.root / "clone")
    with KarrResultStore(clone) as store:  # the work tree follows
        by_hand = store.save_result({"model": "m", "engine": "e", "results": []})
    (clone / "notes.txt").write_text("by hand\n")
    git(clone, "add", "notes.txt")
    git(clone, "commit", "--quiet", "-m", "Notes")
    two.save("a")
    pushed(kitt, two, "a")
    git(clone, "pull", "--quiet", "--no-rebase", "--no-edit")
    git(clone, "push", "--quiet")
    pulled(kitt, two, "a")
    assert by_hand in two.ids("a")
    assert two.ids("a") == two.ids(str(clone.name)) == two.ids(ORIGIN)
    assert git(two.root / "a", "show", "main:notes.txt") == "by hand\n"
    git.assert_whole(two.root / "a")
    git.assert_whole(clone)


def test_the_files_of_a_work_tree_follow_a_pull(kitt: Any, two: Any, git: Any, origin: Path) -> None:
    clone = git.clone(origin, two.root / "clone")
    (first,) = two.ids("a")
    here = git.clone(two.root / "a", two.root / "words")
    (here / "README.md").write_text("new words\n")
    git(here, "commit", "--quiet", "-am", "Words")
    git(here, "push", "--quiet")
    added = two.save("a")
    with KarrResultStore(two.root / "a") as store:
        assert store.delete_result(first)
    pushed(kitt, two, "a")
    own = two.save("clone")
    (clone / "hardware_fingerprint.txt").write_text("mine")
    answer = kitt("karr", "pull", "-C", clone)
    assert answer.code == 0, answer.err
    assert two.ids("clone") == {added, own}
    assert git(clone, "status", "--porcelain") == " M hardware_fingerprint.txt\n"
    assert (clone / "README.md").read_text() == "new words\n"
    assert len(list(clone.rglob("metrics.json"))) == 2
    git.assert_whole(clone)


def test_a_push_to_where_others_push_at_the_same_moment_is_merged_again(
    kitt: Any, two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.save("a")
    two.save("b")
    meanwhile = [lambda: pushed(kitt, two, "a")]

    def send(*arguments: Any) -> Any:
        if meanwhile:
            meanwhile.pop()()
        return send_to_neighbour(*arguments)

    monkeypatch.setattr("kitt_karr.connection.send_to_neighbour", send)
    pushed(kitt, two, "b")
    assert two.ids(ORIGIN) == two.ids("b") > two.ids("a")


def test_locks_that_were_left_behind(kitt: Any, two: Any, origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kitt_karr.neighbours._PATIENCE_SECONDS", 0.1)
    two.save("a")
    lock = origin / "refs/heads/main.lock"
    lock.touch()
    answer = kitt("karr", "push", "-C", two.root / "a")
    assert answer.code == 1
    assert answer.err.splitlines() == [
        f"error: {origin} has its branch locked by {lock}",
        "hint: if no git is running there, remove that file",
    ]
    lock.unlink()
    (two.root / "a/refs/remotes/origin/main.lock").touch()
    pushed(kitt, two, "a")
    assert two.ids(ORIGIN) == two.ids("a")


def test_several_machines_push_at_once(kitt: Any, two: Any, git: Any, origin: Path) -> None:
    names = ["a", "b", "c", "d"]
    for name in names[2:]:
        assert kitt("karr", "init", two.root / name, "--remote", origin).code == 0
    for name in names:
        two.save(name)
    code = "import sys; from kitt_core.cli.app import main; sys.exit(main(sys.argv[1:]))"
    commands = [[sys.executable, "-c", code, "karr", "push", "-C", str(two.root / name)] for name in names]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for command in commands]
    for process in running:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
    assert two.ids(ORIGIN) == {run for name in names for run in two.ids(name)}
    git.assert_whole(origin)


def test_urls_of_files_are_remotes_too(kitt: Any, two: Any, origin: Path, git: Any) -> None:
    two.save("a")
    answer = kitt("karr", "push", "-C", two.root / "a", origin.as_uri())
    assert answer.code == 0, answer.err
    assert two.ids(ORIGIN) == two.ids("a")
    git(two.root / "b", "config", "url.file://.insteadOf", "near:")
    assert kitt("karr", "pull", "-C", two.root / "b", f"near:{origin}").code == 0
    assert two.ids("b") == two.ids("a")


def test_another_branch_can_be_named(kitt: Any, two: Any, git: Any, origin: Path) -> None:
    two.save("a")
    assert kitt("karr", "push", "-C", two.root / "a", "origin", "lab/7").code == 0
    assert git(origin, "rev-parse", "lab/7") == git(two.root / "a", "rev-parse", "main")
    assert kitt("karr", "pull", "-C", two.root / "b", "origin", "lab/7").code == 0
    assert two.ids("b") == two.ids("a")
    answer = kitt("karr", "pull", "-C", two.root / "b", "origin", "none")
    assert (answer.code, answer.err.splitlines()[0]) == (1, f"error: {origin} has no branch none")


def test_what_was_pushed_survives_a_gc_of_git(kitt: Any, two: Any, git: Any, origin: Path) -> None:
    two.save("a")
    pushed(kitt, two, "a")
    git(origin, "gc", "--quiet", "--prune=now")
    two.save("a")
    pushed(kitt, two, "a")
    git.assert_whole(origin)
    assert two.ids(ORIGIN) == two.ids("a")


# Contents of large outputs.


def test_lfs_contents_travel_to_and_from_a_directory(kitt: Any, two: Any, git: Any, origin: Path) -> None:
    large = b"line of a log\n" * 1000
    run = two.save("a", attachments=[attachment("a.log", large), attachment("b.log", b"small")])
    assert "1 LFS object sent" in pushed(kitt, two, "a").err
    assert outputs(origin, run) == {"a.log": large, "b.log": b"small"}
    assert "LFS" not in pushed(kitt, two, "a").err
    answer = pulled(kitt, two, "b")
    assert "1 LFS object not here yet: `kitt karr fetch-lfs` brings them" in answer.err
    answer = kitt("karr", "fetch-lfs", "-C", two.root / "b")
    assert (answer.code, answer.err) == (0, "1 LFS object fetched\n")
    assert outputs(two.root / "b", run) == {"a.log": large, "b.log": b"small"}
    assert kitt("karr", "fetch-lfs", "-C", two.root / "b").err == "no LFS object is missing here\n"


def test_git_lfs_accepts_what_travelled(kitt: Any, two: Any, git_lfs: Any, origin: Path) -> None:
    two.save("a", attachments=[attachment("a.log", b"x" * 5000)])
    pushed(kitt, two, "a")
    clone = git_lfs.clone(origin, two.root / "clone")
    git_lfs(clone, "lfs", "install", "--local")
    git_lfs(clone, "lfs", "pull")
    assert next(clone.rglob("a.log")).read_bytes() == b"x" * 5000
    git_lfs(clone, "lfs", "fsck")


def test_contents_of_runs_that_were_removed_since_travel_with_their_commits(
    kitt: Any, two: Any, origin: Path
) -> None:
    run = two.save("a", attachments=[attachment("a.log", b"x" * 5000)])
    with KarrResultStore(two.root / "a") as store:
        assert store.delete_result(run)
    assert "1 LFS object sent" in pushed(kitt, two, "a").err
    assert [path.stat().st_size for path in (origin / "lfs/objects").rglob("*") if path.is_file()] == [5000]


def test_contents_that_nobody_has_are_named_and_the_commits_travel(kitt: Any, two: Any) -> None:
    two.save("a", attachments=[attachment("a.log", b"x" * 5000)])
    (content,) = (path for path in (two.root / "a/lfs/objects").rglob("*") if path.is_file())
    content.unlink()
    answer = kitt("karr", "push", "-C", two.root / "a")
    assert answer.code == 0
    assert f"warning: neither here nor there: 1 LFS object, {content.name[:12]}" in answer.err
    assert two.ids(ORIGIN) == two.ids("a")
    answer = kitt("karr", "fetch-lfs", "-C", two.root / "a")
    assert answer.code == 1
    assert "not at" in answer.err


def test_damaged_contents_are_not_sent(kitt: Any, two: Any, origin: Path) -> None:
    two.save("a", attachments=[attachment("a.log", b"x" * 5000)])
    (content,) = (path for path in (two.root / "a/lfs/objects").rglob("*") if path.is_file())
    content.chmod(0o644)
    content.write_bytes(b"y" * 5000)
    before = two.ids(ORIGIN)
    answer = kitt("karr", "push", "-C", two.root / "a")
    assert answer.code == 1
    assert "is damaged" in answer.err.splitlines()[0]
    assert two.ids(ORIGIN) == before


# The functions, for what a command does not show.


def test_a_push_that_finds_nothing_new_moves_nothing(two: Any, origin: Path) -> None:
    repository = Repository(two.root / "a")
    connection = Connection(repository, find_remote(repository))
    tip = repository.head().tip
    assert tip is not None
    sent: list[tuple[str, str | None]] = []
    moved = push(connection, repository, lambda *commits: sent.append(commits))
    assert moved == Movement(tip, tip)
    assert sent == [(tip, tip)]
    assert pull(connection, repository) == Movement(tip, tip)
    repository.close()


def test_a_remote_that_always_moves_on_is_given_up(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    two.save("a")
    repository = Repository(two.root / "a")
    monkeypatch.setattr("kitt_karr.connection.send_to_neighbour", lambda *arguments: False)
    monkeypatch.setattr("kitt_karr.exchange._PAUSE_SECONDS", 0)
    with pytest.raises(RemoteError, match="moves on faster"):
        push(Connection(repository, find_remote(repository)), repository, lambda *commits: None)
    repository.close()


def test_the_remotes_of_the_configuration(two: Any, git: Any) -> None:
    a = two.root / "a"
    git(a, "config", "remote.lab.url", "../lab.git")
    git(a, "config", "remote.lab.pushurl", "ssh://host/lab.git")
    git(a, "config", "branch.main.remote", "lab")
    git(a, "config", "branch.main.merge", "refs/heads/results")
    repository = Repository(a)
    found = find_remote(repository)
    assert (found.name, found.branch, found.push_url) == ("lab", "refs/heads/results", "ssh://host/lab.git")
    assert found.directory == a / "../lab.git"
    assert find_remote(repository, "origin").branch == "refs/heads/main"
    assert find_remote(repository, "host:x").directory is None
    with pytest.raises(ConfigurationError, match="neither a remote"):
        find_remote(repository, "nobody")
    repository.close()
