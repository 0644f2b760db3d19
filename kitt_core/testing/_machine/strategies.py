"""Strategies: documents, names, ids, times and queries, including hostile ones.

Names come from one small pool, so that runs collide and queries match. Metrics are multiples of a quarter: their
sums and means are exact in any order of addition, so that what is equal here is equal in a database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from hypothesis import strategies as st

from kitt_core.runs import codec
from kitt_core.runs.grouping import GROUP_FIELDS, STATISTICS
from kitt_core.runs.query import ORDER_FIELDS, MetricCondition
from kitt_core.testing.documents import HOSTILE, HOSTILE_NAMES, REFUSED, UNFIT

__all__ = [
    "aggregations",
    "attachments",
    "created_ats",
    "documents",
    "filters",
    "ids",
    "misfits",
    "orders",
    "refused",
    "unknown_ids",
]

T = TypeVar("T")


def _named(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Return the strategy without its description, which is long, and which Hypothesis prints for each rule."""

    @st.composite
    def drawn(draw: st.DrawFn) -> T:
        return draw(strategy)

    return drawn()


_PLAIN: Final = ("a", "A", "ab", "a_b", "org/model-8b", "org/model-70b", "é", "É", "")
_NAMES: Final = st.sampled_from(_PLAIN) | st.sampled_from(sorted(HOSTILE_NAMES.values()))
_BENCHMARKS: Final = st.sampled_from(["throughput", "latency", "t", "", "a/b", "None"])
_METRICS: Final = st.sampled_from(["avg_tps", "x", "ttft_ms", "a/b", "%", ""])
_METRIC_NAMES: Final = st.sampled_from(
    ["avg_tps", "throughput/avg_tps", "ttft_ms.p99", "x", "t/x", "/x", "a/b", "a/b/x", "%", "None/x", "none"]
)
_TIMES: Final = (
    "2025-01-01T12:00:00Z",
    "2025-01-01T14:00:00+02:00",
    "2025-01-01T12:00:00.000001",
    "2024-12-31",
    "2025-06-01T00:00:00-08:00",
    "0001-01-01T00:00:00+00:00",
    "9999-12-31T23:59:59.999999Z",
)
# A store without rows parses every document for every listing: four megabytes would take most of the time.
_HOSTILE: Final = {what: document for what, document in HOSTILE.items() if what != "long text"}
# Drawn by their names, so that the text of the strategy does not contain the documents.
_hostile = st.sampled_from(list(_HOSTILE)).map(_HOSTILE.__getitem__)

_quarters = st.integers(-160, 160).map(lambda n: n / 4)
_numbers = st.one_of(
    _quarters, _quarters, st.integers(-9, 9), st.sampled_from([float("nan"), float("inf"), float("-inf")])
)
_metrics = st.dictionaries(
    _METRICS,
    st.one_of(
        _numbers,
        st.sampled_from([True, None, "5", [1]]),
        st.dictionaries(st.sampled_from(["p50", "p99"]), _numbers, max_size=2),
    ),
    max_size=3,
)
_entries = st.lists(
    st.fixed_dictionaries(
        {"metrics": _metrics},
        optional={"test_name": _BENCHMARKS, "passed": st.booleans(), "run_number": st.integers(1, 3)},
    ),
    max_size=3,
)
_systems = st.fixed_dictionaries(
    {},
    optional={
        "gpu": st.none() | st.fixed_dictionaries({"model": _NAMES, "vram_gb": st.just(80)}),
        "ram_gb": st.just(64),
        "environment_type": st.sampled_from(["docker", "bare_metal", ""]),
        "fingerprint": _NAMES,
        "machine": st.sampled_from(["m1", "m2"]),
    },
)
_LABELS: Final = ("team", "machine", "", "a=b")
_labels = st.dictionaries(
    st.sampled_from(_LABELS), st.one_of(_NAMES, st.integers(0, 3), st.booleans(), st.none()), max_size=2
)
_mappings: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"model": _NAMES, "engine": _NAMES},
    optional={
        "suite_name": _NAMES | st.none(),
        "kitt_version": st.sampled_from(["1.7.0", "1.8.0", "2.0.0"]),
        "timestamp": st.sampled_from([*_TIMES, "", None]),
        "passed": st.booleans() | st.none(),
        "total_time_seconds": _numbers,
        "total_benchmarks": st.integers(-(2**31), 2**31 - 1),
        "labels": _labels,
        "system_info": _systems,
        "results": _entries,
        "future": st.just({"unknown": [None, {"k": 1.10}]}),
    },
)


def _spelled(mapping: dict[str, Any], indent: int | None, start: bytes, end: bytes) -> bytes:
    return start + json.dumps(mapping, indent=indent).encode() + end


_bytes = st.builds(
    _spelled,
    _mappings,
    st.sampled_from([None, 0, 2]),
    st.sampled_from([b"", b"\xef\xbb\xbf", b" \n"]),
    st.sampled_from([b"", b"\n", b"\r\n\t "]),
)

documents: st.SearchStrategy[bytes | str | Mapping[str, Any]] = _named(
    st.one_of(_bytes, _mappings, _bytes.map(lambda data: data.removeprefix(b"\xef\xbb\xbf").decode()), _hostile)
)
"""What is accepted: bytes in many spellings, text, mappings, and hostile documents."""

misfits: st.SearchStrategy[bytes] = _named(
    st.one_of(
        st.sampled_from(list(UNFIT)).map(UNFIT.__getitem__),
        _entries.map(
            lambda entries: json.dumps(
                {"model": 5, "results": [{**entry, "test_name": 7} for entry in entries]}
            ).encode()
        ),
    )
)
"""What is accepted only with ``strict=False``, or read with fields missing."""

_REFUSED: Final = {case.name: case.document for case in REFUSED}
refused: st.SearchStrategy[Any] = _named(st.sampled_from(list(_REFUSED)).map(_REFUSED.__getitem__))
"""What is never accepted."""

_IDS: Final = ("a", "A", "a.b", "a_b", "..", "-x", "CON", "run.json", "0", "x" * 128)
ids = st.sampled_from(_IDS)
"""So few that some are taken."""

unknown_ids = st.sampled_from(["", "unknown", "*", "%", "a*", "../a", "a\0", "\ud800", "é" * 300])
"""No run has them."""

created_ats = st.none() | st.sampled_from(
    [
        datetime(2025, 1, 1, tzinfo=UTC),
        datetime(2025, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        datetime(2025, 7, 30, 10, 6, 27, 799149),  # noqa: DTZ001  # naive is read as UTC
        datetime.fromisoformat("2025-07-30T23:59:59.999999-11:30"),
        datetime(1, 1, 1, tzinfo=UTC),
    ]
)

attachments: st.SearchStrategy[dict[str, bytes]] = st.dictionaries(
    st.sampled_from(["results_chunk_0000.jsonl.gz", "b", "A", "é 100%", ".hidden", "metrics.json", "run.json"]),
    st.sampled_from([b"", b"\r\n\0", bytes(range(256)) * 40]),
    max_size=3,
)

_patterns = st.one_of(
    _NAMES,
    _NAMES,
    st.sampled_from(["*", "a*", "*b", "org/*-8b", "*_*", "*é*", "**", "*.*"]),
)
_texts = _patterns | st.lists(_patterns, max_size=3)
_conditions = st.lists(
    st.builds(
        MetricCondition,
        _METRIC_NAMES,
        st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        _quarters,
    ),
    max_size=2,
)

filters: st.SearchStrategy[dict[str, Any]] = _named(
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.one_of(ids, st.lists(ids | st.sampled_from(["*", "a*"]), max_size=4)),
            "model": _texts,
            "engine": _texts,
            "suite_name": _texts,
            "kitt_version": st.sampled_from(["1.8.0", "1.*", ["2.0.0", "*.7.*"]]),
            "gpu_model": _texts,
            "environment_type": st.sampled_from(["docker", "*", "Docker"]),
            "fingerprint": _texts,
            "passed": st.booleans(),
            "since": st.sampled_from(_TIMES),
            "until": st.sampled_from(_TIMES),
            "labels": st.dictionaries(st.sampled_from(_LABELS), _texts, max_size=2),
            "metrics": _conditions,
            "search": st.sampled_from(["", "A", "org", "8B", "é", "É", "%", "_", "*", "nothing"]),
            "sha256": _hostile.map(codec.digest) | st.just("*"),
        },
    ).filter(lambda drawn: len(drawn) < 5)
)
"""Filters with up to four fields, as a caller would write them."""

orders = _named(
    st.builds(
        lambda sign, name: sign + name,
        st.sampled_from(["", "-"]),
        st.sampled_from(ORDER_FIELDS) | _METRIC_NAMES.map(lambda name: f"metric:{name}"),
    )
)

aggregations = _named(
    st.tuples(
        st.lists(
            st.sampled_from([*GROUP_FIELDS, *(f"label:{key}" for key in _LABELS)]),
            min_size=1,
            max_size=3,
            unique=True,
        ),
        st.lists(_METRIC_NAMES, max_size=2, unique=True),
        st.lists(st.sampled_from(STATISTICS), min_size=1, max_size=3, unique=True),
    )
)
"""Groups, metrics, statistics."""
