"""Scanning: a stream of all runs, during which the store may be used."""

from __future__ import annotations

from kitt_core.model import StoredRun
from kitt_core.storage import Capability, ResultStore
from kitt_core.testing._storage.asking import StoreTests, needs, put, snapshot
from kitt_core.testing.documents import MINIMAL, STANDARD, as_bytes, run, small

_MANY = 130


class ScanningContract(StoreTests):
    """``scan`` reads in pages of its own and holds no transaction."""

    def test_scan_yields_every_run_once(self, store: ResultStore) -> None:
        documents = {f"r{i:03}": as_bytes(small(i)) for i in range(_MANY)}
        put(store, documents)
        scanned = list(store.scan())
        assert {stored.id: stored.document for stored in scanned} == documents
        assert len(scanned) == _MANY
        assert {type(stored) for stored in scanned} == {StoredRun}

    def test_scan_is_an_iterator(self, store: ResultStore) -> None:
        put(store, {"a": MINIMAL, "b": STANDARD})
        runs = store.scan()
        assert iter(runs) is runs
        assert {next(runs).id, next(runs).id} == {"a", "b"}
        assert next(runs, None) is None

    def test_a_save_inside_the_loop_works_and_nothing_comes_twice(self, store: ResultStore) -> None:
        put(store, {f"r{i}": small(i) for i in range(10)})
        seen: list[str] = []
        for stored in store.scan():
            seen.append(stored.id)
            assert len(seen) <= 60, "the scan follows what the loop saves, without end"
            store.save_result(MINIMAL)
        assert len(seen) == len(set(seen))
        assert {f"r{i}" for i in range(10)} <= set(seen)
        assert store.count() == 10 + len(seen)

    def test_a_delete_inside_the_loop_works(self, store: ResultStore) -> None:
        needs(store, Capability.DELETE)
        put(store, {f"r{i}": small(i) for i in range(10)})
        seen = []
        for stored in store.scan():
            seen.append(stored.id)
            assert store.delete_result(stored.id)
        assert sorted(seen) == [f"r{i}" for i in range(10)]
        assert snapshot(store) == {}

    def test_reading_inside_the_loop_works(self, store: ResultStore) -> None:
        put(store, {f"r{i}": small(i) for i in range(4)})
        for stored in store.scan():
            assert store.get_document(stored.id) == stored.document
            assert store.count() == 4
            assert len(list(store.scan({"engine": "vllm"}))) == 2

    def test_a_scan_that_is_given_up_holds_nothing(self, store: ResultStore) -> None:
        put(store, {f"r{i}": small(i) for i in range(4)})
        runs = store.scan()
        next(runs)
        store.save_result(MINIMAL, run_id="during")
        del runs
        store.save_result(STANDARD, run_id="after")
        assert set(snapshot(store)) == {"r0", "r1", "r2", "r3", "during", "after"}

    def test_two_scans_do_not_disturb_each_other(self, store: ResultStore) -> None:
        put(store, {f"r{i}": small(i) for i in range(4)})
        pairs = list(zip(store.scan(), store.scan(), strict=True))
        assert (
            {first.id for first, _ in pairs} == {second.id for _, second in pairs} == {f"r{i}" for i in range(4)}
        )

    def test_scan_gives_only_what_matches(self, store: ResultStore) -> None:
        put(store, {f"r{i:03}": run(model=f"m{i % 10}", n=i) for i in range(40)})
        assert {stored.id for stored in store.scan({"model": ["m3", "m7"]})} == {
            f"r{i:03}" for i in range(40) if i % 10 in {3, 7}
        }
