"""Signals and full disks, on real processes of ``kitt run``: nothing that was measured is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kitt_core import open_store

pytest.importorskip("kitt_sqlite")

PATIENCE = 180  # seconds: only a process that hangs takes them, however busy the machine is

PROGRAM = """
import asyncio, os, resource, signal, sys, time
from pathlib import Path
from attrs import frozen
from kitt_core.cli.app import main
from kitt_core.cli.invocation import State
from kitt_core.engine import Chunk, Engine, EngineSession, Usage
from kitt_core.errors import EngineError, EngineLostError
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import PluginManager
from kitt_core.storage import ResultStore
from kitt_core import rundir

mode, arguments = sys.argv[1], sys.argv[2:]

def mark(name):
    Path("marks").open("a").write(name + "\\n")

@frozen
class Options:
    model: str = "m"

class Session(EngineSession):
    model = "m"
    concurrent = True
    requests = 0

    async def stream(self, request):
        self.requests += 1
        number = self.requests
        if mode == "first":
            mark("asked")
            await asyncio.sleep(60)
        if number > 12 and mode == "middle":
            mark("asked")
            await asyncio.sleep(60)
        if number > 12 and mode == "blocking":
            mark("asked")
            time.sleep(60)
        if number > 12 and mode == "lost":
            await asyncio.sleep(0 if number == 16 else 60)
            raise EngineLostError("the server went away for good")
        if mode == "lost at once":
            raise EngineLostError("there was nobody", hint="start it")
        if number > 12 and mode == "refusing":
            raise EngineError("HTTP 503")
        await asyncio.sleep(0)
        yield Chunk("word ", tokens=1)
        yield Chunk("word", tokens=1, usage=Usage(1, 2))

    def memory_gb(self):
        if mode == "between":  # the last benchmark begins with this
            os.kill(os.getpid(), signal.SIGTERM)
        if mode == "no room":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        return {"host_memory_gb": 1.0}

    async def aclose(self):
        if mode == "closing":
            mark("closing")
            await asyncio.sleep(60)

class Plugin:
    async def open(self, options):
        if mode == "opening":
            mark("asked")
            await asyncio.sleep(60)
        return Session()

    @hookimpl
    def kitt_register_engine(self, registry):
        registry.add(Engine(name="probe", open=self.open, options=Options))

def slowly(call, name, seconds):
    def slow(*given, **named):
        mark(name)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.05)
        return call(*given, **named)
    return slow

if mode in {"saving", "stuck"}:
    ResultStore.save_checked = slowly(ResultStore.save_checked, "saving", 1.5 if mode == "saving" else 60)
if mode == "writing":
    rundir.write_run = slowly(rundir.write_run, "writing", 1.5)
# Whatever the tests were started by: `nohup` and `&` leave signals ignored, and children inherit that.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    signal.signal(number, signal.SIG_IGN if number.name in os.environ.get("IGNORED", "") else usual)
state = State()
state.plugins = PluginManager()
state.plugins.register(Plugin())
sys.exit(main(["run", "-e", "probe", *arguments], state=state))
"""


@pytest.fixture
def start(home: Path, spawn: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.Popen[str]]:
    def begin(mode: str, *arguments: str, prefix: Sequence[str] = (), **variables: str) -> subprocess.Popen[str]:
        return spawn(
            [*prefix, sys.executable, "-c", PROGRAM, mode, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | variables,
        )

    return begin


def wait_for(mark: str, times: int = 1) -> None:
    deadline = time.monotonic() + PATIENCE
    marks = Path("marks")
    while time.monotonic() < deadline:
        if marks.exists() and marks.read_text().splitlines().count(mark) >= times:
            return
        time.sleep(0.02)
    raise AssertionError(f"the process never came to {mark}")


def interrupt_again(process: subprocess.Popen[str]) -> str:
    """Press Ctrl-C until the process ends, and return what it said: two signals at once are one to the system."""
    for _ in range(PATIENCE // 10):
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=10)[1]
    raise AssertionError("the process does not end")


def stored(home: Path) -> list[dict[str, Any]]:
    if not (home / "kitt.db").exists():
        return []
    with open_store("sqlite", path=home / "kitt.db") as store:
        return store.query()


def kept() -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in Path("kitt-results").rglob("metrics.json")]


def passed(document: dict[str, Any]) -> dict[str, bool]:
    return {entry["test_name"]: entry["passed"] for entry in document["results"]}


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.mark.parametrize(
    ("mode", "number", "code"), [("opening", *SIGNALS[0]), ("first", *SIGNALS[1]), ("first", *SIGNALS[2])]
)
def test_before_the_first_answer_nothing_is_stored(
    start: Callable[..., subprocess.Popen[str]], home: Path, mode: str, number: signal.Signals, code: int
) -> None:
    process = start(mode)
    wait_for("asked")
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (code, "", "error: interrupted\n")
    assert (stored(home), kept()) == ([], [])


@pytest.mark.parametrize(
    ("number", "code", "background"), [(*SIGNALS[0], False), (*SIGNALS[1], False), (*SIGNALS[1], True)]
)
def test_in_the_middle_of_a_benchmark_the_others_are_stored(
    start: Callable[..., subprocess.Popen[str]], home: Path, number: signal.Signals, code: int, background: bool
) -> None:
    process = start("middle", **({"IGNORED": "SIGINT"} if background else {}))
    wait_for("asked", 4)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert err.splitlines()[0] == "error: interrupted; what was measured until then is stored"
    (document,) = stored(home)
    assert kept() == [document]
    assert passed(document) == {"warmup_analysis": True, "throughput": False}
    assert (document["passed"], document["stopped"]) == (False, "interrupted")
    assert document["results"][0]["metrics"]["cold_latency_ms"] > 0
    cut_short = document["results"][1]
    assert cut_short["errors"] == [f"interrupted after {cut_short['incomplete']}"]
    assert cut_short["metrics"]["total_iterations"] == int(cut_short["incomplete"].split()[0])


def test_a_lost_terminal_ends_no_run_that_was_started_with_nohup(
    start: Callable[..., subprocess.Popen[str]], home: Path
) -> None:
    process = start("writing", IGNORED="SIGHUP")
    wait_for("writing")
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert kept() == stored(home)
    assert [document["passed"] for document in kept()] == [True]


def test_between_benchmarks_those_before_are_whole(
    start: Callable[..., subprocess.Popen[str]], home: Path
) -> None:
    process = start("between")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, err
    (document,) = stored(home)
    assert passed(document) == {"warmup_analysis": True, "throughput": True, "latency": True, "memory": False}
    assert document["stopped"] == "interrupted"


def test_an_engine_that_blocks_is_left_at_the_second_signal(
    start: Callable[..., subprocess.Popen[str]], home: Path
) -> None:
    process = start("blocking", "--concurrency", "1")
    wait_for("asked")
    process.send_signal(signal.SIGINT)
    interrupt_again(process)
    assert process.returncode == 130
    (document,) = stored(home)
    assert passed(document) == {"warmup_analysis": True, "throughput": False}


@pytest.mark.parametrize(
    ("mode", "number", "code"), [("saving", *SIGNALS[0]), ("writing", *SIGNALS[1]), ("saving", *SIGNALS[2])]
)
def test_while_storing_a_signal_waits(
    start: Callable[..., subprocess.Popen[str]], home: Path, mode: str, number: signal.Signals, code: int
) -> None:
    process = start(mode)
    wait_for(mode)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert err.splitlines()[0] == "error: interrupted; the run is complete and stored"
    (document,) = stored(home)
    assert kept() == [document]
    assert (document["passed"], len(document["results"])) == (True, 4)


def test_a_second_ctrl_c_while_storing_loses_nothing(
    start: Callable[..., subprocess.Popen[str]], home: Path
) -> None:
    process = start("closing")
    wait_for("closing")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err.splitlines()[0] == "warning: engine probe was interrupted while it closed"
    assert [document["passed"] for document in stored(home)] == [True]


def test_files_are_written_whatever_is_pressed(start: Callable[..., subprocess.Popen[str]], home: Path) -> None:
    process = start("writing")
    wait_for("writing")
    for _ in range(4):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert kept() == stored(home)
    assert len(kept()) == 1


def test_a_store_that_does_not_answer_is_left_at_the_second_signal(
    start: Callable[..., subprocess.Popen[str]], home: Path
) -> None:
    process = start("stuck")
    wait_for("saving")
    process.send_signal(signal.SIGINT)
    err = interrupt_again(process)
    warning, error = err.splitlines()
    assert process.returncode == 130
    assert error == "error: interrupted"
    (directory,) = {path.parent for path in Path("kitt-results").rglob("metrics.json")}
    assert f"`kitt storage import {directory}` stores it later" in warning
    command = [sys.executable, "-m", "kitt_core", "storage", "import", str(directory)]
    assert subprocess.run(command, capture_output=True, timeout=PATIENCE).returncode == 0
    assert stored(home) == kept()


def test_a_lost_engine_ends_the_run_with_its_reason(
    start: Callable[..., subprocess.Popen[str]], home: Path
) -> None:
    process = start("lost")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err.splitlines()[0] == "error: the run ended early: the server went away for good"
    (document,) = stored(home)
    assert passed(document) == {"warmup_analysis": True, "throughput": False}
    assert document["stopped"] == "the server went away for good"
    assert document["results"][1]["errors"][-1] == "the server went away for good after 3 of 18 requests"


def test_an_engine_lost_before_it_answered_leaves_nothing(
    start: Callable[..., subprocess.Popen[str]], home: Path
) -> None:
    process = start("lost at once")
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (1, "", "error: there was nobody\nhint: start it\n")
    assert (stored(home), kept()) == ([], [])


def test_a_server_that_refuses_everything_is_soon_given_up(
    start: Callable[..., subprocess.Popen[str]], home: Path
) -> None:
    process = start("refusing", "--requests", "1000")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err.startswith("error: the run ended early: throughput: no request was answered; ")
    assert "HTTP 503" in err
    (document,) = stored(home)
    assert passed(document) == {"warmup_analysis": False, "throughput": False}
    first, second = document["results"]
    assert first["errors"][-1] == "gave up after 3 failures in a row; 985 requests were not sent"
    assert second["errors"][-1].startswith("gave up after 4 failures in a row; ")
    assert document["stopped"].startswith("throughput: no request was answered; gave up after ")


# Full disks.


def can_mount() -> bool:
    if os.geteuid() != 0:
        return False
    script = "mkdir -p /tmp/kitt-mount-probe && mount -t tmpfs -o size=64k tmpfs /tmp/kitt-mount-probe"
    try:
        return subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True).returncode == 0
    except OSError:
        return False


SMALL_DISK = """
set -e
mkdir -p small
mount -t tmpfs -o size=200k tmpfs small
head -c {filled}000 /dev/zero > small/filler || true
exec "$@"
"""


def on_a_small_disk(filled: int) -> list[str]:
    """Return a command's beginning that gives it a directory ``small`` of its own with 200 KB."""
    if not can_mount():
        pytest.skip("only root can mount a small disk")
    return ["unshare", "-m", "sh", "-c", SMALL_DISK.format(filled=filled), "sh"]


def test_a_disk_too_full_for_the_files_leaves_the_run_in_the_store(
    start: Callable[..., subprocess.Popen[str]], home: Path
) -> None:
    process = start("", "--results-dir", "small/results", prefix=on_a_small_disk(196))
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 4
    assert "but its files could not be written" in err.splitlines()[0]
    assert "No space left on device" in err.splitlines()[0]
    (document,) = stored(home)
    assert (document["passed"], len(document["results"])) == (True, 4)


def test_a_disk_too_full_for_the_store_leaves_the_files(
    start: Callable[..., subprocess.Popen[str]], home: Path
) -> None:
    process = start("", prefix=on_a_small_disk(150), KITT_HOME="small/home")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 4
    assert err.startswith("error: the run was measured but is not stored: ")
    (document,) = kept()
    assert (document["passed"], len(document["results"])) == (True, 4)


def test_a_disk_too_full_for_samples_costs_them_alone(
    start: Callable[..., subprocess.Popen[str]], home: Path
) -> None:
    process = start("", "--requests", "2000", prefix=on_a_small_disk(196), TMPDIR="small")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    (warning,) = err.splitlines()
    assert warning.startswith("warning: the requests' samples can't be written to ")
    (document,) = stored(home)
    assert document["passed"]
    assert "No space left on device" in document["outputs_incomplete"]


def test_no_room_anywhere_is_one_line(start: Callable[..., subprocess.Popen[str]], home: Path) -> None:
    with open_store("sqlite", path=home / "kitt.db") as store:
        store.initialize()
    process = start("no room")
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (4, "")
    error = err.splitlines()[-2]
    assert error.startswith("error: the run was measured but could not be stored: ")
    assert "Traceback" not in err
    assert kept() == []
    assert list(Path.home().glob("kitt-*.json")) == []
