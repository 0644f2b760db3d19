"""Aggregation: groups, counts and statistics, compared with a plain implementation."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kitt_core.runs.grouping import GROUP_FIELDS, STATISTICS
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
        beyond = {**_entries(1.5e308, 1.5e308), "engine": "g"}
        near = _entries(1.5e308, 1.5e308, -1.25e308)
        put(store, {"a": near, "b": {**_entries(2.0), "engine": "f"}, "c": beyond})
        (row, other, sums) = store.aggregate("engine", "x", statistics=STATISTICS)
        assert (row["x_max"], row["x_min"], row["x_count"], row["count"]) == (1.5e308, -1.25e308, 3, 1)
        assert row["x_stddev"] is None
        assert (other["x_avg"], other["x_sum"]) == (2.0, 2.0)
        assert (sums["x_avg"], sums["x_sum"], sums["x_count"]) == (1.5e308, None, 2)
        assert len(store.list_results(order_by="metric:x")) == 3

    @pytest.mark.parametrize("values", [(-0.0,), (-0.0, -0.0), (-0.0, 0.0), (0.0, -0.0), (-5e-324, 0.0, 0.0)])
    def test_no_statistic_is_a_negative_zero(self, store: ResultStore, values: tuple[float, ...]) -> None:
        put(store, {"a": _entries(*values) | {"total_time_seconds": -0.0}})
        for wanted in (("avg", "sum", "max"), STATISTICS):
            (row,) = store.aggregate("engine", "x", statistics=wanted)
            assert [name for name, value in row.items() if str(value) == "-0.0"] == []
        (summary,) = store.list_results()
        assert str(summary.total_time_seconds) == "0.0"

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
            "machine": "machine!",
            "software": "software!",
        }
        texts = {name: f"{name}!" for name in ("model", "engine", "suite_name", "kitt_version")}
        document = run(**texts, passed=True, system_info=system, results=[{"test_name": "test_name!"}])
        put(store, {"a": document | {"timestamp": "2025-02-01T01:30:00+02:00"}})
        others = {"passed": True, "day": "2025-01-31", "week": "2025-01-27", "month": "2025-01"}
        for field in GROUP_FIELDS:
            (row,) = store.aggregate(field)
            assert row == {field: others.get(field, f"{field}!"), "count": 1}

    def test_a_label_groups_by_its_value(self, store: ResultStore) -> None:
        labels = [{"commit": "b"}, {"commit": "a", "n": 1}, {"n": "1"}, None, {"n": ""}]
        documents = [{**_entries(i), "labels": given} for i, given in enumerate(labels)]
        put(store, {f"r{i}": document for i, document in enumerate(documents)})
        assert store.aggregate("label:commit", "x") == [
            {"label:commit": "a", "count": 1, "x_avg": 1.0},
            {"label:commit": "b", "count": 1, "x_avg": 0.0},
            {"label:commit": None, "count": 3, "x_avg": 3.0},
        ]
        assert store.aggregate("label:n", "x", statistics="p50", filters={"engine": "e"}) == [
            {"label:n": "", "count": 1, "x_p50": 4.0},
            {"label:n": "1", "count": 2, "x_p50": 1.5},
            {"label:n": None, "count": 2, "x_p50": 1.5},
        ]

    def test_labels_are_grouped_with_each_other_and_with_other_fields(self, store: ResultStore) -> None:
        def labelled(**labels: str) -> dict[str, Any]:
            return run(labels=labels, results=[{"test_name": "t", "metrics": {"x": 1}}])

        put(store, {"a": labelled(k="1", m="2"), "b": labelled(k="1", m="3"), "c": labelled(k="1", m="2")})
        rows = store.aggregate(
            ["label:m", "test_name", "label:k"], "x", statistics="sum", filters={"labels": {"k": "1"}}
        )
        assert rows == [
            {"label:m": "2", "test_name": "t", "label:k": "1", "count": 2, "x_sum": 2.0},
            {"label:m": "3", "test_name": "t", "label:k": "1", "count": 1, "x_sum": 1.0},
        ]

    @pytest.mark.parametrize("key", ["", "a=b", "label:", "a,b", "é 😀", "%' \"--", "\0", "\ud800", "Team"])
    def test_a_label_may_have_any_key(self, store: ResultStore, key: str) -> None:
        put(store, {"a": run(labels={key: "v", "team": "w"}), "b": MINIMAL})
        name = f"label:{key}"
        assert store.aggregate(name) == [{name: "v", "count": 1}, {name: None, "count": 1}]

    def test_an_explicit_label_is_the_machine(self, store: ResultStore) -> None:
        put(store, {"a": run(system_info={"machine": "m"}), "b": run(labels={"machine": "l"})})
        assert [row["machine"] for row in store.aggregate("machine")] == ["l", "m"]
        assert [row["label:machine"] for row in store.aggregate("label:machine")] == ["l", "m"]
        assert store.aggregate("software") == [{"software": None, "count": 2}]

    @pytest.mark.parametrize(
        ("timestamp", "day", "week", "month"),
        [
            ("2025-01-01T00:30:00+02:00", "2024-12-31", "2024-12-30", "2024-12"),
            ("2025-01-05T23:59:59.999999Z", "2025-01-05", "2024-12-30", "2025-01"),
            ("2025-01-06", "2025-01-06", "2025-01-06", "2025-01"),
            ("2024-02-29T23:59:59-00:01", "2024-03-01", "2024-02-26", "2024-03"),
            ("0001-01-01T00:00:00Z", "0001-01-01", "0001-01-01", "0001-01"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31", "9999-12-27", "9999-12"),
            ("1582-10-10", "1582-10-10", "1582-10-04", "1582-10"),
            (None, None, None, None),
        ],
    )
    def test_days_weeks_and_months_are_those_of_utc(
        self, store: ResultStore, timestamp: str | None, day: str, week: str, month: str
    ) -> None:
        put(store, {"a": run(timestamp=timestamp)})
        wanted = {"day": day, "week": week, "month": month, "count": 1}
        assert store.aggregate(["day", "week", "month"]) == [wanted]

    def test_runs_of_a_week_are_one_group(self, store: ResultStore) -> None:
        put(store, {f"r{i}": run(timestamp=f"2025-06-{i:02}T12:00:00Z") for i in range(1, 17)})
        assert store.aggregate("week") == [
            {"week": "2025-05-26", "count": 1},
            {"week": "2025-06-02", "count": 7},
            {"week": "2025-06-09", "count": 7},
            {"week": "2025-06-16", "count": 1},
        ]

    def test_median_and_mean_are_other_names(self, store: ResultStore) -> None:
        put(store, {"a": _entries(1, 2, 6)})
        assert store.aggregate("engine", "x", statistics=["median", "mean", "p50"]) == [
            {"engine": "e", "count": 1, "x_p50": 2.0, "x_avg": 3.0}
        ]

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
