"""Calls into drivers that may never return."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["within"]

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what ``call`` returns, if it does so in time.

    The call runs in a thread of its own, which is left behind when time is up: it ends with the process.

    Raises:
        TimeoutError: The time is up.
        Exception: What the call raises.
    """
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["value"] = call()
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the thread that asked
            outcome["error"] = error

    thread = threading.Thread(target=run, name="kitt-hardware", daemon=True)
    thread.start()
    thread.join(seconds)
    if "error" in outcome:
        raise outcome["error"]
    if "value" not in outcome:
        raise TimeoutError(f"no answer within {seconds:g} s")
    value: T = outcome["value"]
    return value
