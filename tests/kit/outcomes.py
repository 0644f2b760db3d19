"""Runs one test of the kit on a store, in this process and without a session of pytest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest

from kitt_core.storage import ResultStore
from kitt_core.testing import StoreContract

Outcome = Literal["passed", "failed", "skipped"]
Open = Callable[[], ResultStore]


def outcome(open_store: Open, test: str, *arguments: Any, reopen: Open | None = None) -> Outcome:
    """Return what becomes of a contract test on a fresh store.

    Args:
        open_store: Opens the store.
        test: The test's name.
        arguments: The values of its parameters, in their order.
        reopen: Opens a second store on the same data, where there can be one.
    """

    class Kit(StoreContract):
        def reopen(self, store: ResultStore) -> ResultStore | None:
            return None if reopen is None else reopen()

    with open_store() as store:
        try:
            getattr(Kit(), test)(store, *arguments)
        except pytest.skip.Exception:
            return "skipped"
        except (Exception, pytest.fail.Exception):  # noqa: BLE001  # whatever a wrong store raises fails its test
            return "failed"
    return "passed"
