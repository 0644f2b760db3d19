"""A state machine that compares what is answered from the rollup with a recount after each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final
from unittest.mock import patch

import pytest
from hypothesis.stateful import invariant

from kitt_core.runs import STATISTICS, MetricCondition
from kitt_core.storage import ResultStore
from kitt_core.testing import StoreStateMachine

__all__ = ["RecountingMachine", "answers_about_metrics"]

_MOST_NAMES: Final = 3


class RecountingMachine(StoreStateMachine):
    """As its parent, and after each step every statistic, order and condition of some metrics is recounted.

    Attributes:
        often: Lets few runs reach what otherwise needs many.
    """

    often: ClassVar[Sequence[Any]] = (patch("kitt_sql.store._DEEP", 1),)

    def __init__(self) -> None:
        for patched in self.often:
            patched.start()
        super().__init__()

    def teardown(self) -> None:
        """Compare everything, then remove it."""
        try:
            super().teardown()
        finally:
            for patched in self.often:
                patched.stop()

    @invariant()
    def statistics_are_those_of_a_recount(self) -> None:
        """Compare with the model."""
        names = sorted(
            {
                metric.name
                for run in self.model.runs.values()
                for entry in run.rows.benchmarks
                for metric in entry.metrics
                if metric.name
            }
        )
        for name in names[:_MOST_NAMES]:
            given = self.store.aggregate("engine", name, statistics=STATISTICS)
            assert list(map(_close, given)) == self.model.aggregate(["engine"], [name], list(STATISTICS), {})
            order = f"-metric:{name}"
            assert list(self.store.list_results(order_by=order)) == [
                run.summary() for run in self.model.ordered({}, order)
            ]
            for condition in (">0", "!=1", "<=1", "=2"):
                wanted = {"metrics": [MetricCondition.parse(f'"{name}"{condition}')]}
                assert self.store.count(wanted) == len(self.model.select(wanted))


def answers_about_metrics(store: ResultStore, names: Sequence[str]) -> list[Any]:
    """Return what a store answers about some metrics, rounded: statistics by group, orders and conditions."""
    return [
        [
            {key: round(value, 6) if type(value) is float else value for key, value in row.items()}
            for group in ("engine", "model", "gpu_model")
            for row in store.aggregate(group, names, statistics=STATISTICS)
        ],
        [list(store.list_results(order_by=f"-metric:{name}")) for name in names],
        [store.count({"metrics": f"{name}>{limit}"}) for name in names for limit in (0, 40)],
    ]


def _close(row: dict[str, Any]) -> dict[str, Any]:
    # The order of addition is the database's.
    return {k: pytest.approx(v, rel=1e-9, abs=1e-9) if type(v) is float else v for k, v in row.items()}
