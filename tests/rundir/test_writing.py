from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kitt_core.errors import RunExistsError, StoreUnavailableError
from kitt_core.rundir import (
    FoundRun,
    delete_run,
    exclusive,
    find_runs,
    locate,
    read_attachments,
    write_new_runs,
    write_run,
    write_runs,
    writing,
)
from kitt_core.runs import Attachment, CheckedRun
from kitt_core.runs.codec import digest

Make = Callable[..., CheckedRun]


def tree(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")} - {".kitt-lock"}


def found(root: Path, run_id: str) -> FoundRun:
    located = locate(root, [run_id])
    assert located is not None
    return located[1]


def test_a_run_is_written_whole(root: Path, make_run: Make) -> None:
    run = make_run(
        "org/name", run_id="r-12345678", files={"results_chunk_0000.jsonl.gz": b"\x1f\x8b", "empty": b""}
    )
    directory = write_run(root, run)
    assert directory == root / "org_name/e/2025-06-01_120005_12345678"
    below = "org_name/e/2025-06-01_120005_12345678"
    assert tree(root) == {
        "org_name",
        "org_name/e",
        below,
        *(f"{below}/{name}" for name in ("metrics.json", "run.json", "summary.md", "config.json", "outputs")),
        f"{below}/outputs/results_chunk_0000.jsonl.gz",
        f"{below}/outputs/empty",
    }
    (stored,) = [run.read() for run in find_runs(root)]
    assert (stored.id, stored.document, stored.created_at, stored.sha256) == (
        run.id,
        run.document,
        run.created_at,
        run.sha256,
    )
    contents = {}
    for attachment in read_attachments(found(root, run.id)):
        with attachment.open() as file:
            contents[attachment.name] = (attachment.size, file.read())
    assert contents == {"empty": (0, b""), "results_chunk_0000.jsonl.gz": (2, b"\x1f\x8b")}


def test_an_id_is_stored_once_wherever_it_lies(root: Path, make_run: Make) -> None:
    write_run(root, make_run("a", run_id="same"))
    before = tree(root)
    with pytest.raises(RunExistsError, match="already, as a/e/2025-06-01_120005_same"):
        write_run(root, make_run("b", run_id="same"))
    assert tree(root) == before


def test_a_run_without_run_json_keeps_its_derived_id_to_itself(root: Path, make_run: Make) -> None:
    write_run(root, make_run()).joinpath("run.json").unlink()
    old = root / "m/e/2025-06-01_120005"
    next((root / "m/e").iterdir()).rename(old)
    (run,) = find_runs(root)
    with pytest.raises(RunExistsError):
        write_run(root, make_run("b", run_id=run.identity().id))


def test_two_runs_of_one_second_and_one_tail_lie_side_by_side(root: Path, make_run: Make) -> None:
    runs = [make_run(run_id=f"{name}-00000001") for name in ("first", "second")]
    directories = write_runs(root, runs)
    assert directories[0].name == "2025-06-01_120005_00000001"
    assert directories[1].name.startswith("2025-06-01_120005_00000001~")
    for run in runs:
        assert found(root, run.id).identity().id == run.id
    with pytest.raises(RunExistsError):
        write_run(root, make_run(run_id="second-00000001"))
    third = make_run(run_id="third-00000001")
    write_run(root, third).joinpath("metrics.json").unlink()
    with pytest.raises(StoreUnavailableError):  # something that is not a run is in its place
        write_run(root, third)


def test_a_batch_is_all_or_nothing(root: Path, make_run: Make) -> None:
    write_run(root, make_run("taken", run_id="taken"))
    before = tree(root)
    (root / "file").write_text("in the way")
    for bad in (make_run("x", run_id="taken"), make_run("file")):
        with pytest.raises((RunExistsError, StoreUnavailableError)):
            write_runs(root, [make_run("good"), bad, make_run("good")])
    assert tree(root) == before | {"file"}


def test_runs_whose_bytes_are_there_are_not_written_again(root: Path, make_run: Make) -> None:
    old = write_run(root, make_run("old", run_id="old"))
    (old / "run.json").unlink()  # an older KITT's
    assert write_new_runs(root, [make_run("a", run_id="a"), make_run("b", run_id="b")]) == {}
    (derived,) = {run.identity().id for run in find_runs(root)} - {"a", "b"}
    before = tree(root)
    again = [make_run(model) for model in ("old", "a", "b")]
    assert write_new_runs(root, again) == dict(
        zip([run.sha256 for run in again], [derived, "a", "b"], strict=True)
    )
    assert tree(root) == before
    with pytest.raises(RunExistsError):
        write_new_runs(root, [make_run("c"), make_run("d", run_id="a")])
    assert tree(root) == before


def test_what_another_writer_stored_while_a_run_was_built_is_seen(
    root: Path, make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(root, make_run("old"))
    run, build = make_run("same", run_id="late"), writing._build

    def overtaken(directory: Path, built: CheckedRun) -> None:
        build(directory, built)
        if built is run:
            write_run(root, make_run("same", run_id="early"))

    monkeypatch.setattr(writing, "_build", overtaken)
    assert write_new_runs(root, [run, make_run("other", run_id="other")]) == {run.sha256: "early"}
    assert {found.read().id for found in find_runs(root)} >= {"early", "other"}
    assert len(list(find_runs(root))) == 3


@pytest.mark.parametrize(
    "model",
    ["../../x", "/abs", "..", "CON", "m" * 300, "a\0b", "", "模型\u202e", "metrics.json", "outputs", ".kitt-lock"],
)
def test_nothing_is_written_outside_the_root(root: Path, make_run: Make, model: str) -> None:
    run = make_run(model, files={"f": b"x"})
    directory = write_run(root, run)
    assert len(directory.resolve().relative_to(root.resolve()).parts) == 3
    assert [path.name for path in root.parent.iterdir()] == ["kitt-results"]
    assert found(root, run.id).document() == run.document
    write_run(root, make_run("another"))
    assert len(list(find_runs(root))) == 2


def test_a_link_inside_the_tree_is_not_written_through(root: Path, make_run: Make, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root.mkdir()
    (root / "m").symlink_to(outside, target_is_directory=True)
    with pytest.raises(StoreUnavailableError, match="is a link"):
        write_run(root, make_run())
    assert list(outside.iterdir()) == []
    assert tree(root) == {"m"}


def test_an_attachment_that_cannot_be_read_leaves_nothing(root: Path, make_run: Make) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    run = make_run(files={"good": b"x"})
    files = (*run.attachments, Attachment("bad", 1, Broken))
    with pytest.raises(StoreUnavailableError, match="attachment bad cannot be read: Input/output error"):
        write_run(root, CheckedRun(run.id, run.document, run.created_at, run.sha256, run.rows, files))
    assert tree(root) == set()


def test_an_attachment_named_like_a_document_is_not_a_run(root: Path, make_run: Make) -> None:
    write_run(root, make_run(files={"metrics.json": b"{}", "run.json": b"{}"}))
    assert len(list(find_runs(root))) == 1


def test_the_root_below_a_file_is_an_error_in_one_line(tmp_path: Path, make_run: Make) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file/kitt-results"):
        with pytest.raises(StoreUnavailableError, match="cannot be created"):
            write_run(root, make_run())


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from kitt_core.errors import StoreUnavailableError
from kitt_core.rundir import write_run, delete_run, locate
from kitt_core.runs import check_run
root = Path(sys.argv[1])
run = check_run({"model": "n", "engine": "e"})
os.setuid(65534)
for attempt in (lambda: write_run(root, run), lambda: delete_run(locate(root, ["kept"])[1])):
    try:
        attempt()
    except StoreUnavailableError as error:
        print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="another user is needed, which root alone can become")
def test_a_denied_tree_stays_as_it_is(make_run: Make) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:  # tmp_path is closed to other users
        Path(name).chmod(0o755)
        root = Path(name) / "kitt-results"
        write_run(root, make_run(run_id="kept"))
        before = tree(root)
        done = subprocess.run([sys.executable, "-c", UNPRIVILEGED, str(root)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Permission denied") == 2
        assert tree(root) == before


FULL = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
from kitt_core.errors import StoreUnavailableError
from kitt_core.rundir import write_run
from kitt_core.runs import check_run
root = Path(sys.argv[1])
write_run(root, check_run({"model": "small", "engine": "e"}))
try:
    write_run(root, check_run({"model": "big", "engine": "e", "x": "y" * 100_000}))
except StoreUnavailableError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
write_run(root, check_run({"model": "big", "engine": "e", "x": "y" * 100_000}))
"""


def test_a_full_disk_leaves_nothing_and_the_tree_usable(root: Path) -> None:
    assert resource.RLIM_INFINITY is not None
    done = subprocess.run([sys.executable, "-c", FULL, str(root)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "cannot be written to: File too large" in done.stdout
    assert sorted(path.split("/")[0] for path in tree(root) if path.count("/") == 2) == ["big", "small"]


SAVING = """
import sys
from pathlib import Path
from kitt_core.rundir import write_run
from kitt_core.runs import check_run
root, worker = Path(sys.argv[1]), sys.argv[2]
for number in range(10):
    write_run(root, check_run({"model": "m", "engine": "e", "n": number}, run_id=f"{worker}-{number}-00000000"))
"""


def test_processes_lose_and_tear_nothing(root: Path, spawn: Callable[..., subprocess.Popen[str]]) -> None:
    workers = [spawn([sys.executable, "-c", SAVING, str(root), str(n)]) for n in range(4)]
    while any(worker.poll() is None for worker in workers):
        for run in find_runs(root):
            stored = run.read()
            assert digest(stored.document) == stored.sha256
        time.sleep(0.01)
    assert [worker.returncode for worker in workers] == [0, 0, 0, 0]
    assert {run.read().id for run in find_runs(root)} == {f"{w}-{n}-00000000" for w in range(4) for n in range(10)}


def test_one_id_is_taken_by_one_of_many_threads(root: Path, make_run: Make) -> None:
    outcomes: list[str] = []

    def save(number: int) -> None:
        try:
            write_run(root, make_run(f"model-{number}", run_id="same"))
            outcomes.append("stored")
        except RunExistsError:
            outcomes.append("exists")

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["exists"] * 7 + ["stored"]
    assert len(list(find_runs(root))) == 1


KILLED = """
import itertools, sys
from pathlib import Path
from kitt_core.rundir import write_run
from kitt_core.runs import check_run
for number in itertools.count():
    run = check_run({"model": "m", "engine": "e", "x": "y" * 50_000})
    write_run(Path(sys.argv[1]), run)
    print(run.id, run.sha256, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_acknowledged(root: Path) -> None:
    acknowledged: dict[str, str] = {}
    for pause in (0.05, 0.1, 0.15):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(root)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            time.sleep(pause)
            writer.kill()
            lines = [first, *writer.stdout.read().splitlines(keepends=True)]
        acknowledged |= dict(line.split() for line in lines if line.endswith("\n"))
    stored = {run.read().id: run.read() for run in find_runs(root)}
    assert len(acknowledged) >= 3
    assert acknowledged.items() <= {run_id: run.sha256 for run_id, run in stored.items()}.items()


def test_leftovers_are_invisible_and_go_when_they_are_old(root: Path, make_run: Make) -> None:
    write_run(root, make_run())
    old, fresh = root / ".kitt-tmp-old", root / ".kitt-tmp-fresh"
    for leftover in (old, fresh):
        leftover.mkdir()
        (leftover / "metrics.json").write_text("{}")
    long_ago = time.time() - 3 * 24 * 3600
    os.utime(old / "metrics.json", (long_ago, long_ago))
    os.utime(old, (long_ago, long_ago))
    os.utime(fresh, (long_ago, long_ago))  # its file is still being written
    assert len(list(find_runs(root))) == 1
    write_run(root, make_run())
    assert not old.exists()
    assert fresh.exists()


def test_a_tree_that_stays_locked_is_an_error(root: Path) -> None:
    root.mkdir()
    with (
        exclusive(root),
        pytest.raises(StoreUnavailableError, match="locked by another writer"),
        exclusive(root, patience=0.05),
    ):
        pass
    with exclusive(root, patience=0):
        pass


def test_deleting_removes_the_directory_and_empty_levels(root: Path, make_run: Make) -> None:
    first, second = make_run("a", files={"f": b"x"}), make_run("b")
    write_runs(root, [first, second])
    run = found(root, first.id)
    (run.directory / "note.txt").write_text("by hand")
    assert delete_run(run) is True
    assert delete_run(run) is False
    assert {path.split("/")[0] for path in tree(root)} == {"b"}


def test_deleting_a_run_above_others_leaves_them(root: Path, make_run: Make) -> None:
    run = make_run()
    write_run(root, run)
    for level in ("", "m"):
        (root / level / "metrics.json").write_text("{}")
        (root / level / "outputs").mkdir()
        (root / level / "note.txt").write_text("not KITT's")
    for level in ("", "m"):
        (above,) = [
            one for one in find_runs(root) if one.path.as_posix() in {level, "."} and one.path.name == level
        ]
        assert delete_run(above) is True
        assert not (root / level / "outputs").exists()
        assert (root / level / "note.txt").exists()
    assert [one.read().id for one in find_runs(root)] == [run.id]
