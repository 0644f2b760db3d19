from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from attrs import evolve

from kitt_core import open_store
from kitt_core.errors import ConfigurationError, StoreUnavailableError
from kitt_core.runs import Attachment, Filters, Severity, StoredRun
from kitt_core.runs.codec import digest
from kitt_core.service.transfer.backup import BackupReport, back_up, new_archive
from kitt_core.service.transfer.restoring import check_archive, restore_runs
from kitt_core.storage import ResultStore
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing.documents import MINIMAL, as_bytes, small

from .contents import NewTarget, attachment, filled


def restored(stream: BinaryIO, target: ResultStore) -> dict[str, bytes]:
    restore_runs(stream, check_archive(stream, target), target)
    return {run.id: run.document for run in target.scan()}


def reasons(report: BackupReport) -> dict[str, str]:
    return {failed.run_id: failed.reason for failed in report.failed}


# What is left out.


def test_damaged_runs_are_reported_and_the_rest_is_in_the_archive() -> None:
    stream = io.BytesIO()
    with MemoryStore() as source, MemoryStore() as target:
        filled(source)
        source._runs["run-001"] = evolve(source._runs["run-001"], sha256=digest(b"other"))
        source._runs["run-002"] = evolve(source._runs["run-002"], document=b"[1]", sha256=digest(b"[1]"))
        source._runs["a b"] = StoredRun("a b", MINIMAL, source._runs["run-000"].created_at, "")
        source._runs["run-003"] = evolve(source._runs["run-003"], sha256="")
        report = back_up(source, stream)
        assert (report.runs, set(reasons(report))) == (3, {"run-001", "run-002", "a b"})
        assert "has changed in memory:" in reasons(report)["run-001"]
        found = check_archive(stream, target)
        assert (found.manifest.left_out, found.manifest.runs) == (3, 3)
        assert set(restored(stream, target)) == {"run-000", "run-003", "run-004"}


class Worn(MemoryStore):
    """Some of its files can't be read."""

    def attachments(self, run_id: str) -> Iterator[Attachment]:
        if run_id == "unlisted":
            raise PermissionError(13, "Permission denied")
        for file in super().attachments(run_id):
            if file.name == "closed":
                yield evolve(file, open=self._refuse)
            elif file.name in {"short", "long"}:
                yield evolve(file, size=file.size + (1 if file.name == "short" else -1))
            else:
                yield file

    @staticmethod
    def _refuse() -> BinaryIO:
        raise StoreUnavailableError("the file server is away")


def test_a_file_that_cannot_be_read_costs_only_its_run() -> None:
    stream = io.BytesIO()
    with Worn() as source, MemoryStore() as target:
        for i, name in enumerate(["fine", "closed", "short", "long", "unlisted", "good"]):
            files = [attachment("a", b"1"), attachment(name, b"content")]
            source.save_result(small(i), run_id=name, attachments=files)
        report = back_up(source, stream)
        assert reasons(report) == {
            "closed": "attachment closed cannot be read: the file server is away",
            "short": "attachment short cannot be read: it ends after 7 of 8 bytes",
            "long": "attachment long cannot be read: it ends after 7 of 6 bytes",
            "unlisted": "its attachments cannot be listed: Permission denied",
        }
        assert (report.runs, report.attachments) == (2, 4)
        assert set(restored(stream, target)) == {"fine", "good"}


class Moving(MemoryStore):
    """Runs are deleted while it is read."""

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        for run in super().scan(filters):
            if run.id in {"run-001", "run-002"}:
                self.delete_result(run.id)
            yield run


def test_a_run_that_is_deleted_meanwhile_is_in_it_whole_or_not_at_all() -> None:
    stream = io.BytesIO()
    with Moving() as source, MemoryStore() as target:
        for i in range(4):
            source.save_result(small(i), run_id=f"run-{i:03}", attachments=[attachment("a", b"1")])
        source.count = lambda filters=None: 4  # type: ignore[method-assign]
        report = back_up(source, stream)
        assert (report.runs, report.attachments, report.failed) == (2, 2, ())
        assert set(restored(stream, target)) == {"run-000", "run-003"}


class Gappy(MemoryStore):
    """Counts runs that it does not give."""

    def count(self, filters: Filters = None) -> int:
        return super().count(filters) + 2


def test_runs_that_the_store_counts_and_does_not_give_are_told() -> None:
    with Gappy() as source:
        report = back_up(filled(source), io.BytesIO())
        assert (report.runs, report.unread) == (5, 2)


class Breaking(MemoryStore):
    """Cannot be read behind some run."""

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        for i, run in enumerate(super().scan(filters)):
            if i == 3:
                raise StoreUnavailableError("the disk is gone")
            yield run


def test_a_store_that_breaks_off_makes_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"the old one")
    with Breaking() as source:
        filled(source)
        with (
            pytest.raises(StoreUnavailableError, match="the disk is gone"),
            new_archive(path, source, overwrite=True) as stream,
        ):
            back_up(source, stream)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_progress_ends_with_the_total() -> None:
    calls: list[tuple[int, int | None]] = []
    with MemoryStore() as source:
        back_up(filled(source), io.BytesIO(), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 5) for i in range(1, 6)]


# The file.


def test_the_file_is_the_owners_alone_and_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with MemoryStore() as source:
        with new_archive(path, source) as stream:
            back_up(source, stream)
            assert not path.exists()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)
        before = path.read_bytes()
        with pytest.raises(ConfigurationError, match="already exists"), new_archive(path, source):
            pass
        assert path.read_bytes() == before
        with new_archive(path, source, overwrite=True) as stream:
            back_up(filled(source), stream)
        assert path.read_bytes() != before
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with MemoryStore() as source:
        archive = new_archive(path, source)
        back_up(source, archive.__enter__())
        path.write_bytes(b"another's")
        with pytest.raises(ConfigurationError, match="already exists"):
            archive.__exit__(None, None, None)
    assert path.read_bytes() == b"another's"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["runs.db", "runs.db-wal", "link.db", "kitt-results", "kitt-results/a.tar.gz"])
def test_the_store_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / "link.db").symlink_to("runs.db")
    uri = f"json:///{tmp_path}" if name.startswith("kitt") else f"sqlite:///{tmp_path}/runs.db"
    with open_store(uri) as store:
        filled(store)
        with (
            pytest.raises(ConfigurationError, match="it belongs to the store"),
            new_archive(tmp_path / name, store, overwrite=True),
        ):
            pass
        assert store.count() == 5


def test_the_source_is_only_read(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/a.db") as source:
        filled(source)
    content = (tmp_path / "a.db").read_bytes()
    (tmp_path / "a.db").chmod(0o444)
    with open_store(f"sqlite:///{tmp_path}/a.db") as source:
        assert back_up(source, io.BytesIO()).runs == 5
    assert (tmp_path / "a.db").read_bytes() == content


# Under load, and sudden death.

WRITER = """
import sys
from kitt_core import open_store
from kitt_core.testing.documents import small

with open_store(sys.argv[1]) as store:
    i = 0
    while True:
        print(store.save_result(small(i)), flush=True)
        i += 1
"""


@pytest.mark.parametrize(
    "backend", ["sqlite", *(pytest.param(name, marks=pytest.mark.long) for name in ("json", "postgres"))]
)
def test_a_backup_under_load_holds_every_run_that_was_acknowledged_before_it_began(
    new_target: NewTarget, spawn: Callable[..., subprocess.Popen[str]], backend: str, tmp_path: Path
) -> None:
    where = new_target(backend)
    with open_store(where) as store:
        filled(store, 100)
    writers = [spawn([sys.executable, "-c", WRITER, where], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    acknowledged: set[str] = {f"run-{i:03}" for i in range(100)}
    with open_store(where) as source, (tmp_path / "a.tar.gz").open("w+b") as stream:
        for writer in writers:
            assert writer.stdout is not None
            acknowledged |= {writer.stdout.readline().strip() for _ in range(20)}
        report = back_up(source, stream)
        assert all(writer.poll() is None for writer in writers)
        for writer in writers:  # they went on meanwhile
            assert writer.stdout is not None
            assert writer.stdout.readline()
            writer.kill()
        assert report.failed == ()
        with open_store(new_target("sqlite"), synchronous="OFF") as target:
            found = restored(stream, target)
            assert set(found) >= acknowledged
            assert [finding for finding in target.verify() if finding.severity is Severity.DAMAGE] == []
            assert all(source.get_document(run_id) == document for run_id, document in found.items())


def test_a_backup_that_is_killed_leaves_no_file(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/runs.db", synchronous="OFF") as store:
        for i in range(300):
            store.save_result(as_bytes(small(i)), run_id=f"run-{i:03}")
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"the old one")
    command = [
        sys.executable,
        "-m",
        "kitt_core",
        "--backend",
        f"{tmp_path}/runs.db",
        "storage",
        "backup",
        "--force",
    ]
    environment = dict(os.environ, KITT_HOME=str(tmp_path / "home"))
    killed = 0
    for delay in (0.0, 0.002, 0.005, 0.01, 0.02):
        with subprocess.Popen([*command, str(path)], env=environment, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 180
            while (
                not list(tmp_path.glob(".kitt-unfinished-a.tar.gz.*"))
                and time.monotonic() < deadline
                and process.poll() is None
            ):
                time.sleep(0.001)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        if path.read_bytes() == b"the old one":
            continue
        with path.open("rb") as stream, MemoryStore() as target:  # it was too late: the file is whole
            assert check_archive(stream, target).manifest.runs == 300
    assert killed > 0
    subprocess.run([*command, str(path)], env=environment, check=True, stderr=subprocess.DEVNULL)
    with path.open("rb") as stream, MemoryStore() as target:
        assert len(restored(stream, target)) == 300


# Size.

MEASURED = """
import io, json, sys, time
from pathlib import Path
from kitt_core import open_store
from kitt_core.service.transfer.backup import back_up, new_archive
from kitt_core.service.transfer.restoring import check_archive, restore_runs

def peak():  # not getrusage: its number is the parent's, if that was larger when it forked
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

source, target, path = sys.argv[1], sys.argv[2], Path(sys.argv[3])
times = {}

def step(name, began=[time.monotonic()]):
    times[name] = round(time.monotonic() - began[0], 2)
    began[0] = time.monotonic()

with open_store(source) as store:
    before = peak()
    step("open")
    with new_archive(path, store) as stream:
        report = back_up(store, stream, directory=path.parent)
    step("backup")
    times["backup_mib"] = (peak() - before) >> 10
with open_store(target) as store, path.open("rb") as stream:
    archive = check_archive(stream, store)
    step("check")
    restored = restore_runs(stream, archive, store)
    step("restore")
    times["mib"] = (peak() - before) >> 10
assert report.runs == restored.copied, (report, restored)
print(json.dumps(times))
"""


def measured(source: str, target: str, path: Path) -> dict[str, float]:
    command = [sys.executable, "-c", MEASURED, source, target, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def noise(size: int, seed: int) -> Iterator[bytes]:
    """Yield bytes that hardly pack, a MiB at a time."""
    import random

    random_ = random.Random(seed)
    for _ in range(size >> 20):
        yield random_.randbytes(1 << 20)


@pytest.mark.parametrize(("documents", "file_mib"), [(15, 40), pytest.param(1000, 1024, marks=pytest.mark.long)])
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_memory_does_not_grow_with_what_is_backed_up_and_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: int, file_mib: int
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    large = tmp_path / "large"
    with large.open("wb") as file:
        for chunk in noise(file_mib << 20, 1):
            file.write(chunk)
    with open_store(f"json:///{tmp_path}/source") as store:
        for i, pad in enumerate(noise(documents << 19, 2)):
            for half in (0, 1):
                text = pad[half << 19 : (half + 1) << 19].hex()
                store.save_result({"model": "m", "engine": "e", "pad": text}, run_id=f"run-{i:04}-{half}")
        files = [Attachment("samples.jsonl.gz", file_mib << 20, lambda: large.open("rb"))]
        store.save_result(MINIMAL, run_id="large", attachments=files)
    found = measured(f"json:///{tmp_path}/source", f"json:///{tmp_path}/target", tmp_path / "a.tar.gz")
    assert found["mib"] < 60, found  # a batch of documents is 4 MiB; a file is never in memory
    with open_store(f"json:///{tmp_path}/target") as store:
        (file_,) = store.attachments("large")
        with file_.open() as stream, large.open("rb") as original:
            while chunk := stream.read(1 << 20):
                assert chunk == original.read(1 << 20)
