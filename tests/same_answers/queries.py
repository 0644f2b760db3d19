# ruff: noqa: RUF001, SIM905 - characters that look alike are what is tested; words in a line are easier to read
"""Questions to put to every store: each field, order, group and statistic, and seeded mixtures of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Final

from attrs import frozen

from kitt_core.runs import GROUP_FIELDS, ORDER_FIELDS, STATISTICS, MetricCondition

from .corpus import NAMES, SEED

SUMMED: Final = (
    *"avg_tps throughput/avg_tps ttft_ms.p99 deep.er.x a/b/c a/b b/c /é % latency/ é/avg_tps".split(),
    *("a\ufffd", "m\ufffd", "\ufffd/avg_tps", "no such metric"),
)
"""Names that are read as metric, or as benchmark and metric in one or several ways."""

METRICS: Final = (*SUMMED, "edge", "wild", "latency/wild")
"""Sums of the last three overflow, or depend on the order of summation, which databases choose."""

_PATTERNS: Final = (
    *"* ** a* *a *a* a*b *%* *_* *\\* *[* *]* *?* *'* *\"* e* É* *\U0001f999* a\ufffd* *é a_* [a]* x*x _*".split(),
    *("org/*-7B", "*-*B", "o*o*", "*s*s*", "* ", " *", "*\n*"),
)
_SEARCHES: Final = (
    *"strasse STRASSE straße STRAẞE ss ß fi ﬁ i İ i\u0307 ı σ ς οδοσ é É e\u0301 ŉ ʼN \U0001f999 K".split(),
    *("%", "_", "\\", "*", "'", "", " ", "vllm", "org/", "\x00", "\ud800"),
)
_TIMES: Final[tuple[str | date, ...]] = (
    *"2025-01-01 2025-01-01T00:00:00Z 2025-01-01T05:45+05:45 2025-10-26T02:30:00+02:00 0001-01-01".split(),
    *"9999-12-31T23:59:59.999999Z 1970-01-01 2025-01-01T00:00:00.000001 2025-W01-3 9999-12-31".split(),
    date(2025, 1, 1),
    datetime(2025, 1, 1),  # noqa: DTZ001 - naive is UTC
    datetime(2025, 1, 1, 5, 45, 0, 1, timezone(timedelta(hours=5, minutes=45))),
    datetime(2024, 12, 31, 23, 59, 59, 999999, UTC),
)
_BOUNDS: Final = (
    *(0, -0.0, 0.25, -3.5, 12, 5e-324, 1e308, 1.7976931348623157e308, -1e308, 0.1, 1e22, 3.0000000000000004),
    *(2**31, 16777217, 2**53, 2**53 + 1, 2**63, -(2**63) - 1, 10**300),
)
_OPERATORS: Final = ("=", "!=", "<", "<=", ">", ">=")
_TEXT_FIELDS: Final[dict[str, Sequence[str]]] = {
    "id": ("a", "A*", "*_*", "*.", "z*Z", "-*", "0*"),
    "model": NAMES,
    "engine": ("vllm", "vLLM", *NAMES[:12]),
    "suite_name": ("quick", "Quick", "standard", *NAMES[:20]),
    "kitt_version": ("1.8.0", "1.10.0", "1.*", ""),
    "gpu_model": ("A100", "a100", "RTX 4090", "RTX*", *NAMES[:25]),
    "environment_type": ("docker", "bare-metal", "Docker", "", "d*"),
    "fingerprint": ("f1", "F1", "", "f\ufffd", "f\x00", *NAMES[:15]),
    "sha256": ("0*", "*f", "*00*", "0" * 64, "F*"),
}
_ORDERS: Final = (*ORDER_FIELDS, *(f"metric:{name}" for name in METRICS))


@frozen
class Query:
    """A question.

    Attributes:
        kind: ``list``, ``count``, ``query``, ``scan``, ``walk`` or ``aggregate``.
        filters: The filter's fields.
        arguments: What else is given.
    """

    kind: str
    filters: dict[str, Any]
    arguments: dict[str, Any]


def queries(number: int) -> Iterator[Query]:
    """Yield all questions to a corpus of ``number`` runs, always the same."""
    dice = random.Random(SEED + 1)
    yield from _orders(number)
    yield from _texts(dice)
    yield from _bounds(dice)
    yield from _groups(dice)
    yield from _mixtures(dice, number)


def _orders(number: int) -> Iterator[Query]:
    """Every order both ways, whole and in pages."""
    for position, order in enumerate(_ORDERS):
        for text in (order, f"-{order}"):
            yield Query("list", {}, {"order_by": text, "limit": None})
            yield Query("walk", {}, {"order_by": text, "limit": number // 6 + position, "offset": position % 3})
    for limit, offset in ((0, 0), (1, 0), (5, 998), (5, 10**6), (2**62, 990), (None, 900), (None, 2**62)):
        yield Query("list", {}, {"order_by": "-timestamp", "limit": limit, "offset": offset})
        yield Query("query", {}, {"order_by": "model", "limit": min(limit or 3, 20), "offset": offset})


def _texts(dice: random.Random) -> Iterator[Query]:
    """Every field of text: one value, several, none, a pattern, a mixture; labels and searches."""
    for field, values in _TEXT_FIELDS.items():
        several = dice.sample(values, min(4, len(values)))
        for wanted in (values[0], several, [], dice.choice(_PATTERNS), [*several, *dice.sample(_PATTERNS, 2)]):
            yield _listing(dice, {field: wanted})
    for pattern in (*_PATTERNS, *dice.sample(NAMES, 8)):
        yield Query("list", {"model": pattern}, {"order_by": "timestamp", "limit": None})
    for text in _SEARCHES:
        yield Query("list", {"search": text}, {"order_by": "created_at", "limit": None})
    for key in ("team", "Team", "", "a=b", "é", "k\x00", "\ud800", "machine", "%", "nothing"):
        for wanted in (dice.choice(NAMES[:30]), ["8", "1.5", "inf", "true", "*é*", "m1"], "*", []):
            yield _listing(dice, {"labels": {key: wanted}})


def _bounds(dice: random.Random) -> Iterator[Query]:
    """Flags, times and metrics: every operator against every bound."""
    for passed in (True, False):
        yield _listing(dice, {"passed": passed})
    for time in _TIMES:
        yield Query("list", {"since": time}, {"order_by": "-timestamp", "limit": None})
        yield Query("count", {"until": time}, {})
    for name in METRICS:
        yield Query("count", {"metrics": [MetricCondition(name, dice.choice(_OPERATORS), 0.25)]}, {})
    for bound in _BOUNDS:
        for operator in _OPERATORS:
            name = dice.choice(("edge", "wild"))
            yield Query("count", {"metrics": [MetricCondition(name, operator, bound)]}, {})


def _listing(dice: random.Random, filters: dict[str, Any]) -> Query:
    kind = dice.choice(("list", "list", "query", "scan", "count"))
    if kind in {"scan", "count"}:
        return Query(kind, filters, {})
    limit = dice.choice((None, 10, 100)) if kind == "list" else 10
    return Query(kind, filters, {"order_by": _an_order(dice), "limit": limit, "offset": dice.choice((0, 0, 3))})


def _groups(dice: random.Random) -> Iterator[Query]:
    """Every field to group by, pairs of them, every statistic."""
    for field in (*GROUP_FIELDS, "label:team", "label:k\x00"):
        yield Query("aggregate", {}, {"group_by": field})
        yield Query("aggregate", {}, {"group_by": field, "metrics": list(SUMMED), "statistics": list(STATISTICS)})
        other = dice.choice(GROUP_FIELDS)
        groups = list(dict.fromkeys([other, field, "test_name" if dice.random() < 0.3 else "passed"]))
        statistics = dice.sample(STATISTICS, 4)
        yield Query("aggregate", {}, {"group_by": groups, "metrics": ["avg_tps", "b/c"], "statistics": statistics})
        exact = ["min", "max", "count", "p50", "p90", "p95", "p99"]
        yield Query("aggregate", {}, {"group_by": field, "metrics": ["edge", "wild"], "statistics": exact})
        yield Query(
            "aggregate", {}, {"group_by": field, "metrics": "edge", "statistics": ["avg", "sum", "stddev"]}
        )


def _mixtures(dice: random.Random, number: int) -> Iterator[Query]:
    """Several fields at once, in every kind of question."""
    for position in range(120):
        filters = _some_filters(dice)
        match position % 4:
            case 0:
                yield Query(
                    "walk", filters, {"order_by": _an_order(dice), "limit": dice.choice((7, 40)) * number // 1000}
                )
            case 1:
                groups = dice.sample(GROUP_FIELDS, dice.randint(1, 3))
                metrics, statistics = dice.sample(SUMMED, 2), dice.sample(STATISTICS, 3)
                yield Query(
                    "aggregate", filters, {"group_by": groups, "metrics": metrics, "statistics": statistics}
                )
            case _:
                yield _listing(dice, filters)


def _some_filters(dice: random.Random) -> dict[str, Any]:
    def texts(values: Sequence[str]) -> Callable[[], list[str]]:
        return lambda: [*dice.sample(values, min(3, len(values))), *dice.sample(_PATTERNS, dice.randint(0, 3))]

    makers: dict[str, Callable[[], Any]] = {
        **{field: texts(values) for field, values in _TEXT_FIELDS.items() if field not in {"id", "sha256"}},
        "passed": lambda: dice.random() < 0.5,
        "since": lambda: dice.choice(_TIMES),
        "until": lambda: dice.choice(_TIMES),
        "labels": lambda: {"team": dice.choice((*NAMES[:30], "*")), "machine": ["m*", "ſ"]},
        "metrics": lambda: [MetricCondition(dice.choice(METRICS), dice.choice(_OPERATORS), dice.choice(_BOUNDS))],
        "search": lambda: dice.choice(_SEARCHES),
    }
    return {name: makers[name]() for name in dice.sample(list(makers), dice.randint(1, 3))}


def _an_order(dice: random.Random) -> str:
    return dice.choice(("", "-")) + dice.choice(_ORDERS)
