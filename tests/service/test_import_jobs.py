"""Imports with `--jobs`: as with one process, whatever becomes of the others."""

from __future__ import annotations

import importlib
import json
import logging
import marshal
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import evolve

from kitt_core import open_store
from kitt_core._builtin import importers
from kitt_core.plugins import ImportCandidate, PluginManager
from kitt_core.runs import BenchmarkRow, CheckedRun, MetricRow
from kitt_core.runs.checking import check_document
from kitt_core.service.transfer import checking_ahead, importing, worker
from kitt_core.service.transfer.importing import find_candidates, import_runs, usual_jobs
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing.documents import HOSTILE, REFUSED, STANDARD, as_bytes, small

PORTION: Final = 7
COUNT: Final = 1000
READS: Final = """
import os, signal

def killed(importing_process, document):
    if os.getpid() != importing_process:
        os.kill(os.getpid(), signal.SIGKILL)
    return document

def out_of_memory(importing_process, document):
    if os.getpid() != importing_process:
        raise MemoryError
    return document

def printed(importing_process, document):
    if os.getpid() != importing_process:
        print("reading")
    return document
"""
ONLY_POSIX: Final = pytest.mark.skipif(not hasattr(os, "fork"), reason="signals end no process here")
HERE: Final = os.getpid()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_SECONDS_ALONE", 0)
    monkeypatch.setattr(importing, "_SECONDS_TO_START", 0)
    monkeypatch.setattr(checking_ahead, "_MOST_IN_PORTION", PORTION)


@pytest.fixture
def plugins() -> PluginManager:
    manager = PluginManager(autoload=False)
    manager.register(importers)
    return manager


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A module that the workers can import: functions that behave otherwise there."""
    (tmp_path / "reads_of_a_test.py").write_text(READS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("reads_of_a_test")
    del sys.modules["reads_of_a_test"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids of the workers that were started."""
    ids: list[int] = []
    real = subprocess.Popen

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = real(*arguments, **options)
        ids.append(process.pid)
        return process

    monkeypatch.setattr(subprocess, "Popen", start)
    return ids


def document(number: int) -> bytes:
    return as_bytes(small(number))


def portable(number: int) -> ImportCandidate:
    return ImportCandidate(f"file {number}", partial(bytes, document(number)), portable=True)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def everything(root: Path) -> list[Path]:
    """Write files of every kind, good and bad, and return the paths to import."""
    files, tree = root / "files", root / "tree"
    files.mkdir()
    contents = [
        *HOSTILE.values(),
        *(each.document for each in REFUSED if isinstance(each.document, bytes)),
        STANDARD,
    ]
    contents += [document(number % 20) for number in range(30)]
    for number, content in enumerate(contents):
        (files / f"{number:03}.json").write_bytes(content)
    (files / "500.json").write_bytes(b"\xff\xfe{\x00}\x00")
    (files / "501.json").write_bytes(b" " * 40_000 + b"{")
    with open_store(f"json:///{tree}") as store:
        for number in range(20, 40):
            store.save_result(document(number), run_id=f"run-{number}")
    for number in range(40, 50):
        (tree / f"old/{number}/outputs").mkdir(parents=True)
        (tree / f"old/{number}/metrics.json").write_bytes(document(number))
        (tree / f"old/{number}/outputs/a.txt").write_bytes(b"a")
    changed = next(tree.rglob("run.json")).parent / "metrics.json"
    changed.write_bytes(document(60))
    (root / "lines.jsonl").write_bytes(b"\n".join(json.dumps(small(number)).encode() for number in range(35, 70)))
    (root / "other.json").write_bytes(document(71))
    (root / "notes.txt").write_bytes(b"")
    return [files, tree, root / "lines.jsonl", root / "notes.txt", root / "other.json"]


def imported(plugins: PluginManager, paths: Sequence[Path], jobs: int) -> dict[str, Any]:
    """Return everything that an import does and says, without what is new each time."""
    announced: list[CheckedRun] = []
    progress: list[tuple[int, int | None]] = []
    with MemoryStore() as store:
        report = import_runs(
            store,
            find_candidates(plugins, paths),
            announce=announced.append,
            progress=lambda done, total: progress.append((done, total)),
            jobs=jobs,
        )
        times = [run.created_at for run in announced if not run.id.startswith("run-")]
        assert times == sorted(times)
        return {
            "stored": [store.get_document(run_id) for run_id in report.stored],
            "present": [store.get_document(run_id) for run_id in report.present],
            "refused": [(each.source, each.reason, type(each.error)) for each in report.refused],
            "ids": [run_id for run_id in report.stored if run_id.startswith("run-")],
            "rows": [(run.sha256, run.rows, [file.name for file in run.attachments]) for run in announced],
            "progress": progress,
        }


def test_everything_is_as_with_one_process(plugins: PluginManager, tmp_path: Path, started: list[int]) -> None:
    paths = everything(tmp_path)
    alone = imported(plugins, paths, 1)
    assert started == []
    assert len(alone["stored"]) > 60
    assert len(alone["present"]) > 10
    assert len(alone["refused"]) > 10
    assert len(alone["ids"]) == 19
    for jobs in (2, 3):
        assert imported(plugins, paths, jobs) == alone
    assert len(started) == 5
    assert not any(map(exists, started))


@pytest.mark.parametrize("content", [*HOSTILE.values(), STANDARD])
def test_a_checked_document_travels_unchanged(content: bytes) -> None:
    checked = check_document(content)
    there = worker.unpacked(marshal.loads(marshal.dumps(worker.packed(checked, {}))))
    assert there == checked
    assert repr(there.rows) == repr(checked.rows)  # which tells 1 from 1.0 and from True
    assert {type(row) for row in there.rows.benchmarks} <= {BenchmarkRow}
    assert {type(metric) for row in there.rows.benchmarks for metric in row.metrics} <= {MetricRow}


@ONLY_POSIX
@pytest.mark.parametrize(
    ("name", "how"), [("killed", "ended with signal 9"), ("out_of_memory", "ran out of memory")]
)
def test_a_worker_that_dies_costs_only_what_it_had(reads: Any, started: list[int], name: str, how: str) -> None:
    read = getattr(reads, name)

    def candidates() -> Iterator[ImportCandidate]:
        for number in range(60):
            deadly = ImportCandidate("deadly", partial(read, HERE, document(number)), portable=True)
            yield deadly if number == 20 else portable(number)

    with MemoryStore() as store:
        report = import_runs(store, candidates(), jobs=2)
        lost = [refusal.source for refusal in report.refused]
        assert "deadly" in lost
        assert len(lost) == PORTION
        assert {refusal.error.message for refusal in report.refused} == {f"the process that was to check it {how}"}
        assert len(report.stored) == 60 - PORTION
        assert len(started) == 3
        assert not any(map(exists, started))
        again = import_runs(store, candidates(), jobs=1)
        assert (len(again.stored), len(again.present)) == (PORTION, 60 - PORTION)


@pytest.mark.parametrize("executable", ["/nowhere/python", "", "/bin/false"])
def test_without_workers_an_import_does_everything_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, executable: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with MemoryStore() as store, caplog.at_level(logging.WARNING):
        report = import_runs(store, map(portable, range(50)), jobs=2)
        assert [store.get_document(run_id) for run_id in report.stored] == list(map(document, range(50)))
    assert len(caplog.messages) in {1, 2}
    assert "cannot be started" in caplog.messages[0]


def test_what_an_importer_prints_does_not_disturb(
    reads: Any, started: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    given = [partial(reads.printed, HERE, document(number)) for number in range(40)]
    with MemoryStore() as store:
        runs = (ImportCandidate(str(number), read, portable=True) for number, read in enumerate(given))
        assert len(import_runs(store, runs, jobs=2).stored) == 40
    assert len(started) == 2
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_pickled_or_is_large_is_read_here(
    monkeypatch: pytest.MonkeyPatch, started: list[int]
) -> None:
    monkeypatch.setattr(checking_ahead, "MOST_BYTES", 10_000)
    contents = [document(number) + b" " * (20_000 if number % 2 else 0) for number in range(40)]
    runs = (ImportCandidate("x", partial(bytes, content), portable=True) for content in contents)
    with MemoryStore() as store:
        report = import_runs(store, runs, jobs=2)
        assert [store.get_document(run_id) for run_id in report.stored] == contents
        local = (ImportCandidate("x", lambda n=n: document(n), portable=True) for n in range(100, 150))  # type: ignore[misc]
        assert len(import_runs(store, local, jobs=2).stored) == 50
    assert len(started) == 4


def test_few_that_are_portable_among_others(started: list[int]) -> None:
    def candidates() -> Iterator[ImportCandidate]:
        for number in range(100):
            yield evolve(portable(number), portable=number % 20 < 9)

    with MemoryStore() as store:
        report = import_runs(store, candidates(), jobs=2)
        assert [store.get_document(run_id) for run_id in report.stored] == list(map(document, range(100)))
        assert len(started) == 2
        assert import_runs(store, (evolve(each, portable=False) for each in candidates()), jobs=2).stored == []
    assert len(started) == 2


def test_few_candidates_are_found_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    found = done = most = 0

    def candidates() -> Iterator[ImportCandidate]:
        nonlocal found, most
        for number in range(200):
            found += 1
            most = max(most, found - done)
            yield portable(number)

    def progress(so_far: int, _total: int | None) -> None:
        nonlocal done
        done = so_far

    monkeypatch.setattr(importing, "_MOST_RUNS", 1)
    with MemoryStore() as store:
        import_runs(store, candidates(), progress=progress, jobs=2)
    assert PORTION < most <= 3 * PORTION + 1


def test_a_short_import_starts_nothing(monkeypatch: pytest.MonkeyPatch, started: list[int]) -> None:
    monkeypatch.setattr(importing, "_SECONDS_ALONE", 300)
    with MemoryStore() as store:
        assert len(import_runs(store, map(portable, range(100)), jobs=2).stored) == 100
    assert started == []


def test_the_usual_number_of_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    for processors, jobs in ((1, 1), (2, 2), (64, 2)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=processors: set(range(n)), raising=False)
        assert usual_jobs() == jobs
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usual_jobs() == 1


IMPORT: Final = """
import subprocess, sys
from kitt_core import PluginManager
from kitt_core.cli.app import State, main
from kitt_core.hookspecs import hookimpl
from kitt_core.service.transfer import checking_ahead, importing

importing._SECONDS_ALONE = importing._SECONDS_TO_START = 0
checking_ahead._MOST_IN_PORTION = importing._MOST_RUNS = 20
real = subprocess.Popen

def start(*arguments, **options):
    process = real(*arguments, **options)
    print("worker", process.pid, flush=True)
    return process

class Listener:
    @hookimpl
    def kitt_run_saved(self, run, location):
        print("saved", flush=True)

subprocess.Popen = start
state = State()
state.plugins.register(Listener())
to = ["--backend", sys.argv[1], "-O", "synchronous=OFF"]
sys.exit(main([*to, "storage", "import", "--jobs", "2", sys.argv[2]], state=state))
"""


@ONLY_POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_import_that_is_interrupted_leaves_no_process_and_is_completed_by_the_next(
    plugins: PluginManager, tmp_path: Path, spawn: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    files, target = tmp_path / "files", f"sqlite:///{tmp_path}/runs.db"
    files.mkdir()
    for i in range(COUNT):
        (files / f"{i}.json").write_bytes(document(i))
    process = spawn(
        [sys.executable, "-c", IMPORT, target, str(files)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    workers: list[int] = []
    for saved, line in enumerate(process.stdout):
        if line.startswith("worker"):
            workers.append(int(line.split()[1]))
        if saved >= 200 and len(workers) == 2:
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=180)
    if number is not signal.SIGKILL:
        assert process.returncode == 128 + number
        assert "already there, 0 refused so far; run the same command again to continue" in err
        assert err.endswith("error: interrupted\n")
        assert not any(map(exists, workers))
    deadline = time.monotonic() + 180
    while any(map(_runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(_runs, workers))
    with open_store(target, synchronous="OFF") as store:
        before = store.count()
        assert 0 < before < COUNT
        report = import_runs(store, find_candidates(plugins, [files]), jobs=2)
        assert (len(report.stored), len(report.present), report.refused) == (COUNT - before, before, [])


def _runs(pid: int) -> bool:
    """Whether a process exists and has not ended; an orphan may be left unwaited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return sys.platform != "linux" and exists(pid)


PEAKS: Final = """
import re, subprocess, sys
from pathlib import Path
from kitt_core import PluginManager, open_store
from kitt_core.service.transfer import checking_ahead, importing

def peak(pid):
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) // 1024

peaks = {}
end = checking_ahead._Worker.end

def noting(worker):
    peaks[worker._process.pid] = peak(worker._process.pid)
    return end(worker)

checking_ahead._Worker.end = noting
importing._SECONDS_ALONE = importing._SECONDS_TO_START = 0
with open_store(sys.argv[1], synchronous="OFF") as store:
    found = importing.find_candidates(PluginManager(), [sys.argv[2]])
    report = importing.import_runs(store, found, jobs=int(sys.argv[3]))
print(len(report.stored), peak("self"), *peaks.values())
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_or_size_of_documents(tmp_path: Path) -> None:
    peaks: dict[tuple[int, int, int], list[int]] = {}
    for count, kilobytes in ((300, 1), (6000, 1), (300, 1000), (600, 1000)):
        files = tmp_path / f"{count}-{kilobytes}"
        files.mkdir()
        for number in range(count):
            content = as_bytes({**small(number), "notes": ["x" * 1000] * kilobytes})
            (files / f"{number}.json").write_bytes(content)
        for jobs in (1, 2):
            target = f"sqlite:///{tmp_path}/{count}-{kilobytes}-{jobs}.db"
            command = [sys.executable, "-c", PEAKS, target, str(files), str(jobs)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            stored, *found = map(int, done.stdout.split())
            assert stored == count
            peaks[count, kilobytes, jobs] = found
    assert max(peaks[6000, 1, 2]) < max(peaks[300, 1, 2]) + 15
    assert max(peaks[600, 1000, 2]) < max(peaks[300, 1000, 2]) + 15
    # A few messages and their parsed forms more than alone.
    assert peaks[600, 1000, 2][0] < peaks[600, 1000, 1][0] + 40
    assert max(peaks[600, 1000, 2][1:]) < 90
