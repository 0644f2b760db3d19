"""Whether the load generator itself may have been the limit of what was measured."""

from __future__ import annotations

from typing import Final

from kitt_core.benchmarking.distribution import rounded

__all__ = ["BUSY", "client_metrics", "client_warnings"]

BUSY: Final = 0.8
"""From this share of one CPU core on a measurement says as much of KITT as of the server."""


def client_metrics(share: float | None) -> dict[str, float]:
    """Return ``client_cpu_share``: CPU time of the thread that sends and receives, by the duration.

    Args:
        share: That of a load; None gives no metric.
    """
    return {} if share is None else {"client_cpu_share": rounded(share)}


def client_warnings(share: float | None, *, where: str = "") -> list[str]:
    """Return a warning if the load generator had so much to do that it may be what was measured.

    Args:
        share: CPU time of its thread by the duration; None gives no warning.
        where: In which part of the benchmark, if it has several.
    """
    if share is None or share < BUSY:
        return []
    return [f"{where}the load generator used {share:.0%} of a CPU core: it may be the limit here, not the server"]
