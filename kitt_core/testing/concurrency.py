"""`StoreConcurrencyContract`: what ``CONCURRENT`` promises, tested with threads, processes and kills.

The test file of a plugin is a subclass and one fixture, which says how *another process* opens the store::

    from kitt_core.testing.concurrency import StoreConcurrencyContract


    class TestShelfTogether(StoreConcurrencyContract):
        @pytest.fixture
        def target(self, tmp_path):
            return f"shelf:///{tmp_path}/runs"  # or StoreTarget("kitt_shelf.store:ShelfStore", {"path": …})

The other processes do the jobs of `kitt_core.testing.worker`. By default ten are killed, and fifty in each test
marked ``long``.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final

import pytest

from kitt_core.runs.model import CheckedRun, Severity
from kitt_core.storage.contract import Capability, ResultStore
from kitt_core.testing._processes import Worker, started
from kitt_core.testing.documents import STANDARD, small
from kitt_core.testing.worker import StoreTarget, batch, single

__all__ = ["StoreConcurrencyContract", "assert_intact", "together"]

_PROCESSES: Final = 4
_RUNS: Final = 12
_KILLS: Final = pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.long)])
_FEWER_KILLS: Final = pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.long)])


class StoreConcurrencyContract:
    """Several handles, threads and processes on one store: nothing is lost, torn or duplicated.

    A subclass defines the fixture ``target``.
    """

    @pytest.fixture
    def target(self) -> Any:
        """Return where an empty store can be created: a `StoreTarget`, or text that `open_store` accepts."""
        pytest.fail(f"{type(self).__name__} needs a fixture `target`: a URI or a StoreTarget")

    @pytest.fixture
    def new_place(self, target: StoreTarget | str) -> StoreTarget:
        """Return where nothing is yet, or skip the test if the store does not declare ``CONCURRENT``."""
        place = StoreTarget(target) if isinstance(target, str) else target
        with place.open() as store:
            if Capability.CONCURRENT not in store.capabilities:
                pytest.skip(f"{type(store).__name__} does not declare CONCURRENT")
        return place

    @pytest.fixture
    def place(self, new_place: StoreTarget) -> StoreTarget:
        """Return the target with an empty store."""
        with new_place.open() as store:
            store.initialize()
        return new_place

    # Processes.

    @pytest.mark.parametrize(
        ("processes", "runs"), [(_PROCESSES, _RUNS), pytest.param(8, 50, marks=pytest.mark.long)]
    )
    def test_processes_that_write_at_once_lose_nothing_and_readers_see_whole_runs(
        self, place: StoreTarget, processes: int, runs: int
    ) -> None:
        writers = [("save_many", f"w{n}", str(runs)) for n in range(processes)]
        *written, read = together(place, [*writers, ("read_until", str(processes * runs))])
        assert read == []
        assert written == [[f"w{n}-{i}" for i in range(runs)] for n in range(processes)]
        with place.open() as store:
            assert {run.id: store.get_result(run.id) for run in store.scan()} == {
                f"w{n}-{i}": small(i) for n in range(processes) for i in range(runs)
            }
            assert_intact(store)

    def test_processes_that_write_batches_at_once_lose_nothing(self, place: StoreTarget) -> None:
        output = together(place, [("save_batches", f"b{n}", "4") for n in range(_PROCESSES)])
        assert output == [[f"b{n}-{i}" for i in range(4)] for n in range(_PROCESSES)]
        with place.open() as store:
            assert {summary.id for summary in store.list_results()} == {
                f"b{n}-{i}-{j}" for n in range(_PROCESSES) for i in range(4) for j in range(5)
            }
            assert_intact(store)

    def test_processes_that_open_a_store_for_the_first_time_at_once_all_can(self, new_place: StoreTarget) -> None:
        output = together(new_place, [("save_many", f"first{n}", "1") for n in range(_PROCESSES)])
        assert output == [[f"first{n}-0"] for n in range(_PROCESSES)]
        with new_place.open() as store:
            assert store.count() == _PROCESSES
            assert_intact(store)

    def test_a_run_that_several_processes_save_is_there_once(self, place: StoreTarget) -> None:
        output = together(place, [("save_same", "wanted", "0")] * _PROCESSES)
        assert output == [["wanted"]] * _PROCESSES
        with place.open() as store:
            assert [(run.id, run.document) for run in store.scan()] == [("wanted", STANDARD)]
            assert_intact(store)

    def test_an_id_that_several_processes_want_goes_to_one_of_them(self, place: StoreTarget) -> None:
        output = together(place, [("save_same", "wanted", str(n)) for n in range(_PROCESSES)])
        assert sorted(output) == [["taken"]] * (_PROCESSES - 1) + [["wanted"]]
        with place.open() as store:
            document = STANDARD + b" " * output.index(["wanted"])
            assert [(run.id, run.document) for run in store.scan()] == [("wanted", document)]
            assert_intact(store)

    def test_files_that_several_processes_import_are_stored_once(self, place: StoreTarget) -> None:
        output = together(place, [("import_same", f"i{n}", "15") for n in range(_PROCESSES)])
        new = [run_id for lines in output for run_id in lines]
        assert sorted(int(run_id.partition("-")[2]) for run_id in new) == list(range(15))
        with place.open() as store:
            assert {run.id for run in store.scan()} == set(new)
            assert_intact(store)

    def test_a_run_that_several_processes_delete_is_deleted_by_one_of_them(self, place: StoreTarget) -> None:
        with place.open() as store:
            if Capability.DELETE not in store.capabilities:
                pytest.skip(f"{type(store).__name__} does not declare DELETE")
            together(place, [("save_many", "gone", str(_RUNS))])
            store.save_result(STANDARD, run_id="kept")
            output = together(place, [("delete_many", "gone", str(_RUNS))] * _PROCESSES)
            assert sorted(run_id for lines in output for run_id in lines) == sorted(
                f"gone-{i}" for i in range(_RUNS)
            )
            assert [run.id for run in store.scan()] == ["kept"]
            assert_intact(store)

    # Kills.

    @_KILLS
    def test_every_acknowledged_run_survives_kill_9_at_any_moment(self, place: StoreTarget, kills: int) -> None:
        acknowledged: list[str] = []
        for n in range(kills):
            with started(place, "save_for_ever", f"k{n}") as worker:
                # Another moment each time: after the first acknowledgement, the second, the third …
                lines = [_line(worker) for _ in range(1 + n % 5)]
                worker.kill()
                lines += worker.finish()
            acknowledged += lines
        with place.open() as store:
            stored = {run.id: run.document for run in store.scan()}
            assert set(acknowledged) <= set(stored)
            assert {document.rstrip(b" ") for document in stored.values()} == {STANDARD.rstrip(b" ")}
            _assert_usable(store)

    @_KILLS
    def test_a_run_whose_save_was_killed_is_there_whole_or_not_at_all(
        self, place: StoreTarget, kills: int
    ) -> None:
        for n in _killed_inside(place, "die_saving", kills):
            with place.open() as store:
                assert store.get_document(f"before-{n}") == STANDARD
                _assert_all_or_nothing(store, [single(n)])
                store.save_checked([single(n)])
                assert store.get_document(single(n).id) == single(n).document
        with place.open() as store:
            _assert_usable(store)

    @_FEWER_KILLS
    def test_a_batch_whose_save_was_killed_has_no_torn_run(self, place: StoreTarget, kills: int) -> None:
        for n in _killed_inside(place, "die_saving_batch", kills):
            with place.open() as store:
                assert store.get_document(f"before-{n}") == STANDARD
                if Capability.ATOMIC_BATCH in store.capabilities:
                    _assert_all_or_nothing(store, batch(n))
                store.save_checked(batch(n))
                assert [store.get_document(run.id) for run in batch(n)] == [run.document for run in batch(n)]
        with place.open() as store:
            _assert_usable(store)

    @_FEWER_KILLS
    def test_a_run_whose_delete_was_killed_is_there_whole_or_not_at_all(
        self, place: StoreTarget, kills: int
    ) -> None:
        with place.open() as store:
            if Capability.DELETE not in store.capabilities:
                pytest.skip(f"{type(store).__name__} does not declare DELETE")
        for n in _killed_inside(place, "die_deleting", kills):
            with place.open() as store:
                _assert_all_or_nothing(store, [single(n)])
                store.delete_result(single(n).id)
                assert store.get_document(single(n).id) is None
                assert store.get_document(f"before-{n}") == STANDARD
        with place.open() as store:
            _assert_usable(store)

    # Threads.

    def test_threads_that_use_a_fresh_store_at_once_all_can(self, new_place: StoreTarget) -> None:
        with new_place.open() as store, ThreadPoolExecutor(_PROCESSES) as pool:
            ids = list(pool.map(lambda n: store.save_result(small(n), run_id=f"t{n}"), range(_PROCESSES)))
            assert {run.id for run in store.scan()} == set(ids)
            assert_intact(store)

    def test_threads_with_a_handle_each_lose_nothing(self, place: StoreTarget) -> None:
        with place.open() as store:
            can_delete = Capability.DELETE in store.capabilities

        def work(thread: int) -> set[str]:
            kept = set()
            with place.open() as store:
                for i in range(_RUNS):
                    run_id = store.save_result(small(i), run_id=f"t{thread}-{i}")
                    assert store.get_result(run_id) == small(i)
                    if can_delete and i % 3 == 0:
                        assert store.delete_result(run_id)
                    else:
                        kept.add(run_id)
                    assert {summary.id for summary in store.list_results({"id": f"t{thread}-*"})} == kept
            return kept

        with ThreadPoolExecutor(_PROCESSES) as pool:
            kept = set().union(*pool.map(work, range(_PROCESSES)))
        with place.open() as store:
            assert {run.id for run in store.scan()} == kept
            assert_intact(store)


def together(place: StoreTarget, jobs: Sequence[tuple[str, ...]]) -> list[list[str]]:
    """Let workers start at the same moment and return the lines that each of them wrote."""
    with ExitStack() as stack:
        workers = [stack.enter_context(started(place, *job)) for job in jobs]
        for worker in workers:
            assert _line(worker) == "ready"
        for worker in workers:
            worker.go()
        with ThreadPoolExecutor(len(workers)) as pool:  # a pipe that nobody reads would block its writer
            return list(pool.map(_finished, workers))


def _finished(worker: Worker) -> list[str]:
    output = worker.finish()
    assert worker.returncode == 0, worker.errors()
    return output


def _line(worker: Worker) -> str:
    line = worker.stdout.readline()
    if not line.endswith("\n"):
        worker.finish()
        pytest.fail(f"a worker ended with code {worker.returncode}: {worker.errors()}")
    return line.strip()


def _killed_inside(place: StoreTarget, job: str, kills: int) -> Iterator[int]:
    """Kill a worker at ``kills`` points of its job, from the first to the last; yield the number of each."""
    with started(place, job, "0", "0") as worker:
        points = int(_finished(worker)[-1].removeprefix("points "))
    assert points >= 1, "the operation makes no call at which it could be killed"
    killed = 0
    for n in range(1, kills + 1):
        with started(place, job, str(n), str(1 + (n - 1) * points // kills)) as worker:
            output = worker.finish()
            assert output[:1] == [f"before-{n}"], worker.errors()
            killed += worker.returncode == -signal.SIGKILL
        yield n
    # An operation may be shorter the second time, so that the last points are past its end.
    assert 2 * killed >= kills, "most workers could not be killed: the operation makes fewer calls when repeated"


def _assert_all_or_nothing(store: ResultStore, runs: Sequence[CheckedRun]) -> None:
    documents = [store.get_document(run.id) for run in runs]
    assert documents in ([run.document for run in runs], [None] * len(runs))
    there = [run.id for run in runs if documents[0] is not None]
    ids = [run.id for run in runs]
    questions: list[Callable[[], list[str]]] = [
        lambda: [run.id for run in store.scan({"id": ids})],
        lambda: [summary.id for summary in store.list_results({"id": ids})],
    ]
    assert [sorted(question()) for question in questions] == [sorted(there)] * 2
    assert store.count({"id": ids}) == len(there)
    assert_intact(store)


def assert_intact(store: ResultStore) -> None:
    """Assert that `verify` finds no damage."""
    assert [finding for finding in store.verify() if finding.severity is Severity.DAMAGE] == []


def _assert_usable(store: ResultStore) -> None:
    assert_intact(store)
    run_id = store.save_result(small(0))
    assert store.get_result(run_id) == small(0)
