"""Rows: the parts of a document that can be listed, filtered and aggregated."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kitt_core.runs.model import RunSummary
from kitt_core.storage.contract import ResultStore
from kitt_core.testing._storage.questions import StoreTests, found, listed, put
from kitt_core.testing.documents import HOSTILE, HOSTILE_NAMES, MINIMAL, STANDARD, run, small


def _entry(metrics: dict[str, Any], name: str = "t") -> dict[str, Any]:
    return {"test_name": name, "metrics": metrics}


def _statistics(store: ResultStore, *metrics: str, statistics: str = "sum") -> dict[str, Any]:
    (row,) = store.aggregate("engine", metrics, statistics=statistics)
    return {name: row[f"{name}_{statistics}"] for name in metrics}


class RowContract(StoreTests):
    """Rows are derived from the document."""

    def test_a_summary_holds_the_fields_of_the_document(self, store: ResultStore) -> None:
        moment = datetime(2025, 8, 1, 12, tzinfo=UTC)
        store.save_result(STANDARD, run_id="x", created_at=moment)
        assert list(store.list_results()) == [
            RunSummary(
                id="x",
                model="meta-llama/Llama-3.1-8B-Instruct",
                engine="vllm",
                suite_name="standard",
                timestamp=datetime(2025, 7, 30, 10, 6, 27, 799149, tzinfo=UTC),
                passed=False,
                total_benchmarks=24,
                passed_count=23,
                failed_count=1,
                total_time_seconds=1834.25,
                kitt_version="1.8.0",
                created_at=moment,
                gpu_model="NVIDIA H100 80GB HBM3",
                fingerprint="h100-80gb-2x_epyc-9654-96c_1024gb-ddr5_linux-6.8",
            )
        ]

    def test_the_values_of_a_summary_have_their_types(self, store: ResultStore) -> None:
        store.save_result({**small(1), "total_time_seconds": 7})
        (summary,) = store.list_results()
        assert type(summary) is RunSummary
        assert type(summary.passed) is bool
        assert [type(n) for n in (summary.total_benchmarks, summary.passed_count, summary.failed_count)] == [
            int
        ] * 3
        assert type(summary.total_time_seconds) is float
        for moment in (summary.timestamp, summary.created_at):
            assert isinstance(moment, datetime)
            assert moment.utcoffset() == timedelta(0)

    def test_an_absent_or_null_field_has_its_default(self, store: ResultStore) -> None:
        put(store, {"absent": MINIMAL, "null": HOSTILE["nulls"]})
        for summary in store.list_results():
            assert (summary.suite_name, summary.kitt_version) == ("", "")
            assert (summary.total_benchmarks, summary.passed_count, summary.failed_count) == (0, 0, 0)
            assert (summary.passed, summary.total_time_seconds) == (False, 0.0)
            assert (summary.timestamp, summary.gpu_model, summary.fingerprint) == (None, None, None)

    @pytest.mark.parametrize(
        ("entries", "passed", "counts"),
        [
            ([], False, (0, 0, 0)),
            ([{"passed": True}], True, (1, 1, 0)),
            ([{"passed": True}, {"passed": False}, {}], False, (3, 1, 2)),
            ([{"passed": True}, {"passed": True, "skipped": "no GPU"}], True, (2, 1, 0)),
            ([{"passed": False, "skipped": "no GPU"}], False, (1, 0, 0)),
        ],
    )
    def test_an_absent_verdict_is_that_of_the_entries(
        self, store: ResultStore, entries: list[dict[str, Any]], passed: bool, counts: tuple[int, int, int]
    ) -> None:
        nulls = dict.fromkeys(["passed", "total_benchmarks", "passed_count", "failed_count"])
        put(store, {"absent": run(results=entries), "null": run(results=entries, **nulls)})
        for summary in store.list_results():
            assert summary.passed is passed
            assert (summary.total_benchmarks, summary.passed_count, summary.failed_count) == counts
        assert found(store, passed=passed) == {"absent", "null"}
        assert list(store.verify()) == []

    def test_a_given_verdict_stays(self, store: ResultStore) -> None:
        entries = [{"passed": True}, {"passed": True}]
        put(
            store,
            {
                "passed": run(results=entries, passed=False),
                "counts": run(results=entries, total_benchmarks=5, failed_count=0),
                "none": run(passed=True, passed_count=0),
            },
        )
        verdicts = {
            run.id: (run.passed, run.total_benchmarks, run.passed_count, run.failed_count)
            for run in store.list_results()
        }
        assert verdicts == {"passed": (False, 2, 2, 0), "counts": (True, 5, 2, 0), "none": (True, 0, 0, 0)}

    def test_a_verdict_that_does_not_fit_is_not_derived(self, store: ResultStore) -> None:
        put(store, {"a": run(results=[{"passed": True}], passed="yes", passed_count=[])}, strict=False)
        (summary,) = store.list_results()
        assert (summary.passed, summary.passed_count, summary.failed_count) == (None, None, 0)

    def test_the_names_of_metrics_are_those_of_all_entries(self, store: ResultStore) -> None:
        assert store.metric_names() == []
        first = {"b": 1, "Z": {"é": 2, "p": float("nan")}, "text": "x", "a/b": 3}
        put(store, {"a": run(results=[_entry(first), _entry({"b": 1, "a": 1}, "u")])})
        put(store, {"b": run(results=[_entry({"\uff5e": 1, "😀": 2, "": 3})]), "none": MINIMAL})
        assert store.metric_names() == ["", "Z.p", "Z.é", "a", "a/b", "b", "\uff5e", "😀"]

    def test_at_most_10_000_names_are_returned(self, store: ResultStore) -> None:
        put(store, {"a": run(results=[_entry({f"m{i}": i for i in range(10_010)})])})
        names = store.metric_names()
        assert len(names) == len(set(names)) == 10_000
        assert names == sorted(names)

    def test_integers_of_32_bits_are_kept(self, store: ResultStore) -> None:
        store.save_result(HOSTILE["widest integers"])
        (summary,) = store.list_results()
        assert (summary.total_benchmarks, summary.passed_count) == (2**31 - 1, -(2**31))

    def test_nested_metric_objects_become_dotted_names(self, store: ResultStore) -> None:
        store.save_result(run(results=[_entry({"ttft_ms": {"p99": 12.5, "by": {"size": {"s": 3}}}, "plain": 1})]))
        assert _statistics(store, "ttft_ms.p99", "t/ttft_ms.by.size.s", "plain", "ttft_ms", "p99") == {
            "ttft_ms.p99": 12.5,
            "t/ttft_ms.by.size.s": 3,
            "plain": 1,
            "ttft_ms": None,
            "p99": None,
        }
        assert found(store, metrics="ttft_ms.p99>12") != set()

    def test_booleans_texts_and_lists_are_not_metrics(self, store: ResultStore) -> None:
        store.save_result(run(results=[_entry({"flag": True, "text": "5", "none": None, "list": [5], "n": 5})]))
        names = ("flag", "text", "none", "list", "n")
        assert _statistics(store, *names, statistics="count") == dict.fromkeys(names, 0) | {"n": 1}
        assert found(store, metrics="flag=1") == found(store, metrics="text=5") == set()

    def test_nan_and_infinities_take_no_part_in_statistics(self, store: ResultStore) -> None:
        values = (
            "[" + ",".join(f'{{"metrics": {{"x": {v}}}}}' for v in ("NaN", "Infinity", "-1e400", "2", "4")) + "]"
        )
        store.save_result(f'{{"model": "m", "engine": "e", "results": {values}}}')
        expected = {"avg": 3.0, "min": 2.0, "max": 4.0, "sum": 6.0, "count": 2, "p50": 3.0, "stddev": math.sqrt(2)}
        for statistic, value in expected.items():
            assert _statistics(store, "x", statistics=statistic) == {"x": pytest.approx(value)}

    def test_a_number_beyond_a_double_is_infinite_and_nan_is_none(self, store: ResultStore) -> None:
        put(store, {"inf": HOSTILE["beyond a double"], "nan": HOSTILE["not finite"]})
        summaries = {summary.id: summary.total_time_seconds for summary in store.list_results()}
        assert summaries == {"inf": math.inf, "nan": None}

    def test_an_integer_of_any_length_is_legal_as_a_metric(self, store: ResultStore) -> None:
        store.save_result(HOSTILE["long integers"], run_id="x")
        assert _statistics(store, "x", "y", statistics="count") == {"x": 0, "y": 0}
        assert found(store) == {"x"}

    def test_an_integer_beyond_64_bits_is_the_nearest_double(self, store: ResultStore) -> None:
        store.save_result(run(results=[_entry({"x": 2**70, "y": -(2**63) - 1})]))
        assert _statistics(store, "x", "y", statistics="max") == {"x": 2.0**70, "y": -(2.0**63)}

    def test_u0000_and_lone_surrogates_become_ufffd_in_row_text(self, store: ResultStore) -> None:
        put(store, {"nul": HOSTILE["U+0000"], "surrogate": HOSTILE["lone surrogates"]})
        summaries = {summary.id: summary for summary in store.list_results()}
        assert summaries["nul"].model == "m\ufffdx"
        assert summaries["nul"].engine == "\ufffd"
        assert summaries["nul"].gpu_model == "g\ufffd"
        assert summaries["surrogate"].suite_name == "\ufffd\ufffd"
        assert summaries["surrogate"].fingerprint == "\ufffd"
        assert found(store, model="m\0x") == found(store, model="m\ufffdx") == {"nul"}
        assert found(store, model="m\ud800") == {"surrogate"}
        assert found(store, labels={"k\0": "v\0"}) == {"nul", "surrogate"}
        assert found(store, metrics="t\0/m\ud800=1") == {"nul", "surrogate"}

    def test_row_text_is_otherwise_unchanged(self, store: ResultStore) -> None:
        names = [name for name in HOSTILE_NAMES.values() if "\0" not in name]
        put(store, {f"r{i}": run(model=n, engine=n, suite_name=n) for i, n in enumerate(names)})
        summaries = store.list_results(order_by="created_at")
        assert [summary.model for summary in summaries] == names
        assert [summary.engine for summary in summaries] == names
        assert [summary.suite_name for summary in summaries] == names

    def test_of_duplicate_keys_the_last_one_counts(self, store: ResultStore) -> None:
        store.save_result(HOSTILE["duplicate keys"])
        assert [summary.model for summary in store.list_results()] == ["m"]
        assert _statistics(store, "x") == {"x": 4}

    def test_metrics_whose_dotted_names_are_equal_are_both_kept(self, store: ResultStore) -> None:
        store.save_result(run(results=[_entry({"a.b": 4, "a": {"b": 5}})]))
        assert _statistics(store, "a.b") == {"a.b": 9}

    def test_every_entry_of_the_same_benchmark_is_kept(self, store: ResultStore) -> None:
        entries = [{**_entry({"x": n}), "run_number": n} for n in (1, 2, 2)]
        store.save_result(run(results=entries))
        assert _statistics(store, "x", "t/x") == {"x": 5, "t/x": 5}

    def test_a_benchmark_or_metric_may_have_any_name(self, store: ResultStore) -> None:
        store.save_result(HOSTILE["names of benchmarks"])
        names = ("x", "a/b/x", "/x", "%_*/%", "%", "_", "*")
        sums = {"x": 10, "a/b/x": 7, "/x": 3, "%_*/%": 5, "%": 5, "_": 6, "*": 7}
        assert _statistics(store, *names) == sums
        store.save_result(run(engine="e", results=[_entry({"é": 1, " spaced ": 2, "": 3}, "模")]))
        assert _statistics(store, "模/é", " spaced ", "模/") == {"模/é": 1, " spaced ": 2, "模/": 3}

    def test_a_naive_timestamp_is_read_as_utc(self, store: ResultStore) -> None:
        store.save_result(run(timestamp="2025-07-30T10:06:27.799149"))
        (summary,) = store.list_results()
        assert summary.timestamp == datetime(2025, 7, 30, 10, 6, 27, 799149, tzinfo=UTC)

    def test_timestamps_are_ordered_by_instant(self, store: ResultStore) -> None:
        put(
            store,
            {
                "d3": run(timestamp="2025-01-01T18:00:00Z"),
                "d2": run(timestamp="2025-01-01T14:30:00+02:00"),
                "d1": run(timestamp="2025-01-01T12:00:00"),
                "d4": run(timestamp="2025-01-01T23:00:00-08:00"),
                "d0": run(timestamp="2025-01-01"),
                "d5": run(timestamp="9999-12-31T23:59:59.999999Z"),
                "c9": run(timestamp="0001-01-01T00:00:00+00:00"),
            },
        )
        assert listed(store, "timestamp") == ["c9", "d0", "d1", "d2", "d3", "d4", "d5"]
        assert listed(store, "-timestamp") == ["d5", "d4", "d3", "d2", "d1", "d0", "c9"]

    def test_an_empty_timestamp_is_none(self, store: ResultStore) -> None:
        store.save_result(HOSTILE["empty timestamp"])
        assert [summary.timestamp for summary in store.list_results()] == [None]

    def test_the_fingerprint_is_that_of_system_info_or_none(self, store: ResultStore) -> None:
        put(
            store,
            {
                "given": run(system_info={"fingerprint": "h100_x"}),
                "top": run(fingerprint="elsewhere", hardware={"fingerprint": "there"}),
                "none": run(system_info={"ram_gb": 8}),
            },
        )
        assert {s.id: s.fingerprint for s in store.list_results()} == {
            "given": "h100_x",
            "top": None,
            "none": None,
        }

    def test_a_machine_without_gpu_has_no_gpu_model(self, store: ResultStore) -> None:
        store.save_result(HOSTILE["no GPU"], run_id="x")
        assert [summary.gpu_model for summary in store.list_results()] == [None]
        assert store.aggregate("gpu_model") == [{"gpu_model": None, "count": 1}]
