"""``python -m benchmarks.upgrade``: how much time and memory upgrading a large database of KITT 1.x takes."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from benchmarks.report import Measurement, Section, duration
from benchmarks.workload import run_document
from kitt_core import open_store

__all__ = ["main", "make_old_database", "measure"]

_MEBIBYTE = 2**20
_PORTION = 200


def main(argv: Sequence[str] | None = None) -> int:
    """Create a version-10 database, upgrade it in a separate process, and print what that took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upgrade", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100, help="size of the database (%(default)s)")
    parser.add_argument("--directory", type=Path, help="where to create it (default: a temporary directory)")
    parser.add_argument("--no-backup", action="store_true", help="don't make a backup copy first")
    arguments = parser.parse_args(argv)
    place: Any = nullcontext(arguments.directory) if arguments.directory else tempfile.TemporaryDirectory()
    with place as directory:
        path = Path(directory) / "old.db"
        began = time.perf_counter()
        runs = make_old_database(path, arguments.megabytes * _MEBIBYTE)
        size = path.stat().st_size
        print(f"made {runs} runs, {size / _MEBIBYTE:.0f} MiB in {time.perf_counter() - began:.0f} s", flush=True)
        seconds, memory, steps = measure(path, backup=not arguments.no_backup)
        print(f"upgraded in {seconds:.1f} s: {runs / seconds:.0f} runs/s, {size / _MEBIBYTE / seconds:.1f} MiB/s")
        print(f"memory {memory / _MEBIBYTE:.0f} MiB at most; progress was reported {steps} times")
        print(f"the file now has {path.stat().st_size / _MEBIBYTE:.0f} MiB")
        with open_store(str(path)) as store:
            if store.count() != runs:
                sys.exit(f"error: the database had {runs} runs and now has {store.count()}")
    return 0


def upgrade_section(megabytes: Sequence[int]) -> Section:
    """Upgrade databases of about these sizes, each in a process of its own."""
    lines = []
    for number in megabytes:
        print(f"upgrade: {number} MiB", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="kitt-benchmarks-") as directory:
            path = Path(directory) / "old.db"
            runs = make_old_database(path, number * _MEBIBYTE)
            size = path.stat().st_size
            seconds, memory, _ = measure(path)
            lines.append(
                Measurement(
                    name=f"upgrade-{number}-mib",
                    cells=(
                        f"{size / _MEBIBYTE:,.0f} MiB",
                        f"{runs:,}",
                        duration(seconds),
                        f"{runs / seconds:.0f} runs/s",
                        f"{memory / _MEBIBYTE:.0f} MiB",
                        f"{path.stat().st_size / _MEBIBYTE:,.0f} MiB",
                    ),
                    metrics={"seconds": seconds, "runs": runs, "peak_memory_bytes": memory},
                )
            )
    headings = ("database", "runs", "time", "speed", "peak memory", "the file afterwards")
    return Section("upgrade", headings, tuple(lines))


def make_old_database(path: Path, size: int) -> int:
    """Create a version-10 database of at least that many bytes; return how many runs it has."""
    from kitt_sql.testing import SQLITE, create_statements

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        for statement in create_statements(10, SQLITE):
            connection.execute(statement)
        connection.executemany("INSERT INTO schema_version (version) VALUES (?)", [(n,) for n in range(1, 11)])
        runs = 0
        while _size(connection) < size:
            _insert(connection, range(runs, runs + _PORTION))
            connection.commit()
            runs += _PORTION
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return runs


def _size(connection: sqlite3.Connection) -> int:
    ((pages,),) = connection.execute("PRAGMA page_count")
    ((page,),) = connection.execute("PRAGMA page_size")
    return int(pages * page)


def _insert(connection: sqlite3.Connection, numbers: range) -> None:
    documents = {f"{number:016x}": run_document(number) for number in numbers}
    names = ("model", "engine", "suite_name", "timestamp", "passed", "total_time_seconds")
    connection.executemany(
        f"INSERT INTO runs (id, {', '.join(names)}, raw_json) VALUES (?{', ?' * len(names)}, ?)",
        [(key, *(document[name] for name in names), json.dumps(document)) for key, document in documents.items()],
    )
    ((last,),) = connection.execute("SELECT coalesce(max(id), 0) FROM benchmarks")
    entries = [(key, entry) for key, document in documents.items() for entry in document["results"]]
    connection.executemany(
        "INSERT INTO benchmarks (id, run_id, test_name, run_number, passed, timestamp) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (last + n, key, entry["test_name"], entry["run_number"], entry["passed"], entry["timestamp"])
            for n, (key, entry) in enumerate(entries, 1)
        ],
    )
    connection.executemany(
        "INSERT INTO metrics (benchmark_id, metric_name, metric_value) VALUES (?, ?, ?)", _metrics(entries, last)
    )
    connection.executemany(
        "INSERT INTO hardware (run_id, gpu_model) VALUES (?, ?)",
        [(key, document["system_info"]["gpu"]["model"]) for key, document in documents.items()],
    )


def _metrics(entries: list[tuple[str, Any]], last: int) -> Iterator[tuple[int, str, float]]:
    for number, (_, entry) in enumerate(entries, last + 1):
        for name, value in entry["metrics"].items():
            if isinstance(value, float):
                yield number, name, value


def measure(path: Path, *, backup: bool = True) -> tuple[float, int, int]:
    """Upgrade a database in a separate process; return seconds, bytes of memory and calls of progress."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.SimpleQueue()
    process = context.Process(target=_upgrade, args=(path, backup, queue))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit("error: the upgrade failed")
    seconds, memory, steps = queue.get()
    return seconds, memory, steps


def _upgrade(path: Path, backup: bool, queue: Any) -> None:
    steps = 0

    def count(done: int, total: int | None) -> None:
        nonlocal steps
        del done, total
        steps += 1

    with open_store(str(path)) as store:
        began = time.perf_counter()
        store.migrate(backup=backup, progress=count)
        seconds = time.perf_counter() - began
    queue.put((seconds, _peak_memory(), steps))


def _peak_memory() -> int:
    """Return this process's peak memory in bytes."""
    # Not getrusage: on Linux a child starts with the peak of the process that forked it.
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (line,) = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
