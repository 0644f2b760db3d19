"""Two runs side by side."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from kitt_core.benchmarking.catalogue import CATALOGUE
from kitt_core.runs import codec, derive_rows
from kitt_core.service.comparing import ComparedMetric, Comparison, compare_runs
from kitt_core.service.run_lookup import Subject


def entry(metrics: Any = None, *, name: str = "throughput", passed: bool = True, **more: Any) -> dict[str, Any]:
    given = {"avg_tps": 40.0} if metrics is None else metrics
    return {"test_name": name, "passed": passed, "metrics": given, "settings": {"concurrency": 1}, **more}


def run(*entries: dict[str, Any], **more: Any) -> Subject:
    """A run as `kitt run` writes it."""
    return subject({"model": "m", "engine": "e", "engine_info": {"name": "e"}, "results": list(entries), **more})


def old_run(*entries: dict[str, Any]) -> Subject:
    """A run that does not say how its metrics are defined."""
    return subject({"model": "m", "engine": "e", "results": [{**e, "settings": None} for e in entries]})


def subject(document: Any) -> Subject:
    parsed = codec.parse(json.dumps(document).encode())
    return Subject(None, "here", parsed, derive_rows(parsed, strict=False))


def only(found: Comparison) -> ComparedMetric:
    (metric,) = found.common
    return metric


def differing(a: Subject, b: Subject) -> dict[str, tuple[Any, Any]]:
    return {d.what: (d.a, d.b) for d in compare_runs(a, b).differences}


def test_a_metric_has_both_values_their_ratio_its_unit_and_direction() -> None:
    metric = only(compare_runs(run(entry({"avg_tps": 40.0})), run(entry({"avg_tps": 50}))))
    assert (metric.benchmark, metric.metric, metric.a, metric.b, metric.ratio) == (
        "throughput",
        "avg_tps",
        40.0,
        50.0,
        1.25,
    )
    assert (metric.unit, metric.direction, metric.n_a, metric.n_b, metric.notes) == ("token/s", "higher", 1, 1, ())
    assert metric.definition_a == metric.definition_b == "user.osl_over_e2e"


def test_a_run_compared_with_itself_differs_in_nothing() -> None:
    same = run(entry({"avg_tps": 3.0, "ttft_ms": {"p50": 0.0}}), entry({"x": 1}, name="other"), labels={"a": 1})
    found = compare_runs(same, same)
    assert (found.alone, found.differences) == ((), ())
    assert [(m.metric, m.ratio, m.notes) for m in found.common] == [
        ("ttft_ms.p50", None, ()),
        ("avg_tps", 1.0, ()),
        ("x", 1.0, ()),
    ]


def test_repeats_are_combined_by_their_mean_and_counted() -> None:
    a = run(*(entry({"avg_tps": tps}, run_number=n) for n, tps in enumerate([10, 20, 60], 1)))
    metric = only(compare_runs(a, run(entry({"avg_tps": 15.0}))))
    assert (metric.a, metric.n_a, metric.b, metric.n_b, metric.ratio) == (30.0, 3, 15.0, 1, 0.5)
    assert differing(a, run(entry())) == {"throughput: entries": (3, 1)}


def test_entries_that_passed_count_and_failed_ones_only_where_none_did() -> None:
    a = run(entry({"avg_tps": 10.0}), entry({"avg_tps": 1000.0, "max_tps": 5.0}, passed=False))
    b = run(entry({"avg_tps": 20.0, "max_tps": 10.0}))
    found = compare_runs(a, b)
    avg, most = found.common
    assert (avg.a, avg.n_a, avg.ratio, avg.notes) == (10.0, 1, 2.0, ("1 of 2 failed in A and left out",))
    assert (most.a, most.n_a, most.ratio, most.notes) == (5.0, 1, 2.0, ("1 of 2 failed in A",))
    assert differing(a, b) == {"throughput: entries": (2, 1), "throughput: failed entries": (1, 0)}
    assert differing(a, a) == {}


@pytest.mark.parametrize(
    ("a", "b", "ratio"),
    [
        (0, 5, None),
        (0, 0, None),
        (5, 0, 0.0),
        (-4, 2, -0.5),
        (5e-324, 1e308, None),
        (1e308, 5e-324, 0.0),
        (10**400, 1, None),
    ],
)
def test_a_ratio_is_finite_or_not_there(a: Any, b: Any, ratio: float | None) -> None:
    assert only(compare_runs(run(entry({"x": a})), run(entry({"x": b})))).ratio == ratio


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_take_no_part(odd: float) -> None:
    a = run(entry({"x": odd}), entry({"x": 3.0}))
    metric = only(compare_runs(a, run(entry({"x": 6.0}))))
    assert (metric.a, metric.n_a, metric.ratio, metric.notes) == (3.0, 1, 2.0, ())

    alone = only(compare_runs(run(entry({"x": odd})), run(entry({"x": 6.0}))))
    assert (alone.a, alone.n_a, alone.ratio, alone.notes) == (None, 0, None, ("no finite value in A",))


def test_means_do_not_overflow() -> None:
    huge = run(entry({"x": 1.7e308}), entry({"x": 1.7e308}))
    assert only(compare_runs(huge, huge)).a == 1.7e308


def test_what_only_one_has_is_listed_with_the_reason_if_there_is_one() -> None:
    a = run(entry({"avg_tps": 1.0, "ttft_ms": {"p50": 5.0}}), entry({"x": 1.0}, name="memory"))
    b = run(
        entry({"avg_tps": 1.0}, not_measured={"ttft_ms": "the server does not stream"}),
        entry({}, name="memory", skipped="no readings"),
        entry({"y": 2}, name="other"),
    )
    found = compare_runs(a, b)
    assert [metric.metric for metric in found.common] == ["avg_tps"]
    assert [(m.benchmark, m.metric, m.a, m.b, m.ratio, m.n_a, m.n_b, m.notes) for m in found.alone] == [
        ("throughput", "ttft_ms.p50", 5.0, None, None, 1, 0, ("only in A; B: the server does not stream",)),
        ("memory", "x", 1.0, None, None, 1, 0, ("only in A; B: no readings",)),
        ("other", "y", None, 2.0, None, 0, 1, ("only in B",)),
    ]
    assert differing(a, b) == {"memory: skipped": (None, "no readings"), "other: entries": (0, 1)}


def test_a_metric_that_nobody_defined_is_compared_without_unit_and_direction() -> None:
    metric = only(compare_runs(run(entry({"wobble": 2})), run(entry({"wobble": 3}))))
    assert (metric.ratio, metric.unit, metric.direction, metric.definition_a) == (1.5, "", "unknown", None)


def test_the_order_is_the_catalogues_then_by_name() -> None:
    names = {"zeta": 1, "max_tps": 1, "ttft_ms": {"p99": 1, "mean": 1}, "alpha": 1, "itl_ms": {"p50": 1}}
    a = run(entry(names, name="b"), entry({"x": 1}, name="a"))
    found = compare_runs(a, a)
    assert [(m.benchmark, m.metric) for m in found.common] == [
        *(("b", name) for name in ("ttft_ms.mean", "ttft_ms.p99", "itl_ms.p50", "max_tps", "alpha", "zeta")),
        ("a", "x"),
    ]
    assert CATALOGUE[0].name == "ttft_ms"


def test_another_version_of_a_benchmark_is_no_partner_to_divide_by() -> None:
    a, b = run(entry(test_version="1.0.0")), run(entry(test_version="2.0.0"))
    metric = only(compare_runs(a, b))
    assert (metric.a, metric.b, metric.ratio, metric.notes) == (40.0, 40.0, None, ("different test_version",))
    assert differing(a, b) == {"throughput: test_version": ("1.0.0", "2.0.0")}


def test_a_name_that_only_one_run_defines_is_not_divided() -> None:
    found = only(compare_runs(old_run(entry()), run(entry())))
    assert (found.ratio, found.definition_a, found.notes) == (None, None, ("definition unknown in A",))
    # Two runs that say equally little are compared by name: there is nothing else.
    both = only(compare_runs(old_run(entry()), old_run(entry())))
    assert (both.ratio, both.definition_a, both.unit, both.notes) == (1.0, None, "token/s", ())
    undefined = only(compare_runs(old_run(entry({"wobble": 1})), run(entry({"wobble": 1}))))
    assert undefined.ratio == 1.0


def test_who_counted_tokens_is_noted_where_tokens_are_counted() -> None:
    metrics = {"avg_tps": 1, "ttft_ms": {"p50": 1}, "tpot_ms": {"p50": 1}, "wobble": 1}
    a, b = (run(entry(metrics, token_count_source=source)) for source in ("server_usage", "client_tokenizer"))
    noted = {metric.metric: metric.notes for metric in compare_runs(a, b).common}
    other = ("different token_count_source",)
    assert noted == {"ttft_ms.p50": (), "tpot_ms.p50": other, "avg_tps": other, "wobble": other}
    assert differing(a, b)["throughput: token_count_source"] == ("server_usage", "client_tokenizer")


def test_settings_that_differ_within_a_run_make_cases() -> None:
    def sweep(*levels: int, factor: float) -> Subject:
        return run(
            *(entry({"avg_tps": factor * n}, settings={"concurrency": n, "max_tokens": 64}) for n in levels)
        )

    found = compare_runs(sweep(1, 8, 8, factor=10), sweep(8, 16, factor=20))
    assert [(m.benchmark, m.a, m.b, m.n_a) for m in found.common] == [
        ("throughput [concurrency=8]", 80.0, 160.0, 2)
    ]
    assert [(m.benchmark, m.a, m.b) for m in found.alone] == [
        ("throughput [concurrency=1]", 10.0, None),
        ("throughput [concurrency=16]", None, 320.0),
    ]


def test_settings_model_machine_and_software_that_differ_are_named() -> None:
    a = run(
        entry(settings={"concurrency": 4, "max_tokens": 64}),
        config={"engine_options": {"seed": 0, "model": "m"}},
        system_info={"gpu": {"model": "H100", "vram_gb": 80}, "cuda_version": "12.4", "os": "Linux"},
        labels={"team": "a"},
    )
    b = run(
        entry(settings={"concurrency": 8, "max_tokens": 64}),
        model="n",
        config={"engine_options": {"seed": 0, "model": "n"}},
        system_info={"gpu": None, "gpus": [{"model": "A"}, {"model": "B"}], "cuda_version": "12.4", "os": "Linux"},
        timestamp="2025-01-01T00:00:00",
        total_time_seconds=3,
    )
    assert differing(a, b) == {
        "model": ("m", "n"),
        "config.engine_options.model": ("m", "n"),
        "system_info.gpu.model": ("H100", None),
        "system_info.gpu.vram_gb": (80, None),
        "system_info.gpus.0.model": (None, "A"),
        "system_info.gpus.1.model": (None, "B"),
        "labels.team": ("a", None),
        "throughput: concurrency": (4, 8),
    }


def test_other_settings_are_noted_beside_the_ratio() -> None:
    a = run(entry({"avg_tps": 40.0, "x": 1}, settings={"concurrency": 4, "max_tokens": 64, "load": {"s": 1}}))
    b = run(entry({"avg_tps": 80.0, "x": 1}, settings={"concurrency": 8, "max_tokens": 64, "load": {"s": 2}}))
    found = compare_runs(a, b).common
    assert [metric.notes for metric in found] == [("different settings: concurrency, load.s",)] * 2
    assert found[0].ratio == 2.0
    (metric,) = compare_runs(a, old_run(entry())).common
    assert metric.notes == ("definition unknown in B",)
    many = (run(entry(settings={f"s{n}": side for n in range(9)})) for side in (1, 2))
    assert only(compare_runs(*many)).notes == ("different settings: s0, s1, s2, s3, s4 and 4 more",)


def test_what_came_out_of_a_run_is_no_difference_of_how_it_was_made() -> None:
    def made(n: int) -> Subject:
        return run(
            entry(),
            config={"prompt_salt": f"salt{n}", "seed": 0},
            engine_info={"name": "e", "retries": n, "answers_ended_early": n, "version": n},
            **({"stopped": "interrupted", "outputs_incomplete": "the disk is full"} if n else {}),
        )

    assert differing(made(0), made(1)) == {"engine_info.version": (0, 1)}


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ((), {"throughput/avg_tps", "throughput/ttft_ms.p50", "latency/ttft_ms.p50"}),
        (("ttft_ms.*",), {"throughput/ttft_ms.p50", "latency/ttft_ms.p50"}),
        (("throughput/*",), {"throughput/avg_tps", "throughput/ttft_ms.p50"}),
        (("latency/*", "avg_tps"), {"throughput/avg_tps", "latency/ttft_ms.p50"}),
        (("[a]vg_tps", "?vg_tps", "AVG_TPS"), set()),
    ],
)
def test_patterns_choose_metrics(patterns: tuple[str, ...], names: set[str]) -> None:
    a = run(entry({"avg_tps": 1, "ttft_ms": {"p50": 1}}), entry({"ttft_ms": {"p50": 1}}, name="latency"))
    assert {f"{m.benchmark}/{m.metric}" for m in compare_runs(a, a, metrics=patterns).common} == names


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"results": None},
        {"results": [1, None, {}, {"metrics": None}, {"metrics": {"ok": True, "x": None}}]},
        {"results": [{"test_name": 5, "test_version": {}, "passed": "yes", "settings": [], "not_measured": "x"}]},
        {"results": [{"settings": {"": {"": 1}}, "token_count_source": 3, "skipped": 1}], "engine_info": 7},
        {
            "results": [{"test_name": "t", "metrics": {"a": {"b": 1}, "a.b": 2}}],
            "model": {"deep": [[1], {"k": 2}]},
        },
        {"system_info": "none", "labels": 1, "config": [{"a": 1}], "x": math.nan},
    ],
)
def test_odd_documents_are_compared_without_a_word(odd: dict[str, Any]) -> None:
    for a, b in ((odd, odd), (odd, {"model": "m"}), ({"model": "m"}, odd)):
        found = compare_runs(subject(a), subject(b))
        assert all(metric.ratio in {None, 1.0} for metric in (*found.common, *found.alone))


def test_a_skipped_entry_is_not_a_failed_one() -> None:
    measured, skipped = entry({"a": 1}, name="memory"), entry({"a": 2}, name="memory", skipped="no readings")
    found = differing(run(measured), run(skipped | {"passed": None}))
    assert found == {"memory: skipped": (None, "no readings")}


def test_what_was_interrupted_is_left_out_unless_asked_for() -> None:
    whole = run(entry({"avg_tps": 40.0}))
    cut = run(entry({"avg_tps": 50.0}, passed=False, incomplete="43 of 400 requests"))
    found = compare_runs(whole, cut)
    (alone,) = found.alone
    assert (found.common, alone.notes) == ((), ("only in A; B: interrupted after 43 of 400 requests",))
    assert differing(whole, cut)["throughput: incomplete"] == (None, "43 of 400 requests")
    asked = only(compare_runs(whole, cut, incomplete=True))
    assert (asked.ratio, asked.notes) == (1.25, ("1 of 1 failed in B",))
    repeated = run(entry({"avg_tps": 44.0}), entry({"avg_tps": 50.0}, passed=False, incomplete="1 of 2 requests"))
    assert only(compare_runs(whole, repeated)).b == 44.0
