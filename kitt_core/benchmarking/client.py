"""Whether the load generator itself may have been the limit of what was measured."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from kitt_core.benchmarking.distribution import rounded

__all__ = ["BUSY", "busy_time", "client_metrics", "client_warnings"]

BUSY: Final = 0.8
"""From this share of the time on a measurement says as much of KITT as of the server."""
_SCHEDULER: Final = Path("/proc/thread-self/schedstat")


def busy_time() -> float:
    """Return the seconds that this thread has computed and, where Linux counts them, has waited for a CPU.

    A thread that others keep from its CPU is as late as one that has too much to do.
    """
    try:
        # What the file says of computing is as old as the last tick of the kernel's clock.
        _, waited, _ = _SCHEDULER.read_text(encoding="ascii").split()
    except (OSError, ValueError):  # another system, or a kernel that does not count
        return time.thread_time()
    return time.thread_time() + int(waited) / 1e9


def client_metrics(share: float | None) -> dict[str, float]:
    """Return ``client_busy_share``: time in which the thread that sends and receives was busy, by the duration.

    Args:
        share: That of a load; None gives no metric.
    """
    return {} if share is None else {"client_busy_share": rounded(share)}


def client_warnings(share: float | None, *, where: str = "") -> list[str]:
    """Return a warning if the load generator had so much to do that it may be what was measured.

    Args:
        share: That of a load; None gives no warning.
        where: In which part of the benchmark, if it has several.
    """
    if share is None or share < BUSY:
        return []
    return [
        f"{where}the load generator was busy {share:.0%} of the time: it may be the limit here, not the server"
    ]
