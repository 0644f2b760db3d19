"""The kit catches wrong stores, each by a test that can be named."""

from __future__ import annotations

from typing import Literal

import pytest

from kitt_core.storage import ResultStore
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing import StoreContract

from . import wrong_answers, wrong_stores  # noqa: F401  # they note their stores
from .cases import CASES, Case


def outcome(store_class: type[ResultStore], case: Case) -> Literal["passed", "failed", "skipped"]:
    """Run one test of the kit on a fresh store, in this process and without a session of pytest."""
    with store_class() as store:
        try:
            getattr(StoreContract(), case.test)(store, *case.arguments)
        except pytest.skip.Exception:
            return "skipped"
        except (Exception, pytest.fail.Exception):  # noqa: BLE001  # whatever a wrong store raises fails its test
            return "failed"
    return "passed"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.store.__name__}-{case.test}")
def test_a_wrong_store_fails_a_test_that_a_right_one_passes(case: Case) -> None:
    assert outcome(case.store, case) == "failed"
    # A test of something that the wrong store refuses to declare skips the store that declares it.
    declared = case.store.capabilities == MemoryStore.capabilities
    assert outcome(MemoryStore, case) == ("passed" if declared else "skipped")


def test_there_are_many_and_each_breaks_something_else() -> None:
    assert len({case.store for case in CASES}) == len(CASES) >= 40
