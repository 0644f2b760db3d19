"""Agreement: this store and the one in memory give the same answers to the same queries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import pytest

from kitt_core.runs.checking import check_run
from kitt_core.runs.grouping import GROUP_FIELDS, STATISTICS
from kitt_core.runs.model import CheckedRun
from kitt_core.runs.query import ORDER_FIELDS
from kitt_core.storage.contract import ResultStore
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing._storage.questions import StoreTests
from kitt_core.testing.documents import HOSTILE, STANDARD, UNFIT

_MODELS: Final = (
    "meta-llama/Llama-3.1-8B",
    "meta-llama/Llama-3.1-70B",
    "Z",
    "a",
    "é",
    "模",
    "\uff21",
    "😀",
    "a_b",
    "100%",
)
_ENGINES: Final = ("vllm", "llama_cpp", "ollama", "VLLM")
_TIMES: Final = (
    "2025-01-01T12:00:00Z",
    "2025-01-01T14:00:00+02:00",
    "2025-01-31T23:59:59.999999",
    "2025-02-01",
    "2024-12-31T20:00:00-08:00",
    None,
    "2025-06-15T08:30:00.000001Z",
)
_GPUS: Final = ("NVIDIA H100", "NVIDIA A100", None, "AMD MI300X", "")


def fill(store: ResultStore) -> None:
    """Save the corpus in one call."""
    store.save_checked(corpus())


def reference() -> MemoryStore:
    """Return a store in memory that holds the corpus."""
    store = MemoryStore()
    fill(store)
    return store


@cache
def corpus() -> tuple[CheckedRun, ...]:
    """Return the runs: ids and times are fixed, and ids sort differently from times."""
    documents = [
        *_documents(),
        STANDARD,
        *(HOSTILE[w] for w in ("not finite", "beyond a double", "metric shapes")),
    ]
    start = datetime(2025, 7, 1, tzinfo=UTC)
    return tuple(
        check_run(
            document,
            run_id=f"{'zyAB_0'[i % 6]}{i * 7 % 43:02}",
            created_at=start + timedelta(seconds=i // 3, microseconds=i % 2),
            strict=False,
        )
        for i, document in enumerate([*documents, *UNFIT.values()])
    )


def _documents() -> Iterator[bytes]:
    for i in range(30):
        document: dict[str, Any] = {
            "model": _MODELS[i % len(_MODELS)],
            "engine": _ENGINES[i * i % len(_ENGINES)] if i % 7 else "ollama",
            "passed": i % 3 == 0,
            "results": list(_results(i)),
        }
        if i % 4:
            document["suite_name"] = ("quick", "standard", "Quick")[i % 3]
        if (time := _TIMES[i % len(_TIMES)]) is not None:
            document["timestamp"] = time
        if i % 5:
            document["total_time_seconds"] = (i * 37 % 11) / 4
            document["kitt_version"] = f"1.{i % 3}.0"
        if i % 6:
            document["system_info"] = _system(i)
        if i % 3 == 1:
            document["labels"] = {"team": ("red", "blue")[i % 2], "n": i % 4}
        yield json.dumps(document).encode()


def _results(i: int) -> Iterator[dict[str, Any]]:
    # Multiples of 1/4, so that sums and means are exact in any order of addition, and ties are ties everywhere.
    for number in range(i % 4):
        metrics: dict[str, Any] = {"avg_tps": (i * 13 % 29) * 2 + number / 4, "ok": True}
        if i % 5 == 1:
            metrics["avg_tps"] = (float("nan"), float("inf"), 45.5)[number]
        yield {"test_name": "throughput", "run_number": number + 1, "passed": True, "metrics": metrics}
    if i % 2:
        tail = {"p50": 10.5 + i % 4, "p99": 20.25 + i}
        yield {"test_name": "latency", "passed": i % 3 == 0, "metrics": {"avg_tps": 5 + i % 6, "ttft_ms": tail}}
    if i % 9 == 0:
        yield {"test_name": "memory", "metrics": {"peak_gb": -0.5 * i}}


def _system(i: int) -> dict[str, Any]:
    gpu = _GPUS[i % len(_GPUS)]
    system: dict[str, Any] = {"gpu": None if gpu is None else {"model": gpu, "vram_gb": 80}, "ram_gb": 64}
    if i % 4 != 1:
        system["environment_type"] = ("docker", "bare_metal")[i % 2]
    if i % 4 > 1:
        system["fingerprint"] = f"fp-{i % 3}"
        system["machine"] = f"machine-{i % 2}"
    return system


_FILTERS: Final[tuple[Mapping[str, Any], ...]] = (
    {},
    {"model": "meta-llama/*"},
    {"model": ["a", "é", "😀"]},
    {"model": "a_b"},
    {"model": "*%"},
    {"model": "*"},
    {"engine": "vllm"},
    {"engine": ["VLLM", "o*a"]},
    {"engine": "*"},
    {"suite_name": ""},
    {"suite_name": ["quick", "standard"]},
    {"kitt_version": "1.*.0"},
    {"passed": True},
    {"passed": False},
    {"since": "2025-01-01T12:00:00Z"},
    {"until": "2025-01-01T12:00:00Z"},
    {"since": "2025-01-01", "until": "2025-02-01"},
    {"since": "2025-06-15T08:30:00.000001"},
    {"gpu_model": "NVIDIA *"},
    {"gpu_model": ""},
    {"gpu_model": "*"},
    {"environment_type": "docker"},
    {"fingerprint": ["fp-1", "fp-2"]},
    {"labels": {"team": "red"}},
    {"labels": {"team": "*", "n": ["1", "2"]}},
    {"labels": {"machine": "machine-0"}},
    {"metrics": "avg_tps>40"},
    {"metrics": "avg_tps!=45.5"},
    {"metrics": "throughput/avg_tps<=20"},
    {"metrics": ["latency/ttft_ms.p99>=30", "avg_tps<10"]},
    {"metrics": "peak_gb<0"},
    {"metrics": "peak_gb=0"},
    {"metrics": "ok=1"},
    {"metrics": "x>0"},
    {"metrics": ["avg_tps>40", "avg_tps<=40"]},
    {"search": "LLAMA"},
    {"search": "h100"},
    {"search": "FP-"},
    {"search": "é"},
    {"id": "z*"},
    {"id": ["A14", "*1", "none"]},
    {"engine": "ollama", "passed": True, "metrics": "avg_tps>5", "since": "2025-01-01"},
    {"model": "meta*", "gpu_model": "*H100", "suite_name": "*", "search": "m"},
    {"model": []},
)
_MIXTURES: Final[tuple[Mapping[str, Any], ...]] = (
    {"metrics": "avg_tps>5", "engine": ["ollama", "llama_cpp"]},
    {"metrics": ["throughput/avg_tps>=0", "avg_tps!=45.5"], "kitt_version": "1.*"},
    {"metrics": "avg_tps<45", "gpu_model": "*", "since": "2024-01-01"},
    {"metrics": "latency/ttft_ms.p99>20", "passed": False},
    {"search": "a", "metrics": "avg_tps>=0", "until": "2025-06-01"},
    {"labels": {"n": "*"}, "suite_name": ["", "standard", "quick"]},
    {"gpu_model": "NVIDIA*", "environment_type": "*", "passed": False},
)
"""A condition on a metric with other filters, and filters whose columns are in different tables."""
_ORDERS: Final = (
    *ORDER_FIELDS,
    "metric:avg_tps",
    "metric:throughput/avg_tps",
    "metric:ttft_ms.p99",
    "metric:none",
)
_METRICS: Final = ("avg_tps", "throughput/avg_tps", "ttft_ms.p99", "x", "none")
_GROUPS: Final = (
    *((name,) for name in GROUP_FIELDS),
    ("engine", "model"),
    ("passed", "gpu_model", "suite_name"),
    ("test_name", "engine"),
    ("fingerprint", "test_name", "passed"),
    ("label:team",),
    ("label:n", "month", "machine"),
    ("week", "test_name", "label:none"),
)


class AgreementContract(StoreTests):
    """Forty runs and every kind of query."""

    def test_forty_filters_find_what_the_reference_finds(self, store: ResultStore) -> None:
        fill(store)
        with reference() as expected:
            sizes = [expected.count(filters) for filters in _FILTERS]
            assert sum(0 < size < sizes[0] for size in sizes) > 30, "the queries don't distinguish enough runs"
            for filters, size in zip(_FILTERS, sizes, strict=True):
                listing = store.list_results(filters, order_by="model")
                assert list(listing) == list(expected.list_results(filters, order_by="model")), filters
                assert store.count(filters) == size, filters
                assert {run.id for run in store.scan(filters)} == {run.id for run in expected.scan(filters)}, (
                    filters
                )

    def test_every_order_of_every_page_is_that_of_the_reference(self, store: ResultStore) -> None:
        fill(store)
        with reference() as expected:
            for order in (sign + name for name in _ORDERS for sign in ("", "-")):
                for limit, offset in ((None, 0), (5, 0), (9, 13), (None, 30)):
                    given = store.list_results(order_by=order, limit=limit, offset=offset)
                    wanted = expected.list_results(order_by=order, limit=limit, offset=offset)
                    assert [s.id for s in given] == [s.id for s in wanted], (order, limit, offset)
                    assert given.next_cursor is None or wanted.next_cursor is not None, (order, limit, offset)

    def test_filtered_orders_are_those_of_the_reference(self, store: ResultStore) -> None:
        fill(store)
        with reference() as expected:
            for i, filters in enumerate(_FILTERS):
                order = ("-" if i % 2 else "") + _ORDERS[i % len(_ORDERS)]
                given = store.list_results(filters, order_by=order, limit=6)
                assert list(given) == list(expected.list_results(filters, order_by=order, limit=6)), (
                    filters,
                    order,
                )

    def test_filtered_orders_are_walked_page_by_page_as_in_the_reference(self, store: ResultStore) -> None:
        fill(store)
        orders = [sign + name for name in _ORDERS for sign in ("", "-")]
        with reference() as expected:
            for i, order in enumerate(orders):
                filters = _MIXTURES[i % len(_MIXTURES)]
                wanted = [summary.id for summary in expected.list_results(filters, order_by=order)]
                assert len(wanted) > 5, (filters, order)
                walked: list[str] = []
                cursor = None
                while not walked or cursor is not None:
                    page = store.list_results(filters, order_by=order, limit=5, after=cursor)
                    walked += [summary.id for summary in page]
                    cursor = page.next_cursor
                    assert len(walked) <= len(wanted), (filters, order)
                assert walked == wanted, (filters, order)

    def test_query_gives_the_documents_of_the_reference(self, store: ResultStore) -> None:
        fill(store)
        with reference() as expected:
            for filters in _FILTERS[::4]:
                given = store.query(filters, order_by="-engine", limit=10)
                assert repr(given) == repr(expected.query(filters, order_by="-engine", limit=10)), filters

    def test_every_grouping_is_that_of_the_reference(self, store: ResultStore) -> None:
        fill(store)
        with reference() as expected:
            for group in _GROUPS:
                given = store.aggregate(group, _METRICS, statistics=STATISTICS)
                wanted = expected.aggregate(group, _METRICS, statistics=STATISTICS)
                assert _close(given) == _close(wanted), group

    def test_filtered_groupings_are_those_of_the_reference(self, store: ResultStore) -> None:
        fill(store)
        with reference() as expected:
            for i, filters in enumerate(_FILTERS):
                group, metric = _GROUPS[i % len(_GROUPS)], _METRICS[i % len(_METRICS)]
                given = store.aggregate(group, metric, statistics=("avg", "p90", "count"), filters=filters)
                wanted = expected.aggregate(group, metric, statistics=("avg", "p90", "count"), filters=filters)
                assert _close(given) == _close(wanted), (filters, group, metric)


def _close(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with approximate numbers, because the order of addition may differ."""
    return [
        {
            name: pytest.approx(value, rel=1e-9, abs=1e-9) if type(value) is float else value
            for name, value in row.items()
        }
        for row in rows
    ]
