from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from kitt_core.errors import InvalidDocumentError
from kitt_core.runs import BenchmarkRow, HardwareRow, MetricRow, RunRow, clean_text, codec, derive_rows
from kitt_core.testing.documents import HOSTILE, MINIMAL, STANDARD, UNFIT, multiplying_names, run


def metrics_of(**metrics: Any) -> dict[str, float | None]:
    return dict(derive_rows(run(results=[{"metrics": metrics}])).benchmarks[0].metrics)


def test_a_minimal_document_has_the_defaults() -> None:
    rows = derive_rows(codec.parse(MINIMAL))
    assert rows.run == RunRow("m", "e", "", None, False, 0, 0, 0, 0.0, "")
    assert (rows.benchmarks, rows.hardware, rows.labels, rows.problems) == ((), None, (), ())


def test_an_empty_entry_has_the_defaults() -> None:
    rows = derive_rows(run(results=[{}]))
    assert rows.benchmarks == (BenchmarkRow("", "1.0.0", 1, False, None, ()),)


def test_a_standard_document_is_derived_whole() -> None:
    rows = derive_rows(codec.parse(STANDARD))
    assert rows.run.timestamp == datetime(2025, 7, 30, 10, 6, 27, 799149, tzinfo=UTC)
    first = rows.benchmarks[0]
    assert (first.test_name, first.test_version, first.run_number, first.passed) == (
        "throughput",
        "1.0.0",
        1,
        True,
    )
    assert first.metrics[0] == MetricRow("total_iterations", 5.0)
    assert rows.hardware == HardwareRow(
        gpu_model="NVIDIA H100 80GB HBM3",
        gpu_vram_gb=80,
        gpu_count=2,
        cpu_model="AMD EPYC 9654 96-Core Processor",
        cpu_cores=96,
        ram_gb=1024,
        environment_type="bare_metal",
        fingerprint="h100-80gb-2x_epyc-9654-96c_1024gb-ddr5_linux-6.8",
    )


def test_nested_metrics_are_dotted_and_other_types_are_left_out() -> None:
    given = {"a": 1, "b": {"c": 2.5, "d": {"e": 3}, "f": {}}, "t": True, "s": "1", "n": None, "l": [1]}
    assert metrics_of(**given) == {"a": 1.0, "b.c": 2.5, "b.d.e": 3.0}


def test_metrics_are_doubles_or_none() -> None:
    found = metrics_of(
        nan=math.nan, inf=math.inf, huge=10**400, low=-(10**400), long=Decimal("-" + "9" * 5000), i=7
    )
    assert found == {"nan": None, "inf": math.inf, "huge": math.inf, "low": -math.inf, "long": -math.inf, "i": 7.0}
    assert type(found["i"]) is float


def test_equal_names_are_both_kept() -> None:
    rows = derive_rows(run(results=[{"metrics": {"a": {"b": 1}, "a.b": 2, "a\0": 3, "a\ud800": 4}}]))
    assert rows.benchmarks[0].metrics == (("a.b", 1.0), ("a.b", 2.0), ("a\ufffd", 3.0), ("a\ufffd", 4.0))


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain", "plain"),
        ("é🦙\uffff", "é🦙\uffff"),
        ("a\0b", "a\ufffdb"),
        ("\ud800", "\ufffd"),
        ("é\udfff\0", "é\ufffd\ufffd"),
    ],
)
def test_clean_text_replaces_what_databases_refuse(text: str, clean: str) -> None:
    assert clean_text(text) == clean


def test_all_text_of_rows_is_clean() -> None:
    for what in ("U+0000", "lone surrogates"):
        rows = repr(derive_rows(codec.parse(HOSTILE[what])))
        assert r"\x00" not in rows
        assert r"\ud8" not in rows
        assert r"\udf" not in rows


@pytest.mark.parametrize(
    "document",
    [
        *map(codec.parse, HOSTILE.values()),
        run(total_time_seconds=math.nan, results=[{"metrics": {"x": math.nan, "y": [1], "z": True}}]),
        run(labels={"list": [1], "none": None, "nan": math.nan, "object": {}}),
        run(labels=["gpu"]),
    ],
)
def test_what_an_import_takes_has_no_problem_in_a_copy_or_restore(document: dict[str, Any]) -> None:
    assert derive_rows(document).problems == derive_rows(document, strict=False).problems == ()


def test_labels_are_texts_and_the_documents_own_win() -> None:
    document = run(
        labels={"team": "red", "n": 8, "flag": False, "real": 1.5, "none": None, "list": [], "machine": "own"},
        system_info={"machine": "m1", "software": "s1", "ram_gb": 4},
    )
    expected = {"machine": "own", "software": "s1", "team": "red", "n": "8", "flag": "false", "real": "1.5"}
    assert dict(derive_rows(document).labels) == expected


@pytest.mark.parametrize("gpu", [None, {}])
def test_without_a_gpu_there_are_no_gpu_values(gpu: object) -> None:
    hardware = derive_rows(run(system_info={"gpu": gpu, "ram_gb": 8})).hardware
    assert hardware == HardwareRow(None, None, None, None, None, 8, None, None)


def test_a_gpu_without_count_is_one() -> None:
    hardware = derive_rows(run(system_info={"gpu": {"model": "A100"}})).hardware
    assert hardware is not None
    assert hardware.gpu_count == 1


def test_a_message_names_path_value_and_what_was_expected() -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        derive_rows(run(results=[{}, {"passed": "false"}]))
    assert str(caught.value) == '$.results[1].passed is "false", expected true or false'


@pytest.mark.parametrize(
    "value", [2**31, -(2**31) - 1, 10**5000, 1.0, "1", True, [], Decimal("9" * 5000)], ids=codec.shown
)
def test_an_integer_column_takes_32_bits_only(value: object) -> None:
    with pytest.raises(InvalidDocumentError, match=r"\$\.total_benchmarks is .*, expected an integer"):
        derive_rows(run(total_benchmarks=value))
    rows = derive_rows(run(total_benchmarks=value), strict=False)
    assert rows.run.total_benchmarks is None
    assert len(rows.problems) == 1


def test_lenient_rows_say_what_did_not_fit() -> None:
    rows = derive_rows(codec.parse(UNFIT["wrong types"]), strict=False)
    assert rows.run == RunRow(None, None, None, None, None, None, 0, 1, None, None)
    paths = [problem.split(" is ")[0] for problem in rows.problems]
    assert paths[:8] == [
        "$.model",
        "$.engine",
        "$.suite_name",
        "$.timestamp",
        "$.passed",
        "$.total_benchmarks",
        "$.total_time_seconds",
        "$.kitt_version",
    ]
    assert set(paths[8:]) == {
        "$.results[0]",
        "$.results[1].test_name",
        "$.results[1].metrics",
        "$.system_info.gpu",
        "$.system_info.ram_gb",
    }


def test_a_document_with_too_many_entries_numbers_or_labels_is_refused_or_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for limit, most in {"MAX_ENTRIES": 5, "MAX_LABELS": 6, "MAX_NUMBERS": 7}.items():
        monkeypatch.setattr(f"kitt_core.runs.rows.{limit}", most)
    full = {"a": 1, "b": {"c": 2, "text": ""}, "d": 3, "e": True, "f": None}
    derive_rows(run(results=[{"metrics": full}] * 2 + [{"metrics": {"x": 1}}] + [{}] * 2))
    derive_rows(run(labels={str(i): i for i in range(6)}))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"results": [{}] * 6}, "$.results has 6 entries, expected at most 5"),
        ({"labels": {str(i): i for i in range(7)}}, "$.labels has 7 labels, expected at most 6"),
        (
            {"results": [{"metrics": full}] * 2 + [{"metrics": {"b": {"x": 1, "y": 2}}}]},
            "$.results[2].metrics: all entries together have more than 7 numbers",
        ),
    ]
    for fields, line in cases:
        with pytest.raises(InvalidDocumentError) as caught:
            derive_rows(run(**fields))
        assert line in str(caught.value)
        (problem,) = derive_rows(run(**fields), strict=False).problems
        assert line in problem


def test_problems_are_limited() -> None:
    problems = derive_rows(run(results=[1] * 500), strict=False).problems
    assert len(problems) == 101
    assert problems[-1] == "400 more fields do not fit"


def test_names_that_nesting_makes_a_little_longer_are_all_kept() -> None:
    sizes = {f"{i}": {"ttft_ms": {f"p{q}": 1.5 for q in range(20)}} for i in range(2000)}
    rows = derive_rows(run(results=[{"metrics": {"by_concurrency": sizes}}]))
    assert len(rows.benchmarks[0].metrics) == 40_000


def test_a_long_key_without_a_number_is_not_a_metric() -> None:
    rows = derive_rows(run(results=[{"metrics": {"x" * 5000: "text", "y" * 5000: {"z": "text"}, "n": 1}}]))
    assert rows.benchmarks[0].metrics == (("n", 1.0),)


@pytest.mark.parametrize("strict", [True, False])
def test_what_is_derived_grows_as_the_document_does(strict: bool) -> None:
    fillers: dict[str, Callable[[int], dict[str, Any]]] = {
        "names": lambda size: codec.parse(multiplying_names(size)),
        "long objects": lambda size: nested_metrics("k" * (size // 250), 249, size // 20),
        "many objects": lambda size: run(
            results=[{"metrics": {"o" * 990: {str(i): {"a": 1} for i in range(size // 16)}}}]
        ),
        "beyond ASCII": lambda size: nested_metrics("\N{LLAMA}", 200, size // 20),
        "labels": lambda size: run(labels={f"{i:x}": {"k" * 90: 1} for i in range(size // 110)}),
        "wrong entries": lambda size: run(results=[1] * (size // 3)),
        "one long text": lambda size: run(results=[{"test_name": "t" * size, "metrics": {"x" * size: 1}}]),
    }
    for what, fill in fillers.items():
        for size in (40_000, 80_000):
            document = fill(size)
            tracemalloc.start()
            with suppress(InvalidDocumentError):
                derive_rows(document, strict=strict)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 12 * size + (3 << 20), (what, size, peak)


def nested_metrics(name: str, levels: int, numbers: int) -> dict[str, Any]:
    metrics: dict[str, Any] = {str(i): i for i in range(numbers)}
    for _ in range(levels):
        metrics = {name: metrics}
    return run(results=[{"metrics": metrics}])


def test_a_mapping_that_json_cannot_express_is_named_without_repeating_its_keys() -> None:
    document: Any = {"k" * 3000: {1, 2}}
    for _ in range(200):
        document = {"k" * 3000: document}
    tracemalloc.start()
    with pytest.raises(InvalidDocumentError):
        codec.encode(run(x=document))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
