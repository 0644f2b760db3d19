"""The worker processes of the concurrency contract: forked from one warm server, or started one by one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from kitt_core.testing import StoreTarget, _processes
from kitt_core.testing._processes import started
from kitt_core.testing.documents import STANDARD

pytest.importorskip("kitt_json")


@pytest.fixture(params=[True, False], ids=["forked", "started"])
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoreTarget:
    monkeypatch.setattr(_processes, "_CAN_FORK", request.param)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KITT_HOME", str(tmp_path))
    return StoreTarget("json:///.")  # the worker's directory is ours


def test_a_worker_does_its_job_and_reports_its_exit_code(target: StoreTarget) -> None:
    with started(target, "save_many", "w", "2") as worker:
        assert worker.stdout.readline() == "ready\n"
        worker.go()
        assert worker.finish() == ["w-0", "w-1"]
        assert (worker.returncode, worker.errors()) == (0, "")
    with target.open() as store:
        assert store.count() == 2


def test_an_error_in_a_worker_is_in_its_exit_code_and_stderr(target: StoreTarget) -> None:
    with started(target, "no_such_job") as worker:
        assert worker.finish() == []
        assert worker.returncode == 1
        assert worker.errors().endswith("KeyError: 'no_such_job'\n")


def test_a_kill_ends_only_one_worker(target: StoreTarget) -> None:
    with started(target, "save_for_ever", "one") as one, started(target, "save_many", "other", "1") as other:
        assert one.stdout.readline() == "one-0\n"
        one.kill()
        one.finish()
        assert one.returncode == -signal.SIGKILL
        assert other.stdout.readline() == "ready\n"
        other.go()
        assert other.finish() == ["other-0"]
        assert other.returncode == 0
    with target.open() as store:
        assert store.get_document("one-0") == STANDARD


def test_nobody_survives_the_test_that_started_it(target: StoreTarget) -> None:
    with started(target, "save_many", "w", "2") as worker:
        assert worker.stdout.readline() == "ready\n"
    assert worker.returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(worker._pid, 0)
