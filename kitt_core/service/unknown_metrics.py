"""Metrics that no stored run has: what to say when an answer is empty because a name is misspelled."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from kitt_core.errors import KittError
from kitt_core.presentation import some_of
from kitt_core.runs.codec import shown
from kitt_core.runs.rows import clean_text, derive_rows
from kitt_core.storage.contract import ResultStore
from kitt_core.storage.fallbacks import metric_values

__all__ = ["is_without", "nearest_metrics", "unknown_metrics"]

_MOST_NAMED: Final = 3


def unknown_metrics(store: ResultStore, names: Iterable[str]) -> list[str]:
    """Return a sentence for each metric that no stored run has, with the nearest ones that exist.

    It reads the whole store, so it is for answers that turned out to be empty.

    Args:
        store: The store, whatever the filters were.
        names: ``name`` or ``benchmark/name``.
    """
    wanted = [clean_text(name) for name in dict.fromkeys(names)]
    missing = [name for name, number in _counted(store, wanted).items() if not number]
    if not missing:
        return []
    known = store.metric_names()
    return [_sentence(store, name, known) for name in missing]


def is_without(store: ResultStore, run_id: str, metric: str) -> bool:
    """Return whether a stored run has no finite value of a metric; False if its document can't be read."""
    try:
        document = store.get_result(run_id)
    except KittError:
        return False
    return document is not None and not metric_values(derive_rows(document, strict=False).benchmarks, metric)


def nearest_metrics(name: str, known: Collection[str]) -> str:
    """Return the end of a sentence that names the metrics closest to ``name``, or some if none is close."""
    close = get_close_matches(name, known, _MOST_NAMED)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; there are {some_of(sorted(known))}" if known else ""


def _sentence(store: ResultStore, name: str, known: Sequence[str]) -> str:
    if name in known:
        return f"no stored run has a finite value of the metric {shown(name)}"
    benchmark, slash, metric = name.partition("/")
    if slash and benchmark and metric:
        close = [metric, *get_close_matches(metric, known, _MOST_NAMED)]
        benchmarks = [row["test_name"] for row in store.aggregate("test_name") if row["test_name"]]
        pairs = _counted(store, [f"{there}/{found}" for there in benchmarks for found in dict.fromkeys(close)])
        known = [pair for pair, number in pairs.items() if number] or known
    return f"no stored run has the metric {shown(name)}{nearest_metrics(name, known)}"


def _counted(store: ResultStore, names: Sequence[str]) -> dict[str, int]:
    """Return how many finite values the store has of each metric."""
    rows = store.aggregate("passed", names, statistics="count") if names else []
    return {name: sum(row[f"{name}_count"] for row in rows) for name in names}
