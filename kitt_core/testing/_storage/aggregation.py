"""Aggregation: groups, counts and statistics, compared with a plain implementation."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kitt_core.runs.query import GROUP_FIELDS, STATISTICS
from kitt_core.storage.contract import ResultStore
from kitt_core.testing._storage.questions import StoreTests, put
from kitt_core.testing.documents import MINIMAL, UNFIT, run

_VALUES = (12.5, 3.25, 40.0, -7.5, 3.25, 19.75, 100.125, 0.0, 55.5, 8.0, 61.0)


def _percentile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    low = ordered[math.floor(position)]
    return low + (ordered[math.ceil(position)] - low) * (position - math.floor(position))


def _plain(statistic: str, values: Sequence[float]) -> float | None:
    """Return the statistic, computed as in a textbook."""
    if statistic == "count":
        return len(values)
    if statistic.startswith("p"):
        return _percentile(values, int(statistic[1:])) if values else None
    if statistic == "stddev":
        return statistics.stdev(values) if len(values) > 1 else None
    functions: dict[str, Callable[[Sequence[float]], float]] = {
        "avg": statistics.fmean,
        "min": min,
        "max": max,
        "sum": math.fsum,
    }
    return functions[statistic](values) if values else None


def _entries(*values: float, name: str = "t", metric: str = "x") -> dict[str, Any]:
    return run(results=[{"test_name": name, "metrics": {metric: value}} for value in values])


class AggregationContract(StoreTests):
    """Rows are ``{field: value, "count": distinct runs, "<metric>_<statistic>": number or None}``."""

    def test_metrics_none_gives_counts(self, store: ResultStore) -> None:
        put(store, {f"r{i}": run(engine=engine) for i, engine in enumerate(("b", "a", "b", "b"))})
        assert store.aggregate("engine") == [{"engine": "a", "count": 1}, {"engine": "b", "count": 3}]
        assert store.aggregate("engine", metrics=[], statistics=["max"]) == store.aggregate("engine")

    @pytest.mark.parametrize("statistic", STATISTICS)
    def test_each_statistic_is_what_a_plain_reference_computes(self, store: ResultStore, statistic: str) -> None:
        put(
            store,
            {
                "a": {**_entries(*_VALUES[:4]), "engine": "many"},
                "b": {**_entries(*_VALUES[4:]), "engine": "many"},
                "c": {**_entries(2.5, 8.25), "engine": "two"},
                "d": {**_entries(6.125), "engine": "one"},
                "e": {**_entries(), "engine": "none"},
            },
        )
        groups = {"many": _VALUES, "two": (2.5, 8.25), "one": (6.125,), "none": ()}
        rows = store.aggregate("engine", "x", statistics=statistic)
        assert {row["engine"]: row["count"] for row in rows} == {"many": 2, "two": 1, "one": 1, "none": 1}
        for row in rows:
            expected = _plain(statistic, groups[row["engine"]])
            assert row[f"x_{statistic}"] == (None if expected is None else pytest.approx(expected, rel=1e-9)), row

    def test_statistics_are_floats_and_counts_are_integers(self, store: ResultStore) -> None:
        put(store, {"a": _entries(1, 2, 3), "b": _entries(4)})
        (row,) = store.aggregate("engine", "x", statistics=STATISTICS)
        assert type(row["count"]) is int
        assert type(row["x_count"]) is int
        assert [s for s in STATISTICS if s != "count" and type(row[f"x_{s}"]) is not float] == []

    def test_a_row_has_the_groups_the_count_and_the_statistics_in_this_order(self, store: ResultStore) -> None:
        put(store, {"a": _entries(1)})
        (row,) = store.aggregate(["model", "engine"], ["x", "t/x"], statistics=["max", "avg"])
        assert list(row) == ["model", "engine", "count", "x_max", "x_avg", "t/x_max", "t/x_avg"]

    def test_the_average_is_the_default(self, store: ResultStore) -> None:
        put(store, {"a": _entries(1, 4)})
        assert store.aggregate("engine", "x") == [{"engine": "e", "count": 1, "x_avg": 2.5}]

    def test_a_metric_that_no_entry_has_is_none_and_counts_0(self, store: ResultStore) -> None:
        put(store, {"a": _entries(1)})
        (row,) = store.aggregate("engine", ["unknown", "u/x"], statistics=STATISTICS)
        for name in ("unknown", "u/x"):
            assert {s: row[f"{name}_{s}"] for s in STATISTICS} == dict.fromkeys(STATISTICS) | {"count": 0}

    def test_the_sample_deviation_of_one_value_is_none_and_of_equal_values_0(self, store: ResultStore) -> None:
        put(store, {"a": {**_entries(5), "model": "one"}, "b": {**_entries(0.1, 0.1, 0.1), "model": "same"}})
        deviations = {row["model"]: row["x_stddev"] for row in store.aggregate("model", "x", statistics="stddev")}
        assert deviations == {"one": None, "same": pytest.approx(0, abs=1e-9)}

    def test_the_deviation_of_large_values_that_differ_little_is_not_lost(self, store: ResultStore) -> None:
        put(store, {"a": _entries(1e9 + 1, 1e9 + 2, 1e9 + 3)})
        (row,) = store.aggregate("engine", "x", statistics="stddev")
        assert row["x_stddev"] == pytest.approx(1.0, rel=1e-6)

    def test_values_near_the_limit_of_a_double_are_handled(self, store: ResultStore) -> None:
        put(store, {"a": _entries(1.5e308, 1.5e308, -1.25e308), "b": {**_entries(2.0), "engine": "f"}})
        (row, other) = store.aggregate("engine", "x", statistics=STATISTICS)
        assert (row["x_max"], row["x_min"], row["x_count"], row["count"]) == (1.5e308, -1.25e308, 3, 1)
        assert (other["x_avg"], other["x_sum"]) == (2.0, 2.0)
        assert len(store.list_results(order_by="metric:x")) == 2

    def test_a_metric_named_alone_takes_every_benchmark_that_has_it(self, store: ResultStore) -> None:
        document = run(
            results=[
                {"test_name": "throughput", "metrics": {"avg_tps": 40}},
                {"test_name": "latency", "metrics": {"avg_tps": 10, "ttft_ms": {"p99": 7}}},
            ]
        )
        put(store, {"a": document})
        (row,) = store.aggregate("engine", ["avg_tps", "throughput/avg_tps", "latency/ttft_ms.p99"])
        assert row == {
            "engine": "e",
            "count": 1,
            "avg_tps_avg": 25.0,
            "throughput/avg_tps_avg": 40.0,
            "latency/ttft_ms.p99_avg": 7.0,
        }

    def test_several_fields_give_one_group_per_combination(self, store: ResultStore) -> None:
        pairs = [("a", "x"), ("a", "y"), ("b", "x"), ("a", "x")]
        put(
            store,
            {
                f"r{i}": {**_entries(i), "model": model, "engine": engine}
                for i, (model, engine) in enumerate(pairs)
            },
        )
        rows = store.aggregate(("engine", "model"), "x", statistics="sum")
        assert rows == [
            {"engine": "x", "model": "a", "count": 2, "x_sum": 3.0},
            {"engine": "x", "model": "b", "count": 1, "x_sum": 2.0},
            {"engine": "y", "model": "a", "count": 1, "x_sum": 1.0},
        ]

    def test_every_group_field_groups_by_its_value(self, store: ResultStore) -> None:
        system = {
            "gpu": {"model": "gpu_model!"},
            "environment_type": "environment_type!",
            "fingerprint": "fingerprint!",
        }
        texts = {name: f"{name}!" for name in ("model", "engine", "suite_name", "kitt_version")}
        put(store, {"a": run(**texts, passed=True, system_info=system, results=[{"test_name": "test_name!"}])})
        for field in GROUP_FIELDS:
            (row,) = store.aggregate(field)
            assert row == {field: True if field == "passed" else f"{field}!", "count": 1}

    def test_groups_are_ordered_by_value_with_none_last(self, store: ResultStore) -> None:
        texts = ["b", "é", "Z", "😀", "\uff21", "a", "_", ""]
        put(store, {f"r{i}": run(system_info={"gpu": {"model": t}, "ram_gb": 8}) for i, t in enumerate(texts)})
        put(store, {"none": MINIMAL})
        assert [row["gpu_model"] for row in store.aggregate("gpu_model")] == [*sorted(texts), None]

    def test_missing_values_are_a_group_of_their_own(self, store: ResultStore) -> None:
        put(store, {"a": run(model="m", suite_name=""), "b": run(system_info={"gpu": {"model": ""}, "ram_gb": 8})})
        store.save_result(UNFIT["wrong types"], strict=False)
        assert store.aggregate(["model", "gpu_model"]) == [
            {"model": "m", "gpu_model": "", "count": 1},
            {"model": "m", "gpu_model": None, "count": 1},
            {"model": None, "gpu_model": None, "count": 1},
        ]

    def test_groups_of_passed_are_true_false_or_none(self, store: ResultStore) -> None:
        put(store, {"a": run(passed=True), "b": run(passed=False), "c": run(passed="no")}, strict=False)
        groups = [row["passed"] for row in store.aggregate("passed")]
        assert [group for group in (False, True, None) if not any(group is g for g in groups)] == []
        assert len(groups) == 3

    def test_texts_that_differ_in_case_or_blanks_are_different_groups(self, store: ResultStore) -> None:
        texts = ["A", "a", "a ", " a", "é", "e\u0301"]
        put(store, {f"r{i}": run(model=text) for i, text in enumerate(texts)})
        assert [row["model"] for row in store.aggregate("model")] == sorted(texts)

    def test_by_test_name_a_run_counts_once_in_each_of_its_benchmarks(self, store: ResultStore) -> None:
        def entry(name: str, value: float, number: int = 1) -> dict[str, Any]:
            return {"test_name": name, "run_number": number, "metrics": {"x": value}}

        put(
            store,
            {
                "a": run(results=[entry("t", 1), entry("t", 2, 2), entry("l", 10)]),
                "b": run(results=[entry("t", 6)]),
                "c": run(results=[{"metrics": {"x": 100}}]),
                "d": MINIMAL,
            },
        )
        assert store.aggregate("test_name", ["x", "t/x"]) == [
            {"test_name": "", "count": 1, "x_avg": 100.0, "t/x_avg": None},
            {"test_name": "l", "count": 1, "x_avg": 10.0, "t/x_avg": None},
            {"test_name": "t", "count": 2, "x_avg": 3.0, "t/x_avg": 3.0},
        ]
        assert store.aggregate(["test_name", "engine"])[2] == {"test_name": "t", "engine": "e", "count": 2}

    def test_count_is_of_runs_and_not_of_entries(self, store: ResultStore) -> None:
        put(store, {"a": _entries(1, 2, 3), "b": _entries()})
        (row,) = store.aggregate("engine", ["x", "t/x"], statistics="count")
        assert row == {"engine": "e", "count": 2, "x_count": 3, "t/x_count": 3}

    def test_a_filter_chooses_runs_and_not_entries(self, store: ResultStore) -> None:
        put(store, {"a": _entries(10, 50), "b": _entries(20, 30)})
        assert store.aggregate("engine", "x", filters={"metrics": "x>40"}) == [
            {"engine": "e", "count": 1, "x_avg": 30.0}
        ]
        assert store.aggregate("engine", "x", filters={"metrics": "x>400"}) == []

    def test_a_field_named_twice_counts_once(self, store: ResultStore) -> None:
        put(store, {"a": _entries(1, 2)})
        once = store.aggregate("engine", "x", statistics="sum")
        assert store.aggregate(["engine", "engine"], ["x", "x"], statistics=["sum", "sum"]) == once
