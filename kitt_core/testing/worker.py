"""The jobs of the other processes in `StoreConcurrencyContract`, and the store that they open."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, Final

from attrs import asdict, field, frozen

from kitt_core.errors import RunExistsError
from kitt_core.opening import open_store
from kitt_core.runs.checking import check_run
from kitt_core.runs.model import CheckedRun
from kitt_core.storage.contract import ResultStore
from kitt_core.testing.documents import STANDARD, run, small

__all__ = ["JOBS", "StoreTarget", "batch", "kill_at", "main", "single"]

_IMPORT_PATH: Final = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_][\w.]*)")


@frozen
class StoreTarget:
    """A store that several processes can open.

    Attributes:
        where: What `open_store` takes (``sqlite:////tmp/runs.db``), or the import path of a class or function
            that returns a store (``kitt_shelf.store:ShelfStore``).
        options: Keyword arguments of either, as JSON can express them.
    """

    where: str
    options: Mapping[str, Any] = field(factory=dict)

    def open(self) -> ResultStore:
        """Open the store."""
        match = _IMPORT_PATH.fullmatch(self.where)
        if match is None:
            return open_store(self.where, **self.options)
        factory: Any = importlib.import_module(match["module"])
        for name in match["name"].split("."):
            factory = getattr(factory, name)
        store = factory(**self.options)
        if not isinstance(store, ResultStore):
            raise TypeError(f"{self.where} returned a {type(store).__name__}, expected a ResultStore")
        return store

    def encode(self) -> str:
        """Return the target as one argument of a command."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> StoreTarget:
        """Read what `encode` wrote."""
        return cls(**json.loads(text))


_SIZE: Final = 5
_IGNORED_MODULES: Final = frozenset(
    {None, "builtins", "collections", "itertools", "functools", "re", "time", "_thread"}
)


def single(n: int) -> CheckedRun:
    """Return the run that is being saved when the ``n``-th worker is killed."""
    return check_run(small(n), run_id=f"single-{n}")


def batch(n: int) -> list[CheckedRun]:
    """Return the runs that are being saved together when the ``n``-th worker is killed."""
    return [check_run(run(model=f"m{i}", n=n), run_id=f"batch-{n}-{i}") for i in range(_SIZE)]


def report(text: str) -> None:
    """Write a line immediately."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def wait() -> None:
    """Report that all is ready, and wait for the start."""
    report("ready")
    sys.stdin.readline()


def save_many(store: ResultStore, prefix: str, number: str) -> None:
    """Save runs one after the other."""
    wait()
    for i in range(int(number)):
        report(store.save_result(small(i), run_id=f"{prefix}-{i}"))


def save_batches(store: ResultStore, prefix: str, number: str) -> None:
    """Save runs, several in a call."""
    wait()
    for n in range(int(number)):
        store.save_checked([check_run(small(i), run_id=f"{prefix}-{n}-{i}") for i in range(_SIZE)])
        report(f"{prefix}-{n}")


def import_same(store: ResultStore, prefix: str, number: str) -> None:
    """Store documents unless their bytes are stored, as other workers also do; report which were new."""
    wait()
    for start in range(0, int(number), _SIZE):
        runs = [check_run(small(i), run_id=f"{prefix}-{i}") for i in range(start, start + _SIZE)]
        present = store.save_unless_stored(runs)
        for one in runs:
            if one.sha256 not in present:
                report(one.id)


def save_same(store: ResultStore, run_id: str, spelling: str) -> None:
    """Save a run under an id that other workers also want; report whether it was still free."""
    wait()
    try:
        report(store.save_result(STANDARD + b" " * int(spelling), run_id=run_id))
    except RunExistsError:
        report("taken")


def delete_many(store: ResultStore, prefix: str, number: str) -> None:
    """Delete runs that other workers also delete; report which of them were there."""
    wait()
    for i in range(int(number)):
        if store.delete_result(f"{prefix}-{i}"):
            report(f"{prefix}-{i}")


def read_until(store: ResultStore, total: str) -> None:
    """Read until ``total`` runs are there; report what was torn or went missing."""
    wait()
    seen = 0
    while seen < int(total):
        number = store.count()
        if number < seen:
            report(f"{seen} runs were there, now {number}")
        seen = number
        for row in store.aggregate("test_name", ["avg_tps", "ttft_ms.p99"], statistics=["count"]):
            # Each document of the writers has one entry with the metric in each of its two benchmarks.
            if row["avg_tps_count"] + row["ttft_ms.p99_count"] != row["count"]:
                report(f"part of a run: {row}")
        for stored in store.scan():
            if store.get_document(stored.id) != stored.document:
                report(f"{stored.id} has two documents")


def save_for_ever(store: ResultStore, prefix: str) -> None:
    """Save until killed."""
    i = 0
    while True:
        report(store.save_result(STANDARD + b" " * (i % 300), run_id=f"{prefix}-{i}"))
        i += 1


def die_saving(store: ResultStore, n: str, point: str) -> None:
    """Save one run, then be killed inside the save of another."""
    report(store.save_result(STANDARD, run_id=f"before-{n}"))
    run = single(int(n))
    kill_at(int(point), lambda: store.save_checked([run]))


def die_saving_batch(store: ResultStore, n: str, point: str) -> None:
    """Save one run, then be killed inside the save of several."""
    report(store.save_result(STANDARD, run_id=f"before-{n}"))
    runs = batch(int(n))
    kill_at(int(point), lambda: store.save_checked(runs))


def die_deleting(store: ResultStore, n: str, point: str) -> None:
    """Save one run, then be killed while another is deleted."""
    report(store.save_result(STANDARD, run_id=f"before-{n}"))
    store.save_checked([single(int(n))])
    kill_at(int(point), lambda: store.delete_result(single(int(n)).id))


def kill_at(point: int, action: Callable[[], object]) -> None:
    """Run ``action`` and be killed at its ``point``-th call into a driver or the system, or return from one.

    Unlike a kill from outside, this one can be repeated at the same point, and tried at each point in turn. If the
    action completes, report how many points there are.
    """
    passed = 0

    def count(_frame: FrameType, event: str, called: Any) -> None:
        nonlocal passed
        if event in {"c_call", "c_return"} and _is_kill_point(called):
            passed += 1
            if passed == point:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
    report(f"points {passed}")


def _is_kill_point(called: Any) -> bool:
    owner = getattr(called, "__self__", None)
    module = getattr(called, "__module__", None) or type(owner).__module__
    return module not in _IGNORED_MODULES


JOBS: Final[dict[str, Callable[..., None]]] = {
    job.__name__: job
    for job in (
        save_many,
        save_batches,
        import_same,
        save_same,
        delete_many,
        read_until,
        save_for_ever,
        die_saving,
        die_saving_batch,
        die_deleting,
    )
}


def main(arguments: Sequence[str]) -> None:
    """Do a job."""
    job, target, *texts = arguments
    with StoreTarget.decode(target).open() as store:
        JOBS[job](store, *texts)


if __name__ == "__main__":
    main(sys.argv[1:])
