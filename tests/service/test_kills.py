"""Copies and restorations whose process is killed: the same command again completes them."""

from __future__ import annotations

import io
import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from kitt_core import open_store
from kitt_core.runs import Severity
from kitt_core.service.transfer.backup import back_up
from kitt_core.storage import Capability, ResultStore
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing.documents import as_bytes, small

from .contents import NewTarget, attachment, contents, documents

COPY: Final = """
import sys
from kitt_core import open_store
from kitt_core.service.transfer import copying

copying._MOST_LOOKED_FOR, copying._MOST_WRITTEN = 7, 4
with open_store(sys.argv[1]) as source, open_store(sys.argv[2]) as target:
    report = copying.copy_runs(source, target, progress=lambda done, total: print(done, flush=True))
assert not report.failed, report
"""

RESTORE: Final = """
import sys
from kitt_core import open_store
from kitt_core.service.transfer import copying, restoring

restoring._MOST_LOOKED_FOR, copying._MOST_WRITTEN = 7, 4
with open_store(sys.argv[2]) as target, restoring.open_archive(sys.argv[1]) as stream:
    archive = restoring.check_archive(stream, target)
    tell = lambda done, total: print(done, flush=True)
    report = restoring.restore_runs(stream, archive, target, progress=tell)
assert not report.failed, report
"""


def _killed(command: list[str], target: str, wanted: dict[str, bytes], kills: int) -> None:
    """Kill the command so often, each time a little further on, then let it come to its end."""
    random_ = random.Random(f"{target.partition(':')[0]} {kills}")
    for kill in range(kills):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= len(wanted) * kill // kills:
                    break
            try:  # between two batches, or inside the next
                process.wait(random_.uniform(0.0, 0.03))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            assert process.wait() in {-signal.SIGKILL, 0}
        with open_store(target) as store:
            assert documents(store).items() <= wanted.items()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def _assert_complete(store: ResultStore, wanted: dict[str, bytes]) -> None:
    assert documents(store) == wanted
    assert [finding for finding in store.verify() if finding.severity is Severity.DAMAGE] == []


def _short_and_long(short: str, kills: int) -> pytest.MarkDecorator:
    """Three kills on one backend; on each as many as is given, marked ``long``."""
    whole = [pytest.param(to, kills, marks=pytest.mark.long) for to in ("sqlite", "json", "postgres")]
    return pytest.mark.parametrize(("to", "kills"), [(short, 3), *whole])


@_short_and_long("sqlite", 40)
def test_a_copy_that_is_killed_is_completed_by_the_next(new_target: NewTarget, kills: int, to: str) -> None:
    source, target = new_target("sqlite"), new_target(to)
    with open_store(source, synchronous="OFF") as store:
        for i in range(200):
            store.save_result(as_bytes(small(i)) + b" " * (i % 7), run_id=f"run-{i:03}")
        wanted = documents(store)
    _killed([sys.executable, "-c", COPY, source, target], target, wanted, kills)
    with open_store(target) as store:
        _assert_complete(store, wanted)
        assert [run.id for run in store.list_results(order_by="created_at")] == list(wanted)
        if store.run_tree is not None:
            ids = [json.loads(path.read_bytes())["id"] for path in store.run_tree.glob("*/*/*/run.json")]
            assert sorted(ids) == sorted(wanted)


@_short_and_long("json", 25)
def test_a_restoration_that_is_killed_is_completed_by_the_next(
    new_target: NewTarget, tmp_path: Path, kills: int, to: str
) -> None:
    target, path = new_target(to), tmp_path / "a.tar.gz"
    with MemoryStore() as source:
        for i in range(120):
            source.save_result(small(i), run_id=f"run-{i:03}", attachments=[attachment("a", b"%d" % i)])
        archive = io.BytesIO()
        back_up(source, archive)
        path.write_bytes(archive.getvalue())
        wanted = documents(source)
    _killed([sys.executable, "-c", RESTORE, str(path), target], target, wanted, kills)
    with open_store(target) as store:
        _assert_complete(store, wanted)
        if Capability.ATTACHMENTS in store.capabilities:
            assert all(contents(store, f"run-{i:03}") == {"a": b"%d" % i} for i in range(120))
