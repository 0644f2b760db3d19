"""Orders: every run has one place."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from kitt_core.query import ORDER_FIELDS
from kitt_core.storage import ResultStore
from kitt_core.testing._storage.asking import StoreTests, listed, put
from kitt_core.testing.documents import MINIMAL, run

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
    """Check both directions; ``missing`` in ascending order of ids."""
    assert listed(store, order_by) == ascending + missing
    assert listed(store, f"-{order_by}") == ascending[::-1] + missing[::-1]


class OrderingContract(StoreTests):
    """A listing is ordered, whichever the order."""

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
