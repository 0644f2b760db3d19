"""How a wrong store is noted with the test that must catch it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from kitt_core.storage import ResultStore

__all__ = ["CASES", "Case", "caught_by"]


@frozen
class Case:
    """A wrong store and a test that must catch it."""

    store: type[ResultStore]
    test: str
    arguments: tuple[Any, ...] = ()


CASES: list[Case] = []


def caught_by(test: str, *arguments: Any) -> Callable[[type[ResultStore]], type[ResultStore]]:
    """Name the test that must fail, with the values of its parameters."""

    def note(store: type[ResultStore]) -> type[ResultStore]:
        CASES.append(Case(store, test, arguments))
        return store

    return note
