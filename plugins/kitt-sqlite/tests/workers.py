"""What other processes do in these tests: ``python workers.py NAME PATH [NUMBER…]``."""

import sys
from collections.abc import Callable
from pathlib import Path

from kitt_core.testing import documents
from kitt_sqlite import SQLiteResultStore


def save_many(path: str, worker: int, number: int) -> None:
    """Save ``number`` runs."""
    with SQLiteResultStore(Path(path), busy_timeout=60) as store:
        for i in range(number):
            store.save_result(documents.small(i), run_id=f"worker{worker}-{i}")


def read_until(path: str, total: int) -> None:
    """List and aggregate until ``total`` runs are there; every run that is seen must be whole."""
    seen = 0
    with SQLiteResultStore(Path(path), busy_timeout=60) as store:
        while seen < total:
            page = store.list_results(order_by="created_at")
            assert len(page) >= seen
            seen = len(page)
            for row in store.aggregate("test_name", ["avg_tps"], statistics=["count"]):
                # Each small document has as many entries of the metric as its run has rows.
                assert row["avg_tps_count"] % row["count"] == 0


def save_for_ever(path: str) -> None:
    """Save runs and acknowledge each on standard output, until killed."""
    with SQLiteResultStore(Path(path), busy_timeout=60) as store:
        i = 0
        while True:
            run_id = store.save_result(documents.STANDARD + b" " * i)
            sys.stdout.write(run_id + "\n")
            sys.stdout.flush()
            i += 1


if __name__ == "__main__":
    _, name, path, *numbers = sys.argv
    jobs: dict[str, Callable[..., None]] = {
        "save_many": save_many,
        "read_until": read_until,
        "save_for_ever": save_for_ever,
    }
    jobs[name](path, *map(int, numbers))
