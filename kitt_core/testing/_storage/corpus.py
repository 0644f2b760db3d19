"""Forty runs that differ in everything a query can look at, for the tests that ask many questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from kitt_core.runs.checking import check_run
from kitt_core.runs.model import CheckedRun
from kitt_core.storage.contract import ResultStore
from kitt_core.storage.memory import MemoryStore
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
    """Return the runs: ids and times are fixed, ids sort in another order than times."""
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
    # Multiples of 1/4: sums and means are exact in any order of addition, so ties are ties everywhere.
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
