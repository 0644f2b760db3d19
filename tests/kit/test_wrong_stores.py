"""The kit catches wrong stores, each by a test that can be named."""

from __future__ import annotations

import pytest

from kitt_core.storage.memory import MemoryStore

from . import wrong_answers, wrong_stores  # noqa: F401  # they note their stores
from .cases import CASES, Case
from .outcomes import outcome


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.store.__name__}-{case.test}")
def test_a_wrong_store_fails_a_test_that_a_right_one_passes(case: Case) -> None:
    assert outcome(case.store, case.test, *case.arguments) == "failed"
    if case.store.capabilities == MemoryStore.capabilities:
        assert outcome(MemoryStore, case.test, *case.arguments) == "passed"
    else:
        # The test is about what is not declared: the store that declares it is not asked.
        assert outcome(MemoryStore, case.test, *case.arguments) == "skipped"


def test_there_are_many_and_each_breaks_something_else() -> None:
    assert len({case.store for case in CASES}) == len(CASES) >= 40
