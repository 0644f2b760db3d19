"""Listing: every run has one place in an order, pages follow each other, and saves may interrupt a scan."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from kitt_core.errors import InvalidQueryError
from kitt_core.runs.model import Page, StoredRun
from kitt_core.runs.query import ORDER_FIELDS, Filters
from kitt_core.storage.contract import Capability, ResultStore
from kitt_core.testing._storage.agreement import fill
from kitt_core.testing._storage.questions import StoreTests, assert_readable, listed, needs, put, snapshot
from kitt_core.testing.documents import MINIMAL, STANDARD, as_bytes, run, small

# Byte order, locale order, UTF-16 order and case-insensitive order all differ from this one somewhere.
_TEXTS = (
    "",
    " ",
    "!",
    "0",
    "10",
    "9",
    "Z",
    "Zz",
    "[",
    "_",
    "a",
    "a b",
    "ab",
    "b",
    "~",
    "é",
    "ß",
    "Ω",
    "模",
    "\ufb00",
    "\uff21",
    "😀",
    "\U0001d518",
)


def _measured(*values: float | str, metric: str = "x") -> bytes:
    entries = ",".join(f'{{"test_name": "t", "metrics": {{"{metric}": {value}}}}}' for value in values)
    return f'{{"model": "m", "engine": "e", "results": [{entries}]}}'.encode()


def _check(store: ResultStore, order_by: str, ascending: list[str], missing: list[str]) -> None:
    """Check both directions; ``missing`` is in ascending order of ids."""
    assert listed(store, order_by) == ascending + missing
    assert listed(store, f"-{order_by}") == ascending[::-1] + missing[::-1]


class OrderingContract(StoreTests):
    """A listing is ordered as requested."""

    @pytest.mark.parametrize("field", ["model", "engine", "suite_name"])
    def test_text_is_in_code_point_order(self, store: ResultStore, field: str) -> None:
        ordered = sorted(_TEXTS)
        ids = {text: f"r{hash_of:02}" for hash_of, text in enumerate(reversed(_TEXTS))}
        put(store, {ids[text]: run(**{field: text}) for text in _TEXTS})
        _check(store, field, [ids[text] for text in ordered], [])

    @pytest.mark.parametrize("field", ["model", "engine", "suite_name"])
    def test_missing_text_comes_last_both_ways(self, store: ResultStore, field: str) -> None:
        put(store, {"n1": run(**{field: 5}), "b": run(**{field: "b"}), "n0": run(**{field: 5})}, strict=False)
        put(store, {"a": run(**{field: "a"}), "z": run(**{field: "\U0010ffff"})})
        _check(store, field, ["a", "b", "z"], ["n0", "n1"])

    def test_timestamps_come_in_time_order_and_missing_ones_last_both_ways(self, store: ResultStore) -> None:
        put(
            store,
            {
                "c": run(timestamp="2025-01-01T00:00:00.000002Z"),
                "n1": MINIMAL,
                "a": run(timestamp="1999-12-31T23:59:59Z"),
                "n0": run(timestamp=""),
                "d": run(timestamp="2025-01-01T00:00:00.000001-00:01"),
                "b": run(timestamp="2025-01-01T00:00:00.000001"),
            },
        )
        _check(store, "timestamp", ["a", "b", "c", "d"], ["n0", "n1"])

    def test_total_time_is_ordered_as_numbers_and_non_finite_ones_come_last_both_ways(
        self, store: ResultStore
    ) -> None:
        values = {
            "a": "-2.5",
            "b": "-0.0",
            "c": "9",
            "d": "10",
            "e": "1e300",
            "n0": "NaN",
            "n1": "1e400",
            "n2": "-1e400",
        }
        put(
            store,
            {
                run_id: f'{{"model": "m", "engine": "e", "total_time_seconds": {value}}}'.encode()
                for run_id, value in reversed(values.items())
            },
        )
        _check(store, "total_time_seconds", ["a", "b", "c", "d", "e"], ["n0", "n1", "n2"])

    def test_created_at_is_ordered_by_instant(self, store: ResultStore) -> None:
        for run_id, microsecond in (("c", 30), ("a", 1), ("b", 2)):
            store.save_result(
                MINIMAL, run_id=run_id, created_at=datetime(2025, 1, 1, 0, 0, 0, microsecond, tzinfo=UTC)
            )
        store.save_result(MINIMAL, run_id="0", created_at=datetime(2025, 1, 2, tzinfo=UTC))
        _check(store, "created_at", ["a", "b", "c", "0"], [])

    def test_a_metric_orders_by_the_runs_mean(self, store: ResultStore) -> None:
        put(store, {"a": _measured(1, 9), "b": _measured(8, 4), "c": _measured(7), "d": _measured(2, 2, 20)})
        _check(store, "metric:x", ["a", "b", "c", "d"], [])

    def test_runs_without_a_finite_value_of_the_metric_come_last_both_ways(self, store: ResultStore) -> None:
        put(
            store,
            {
                "n3": _measured("NaN", "1e400"),
                "b": _measured(5, "Infinity", "NaN"),
                "n2": _measured(1, metric="y"),
                "a": _measured(-3.5, "-Infinity"),
                "n1": MINIMAL,
            },
        )
        _check(store, "metric:x", ["a", "b"], ["n1", "n2", "n3"])

    def test_a_metric_may_be_ordered_by_within_its_benchmark(self, store: ResultStore) -> None:
        def two(throughput: float, latency: float) -> dict[str, Any]:
            pair = {"throughput": throughput, "latency": latency}
            return run(results=[{"test_name": name, "metrics": {"t": {"p99": v}}} for name, v in pair.items()])

        put(store, {"a": two(3, 1), "b": two(2, 8), "c": two(1, 3)})
        _check(store, "metric:throughput/t.p99", ["c", "b", "a"], [])
        _check(store, "metric:latency/t.p99", ["a", "c", "b"], [])
        assert listed(store, "metric:t.p99") == ["a", "c", "b"]

    @pytest.mark.parametrize("order", [*ORDER_FIELDS, "metric:x"])
    def test_the_id_breaks_ties_in_the_same_direction(self, store: ResultStore, order: str) -> None:
        ids = ["b", "Z", "a", "_", "-", "a.b", "10", "9"]
        for run_id in ids:
            document = run(timestamp="2025-01-01", results=[{"test_name": "t", "metrics": {"x": 0.5}}])
            store.save_result(document, run_id=run_id, created_at=datetime(2025, 1, 1, tzinfo=UTC))
        assert listed(store, order) == sorted(ids)
        assert listed(store, f"-{order}") == sorted(ids, reverse=True)

    def test_the_newest_comes_first_by_default(self, store: ResultStore) -> None:
        put(store, {f"r{i}": run(timestamp=f"2025-01-0{i}") for i in (2, 3, 1)} | {"none": MINIMAL})
        assert [summary.id for summary in store.list_results()] == ["r3", "r2", "r1", "none"]

    def test_query_has_the_same_orders_and_pages(self, store: ResultStore) -> None:
        put(store, {f"r{i}": run(model=f"m{i}", n=i) for i in range(6)})
        for order, limit, offset in (("model", None, 0), ("-model", 2, 0), ("-model", 3, 1), ("model", 9, 4)):
            expected = [s.model for s in store.list_results(order_by=order, limit=limit, offset=offset)]
            assert [d["model"] for d in store.query(order_by=order, limit=limit, offset=offset)] == expected
            assert expected


def _walk(store: ResultStore, order_by: str, limit: int, filters: Filters = None) -> list[str]:
    ids: list[str] = []
    after: str | None = None
    while True:
        page = store.list_results(filters, order_by=order_by, limit=limit, after=after)
        ids += [summary.id for summary in page]
        after = page.next_cursor
        if after is None:
            return ids
        assert len(page) == limit, "a page before the last one is not full"


def _numbered(count: int) -> dict[str, dict[str, object]]:
    return {f"r{i}": run(model=f"m{i // 2}") for i in range(count)}


class PagingContract(StoreTests):
    """A page is a part of the listing."""

    @pytest.mark.parametrize("order", [*ORDER_FIELDS, "metric:avg_tps", "metric:throughput/avg_tps"])
    def test_cursors_walk_through_every_run_exactly_once(self, store: ResultStore, order: str) -> None:
        fill(store)
        for direction in ("", "-"):
            everything = listed(store, direction + order)
            assert len(everything) == len(set(everything)) == store.count()
            assert _walk(store, direction + order, 7) == everything

    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 100])
    def test_pages_may_have_any_size(self, store: ResultStore, limit: int) -> None:
        put(store, _numbered(6))
        for order in ("model", "-model", "timestamp", "-timestamp"):
            assert _walk(store, order, limit) == listed(store, order)

    def test_a_filter_holds_on_every_page(self, store: ResultStore) -> None:
        fill(store)
        filters = {"engine": ["vllm", "ollama"], "metrics": "avg_tps>3"}
        everything = listed(store, "-metric:avg_tps", filters)
        assert 4 < len(everything) < store.count()
        assert _walk(store, "-metric:avg_tps", 3, filters) == everything

    def test_the_last_page_has_no_cursor(self, store: ResultStore) -> None:
        put(store, _numbered(4))
        assert store.list_results(limit=3).next_cursor is not None
        assert store.list_results(limit=4).next_cursor is None
        assert store.list_results(limit=5).next_cursor is None
        assert store.list_results().next_cursor is None
        first = store.list_results(limit=2)
        second = store.list_results(limit=2, after=first.next_cursor)
        assert (len(second), second.next_cursor) == (2, None)

    def test_limit_none_is_all_and_limit_0_is_none(self, store: ResultStore) -> None:
        put(store, _numbered(5))
        assert len(store.list_results(limit=None)) == 5
        assert list(store.list_results(limit=0)) == []
        assert store.query(limit=0) == []

    def test_an_offset_leaves_out_the_first(self, store: ResultStore) -> None:
        put(store, _numbered(6))
        everything = listed(store, "model")
        for offset in range(8):
            for limit in (None, 0, 1, 3, 9):
                page = store.list_results(order_by="model", limit=limit, offset=offset)
                end = None if limit is None else offset + limit
                assert [summary.id for summary in page] == everything[offset:end]

    def test_a_cursor_continues_after_an_offset(self, store: ResultStore) -> None:
        put(store, _numbered(6))
        first = store.list_results(order_by="model", limit=2, offset=1)
        rest = store.list_results(order_by="model", after=first.next_cursor)
        assert [s.id for s in first] + [s.id for s in rest] == listed(store, "model")[1:]

    def test_a_cursor_of_another_order_is_refused(self, store: ResultStore) -> None:
        put(store, _numbered(4))
        cursor = store.list_results(order_by="model", limit=2).next_cursor
        for order in ("-model", "engine", "metric:model", "timestamp"):
            with pytest.raises(InvalidQueryError) as caught:
                store.list_results(order_by=order, after=cursor)
            assert_readable(caught.value)

    def test_what_is_not_a_cursor_is_refused(self, store: ResultStore) -> None:
        put(store, _numbered(4))
        for text in ("", "r1", "5", "é", "W10", "a" * 1000, "'; DROP TABLE runs; --"):
            with pytest.raises(InvalidQueryError) as caught:
                store.list_results(order_by="model", limit=2, after=text)
            assert_readable(caught.value)

    def test_a_run_saved_between_two_pages_moves_none_of_the_others(self, store: ResultStore) -> None:
        put(store, _numbered(6))
        everything = listed(store, "model")
        first = store.list_results(order_by="model", limit=3)
        put(store, {"earlier": run(model="a"), "later": run(model="z")})
        rest = store.list_results(order_by="model", after=first.next_cursor)
        assert [s.id for s in first] + [s.id for s in rest] == [*everything, "later"]

    def test_a_run_deleted_between_two_pages_moves_none_of_the_others(self, store: ResultStore) -> None:
        needs(store, Capability.DELETE)
        put(store, _numbered(6))
        everything = listed(store, "-model")
        first = store.list_results(order_by="-model", limit=3)
        for summary in first:
            assert store.delete_result(summary.id)
        rest = store.list_results(order_by="-model", after=first.next_cursor)
        assert [summary.id for summary in rest] == everything[3:]

    def test_a_page_is_a_sequence(self, store: ResultStore) -> None:
        put(store, _numbered(5))
        page = store.list_results(order_by="model", limit=4)
        assert isinstance(page, Page)
        assert isinstance(page, Sequence)
        assert len(page) == 4
        assert page[0].id == "r0"
        assert page[-1].id == "r3"
        assert [summary.id for summary in page[1:3]] == ["r1", "r2"]
        assert [summary.id for summary in reversed(page)] == ["r3", "r2", "r1", "r0"]
        assert page[2] in page


_MANY = 130


class ScanningContract(StoreTests):
    """``scan`` yields every run once and holds no transaction."""

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

    def test_an_abandoned_scan_holds_nothing(self, store: ResultStore) -> None:
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
