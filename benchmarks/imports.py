"""``python -m benchmarks imports``: importing 10,000 run directories into a new SQLite store.

KITT in one process is compared with the floor's ``executemany``, which stores a batch of a hundred files per
transaction as KITT does, and KITT with two workers is compared with KITT in one process.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from benchmarks.floor import Floor
from benchmarks.kept import CACHE, kept_files
from benchmarks.report import Goal, Measurement, Section, duration, text_table
from kitt_core import PluginManager, open_store
from kitt_core.service.transfer.importing import find_candidates, import_runs

__all__ = ["main", "measure"]

_FILES: Final = 10_000
_BATCH: Final = 100


def measure(cache: Path = CACHE, files: int = _FILES, rounds: int = 3) -> Section:
    """Import the same files in each way, in turn, each time into a new database.

    Args:
        cache: Where the files are, or are generated; the databases are created there as well.
        files: How many.
        rounds: How often.
    """
    source = kept_files(cache, files)
    times: list[tuple[float, float, float]] = []
    for number in range(rounds):
        print(f"imports: round {number + 1} of {rounds}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="imports-", dir=cache) as directory:
            place = Path(directory)
            times.append(
                (
                    _timed(lambda: _import_with_floor(source, place / "floor.db")),  # noqa: B023 - called at once
                    _timed(lambda: _import(source, place / "one.db", jobs=1)),  # noqa: B023 - called at once
                    _timed(lambda: _import(source, place / "two.db", jobs=2)),  # noqa: B023 - called at once
                )
            )
    against_floor = statistics.median(floor / one for floor, one, _ in times)
    workers = statistics.median(one / two for _, one, two in times)
    floor, one, two = (statistics.median(column) for column in zip(*times, strict=True))
    what = f"import of {files:,} files into SQLite"
    return Section(
        "imports",
        ("import", "time", "files per second", "times as fast as the line above"),
        (
            Measurement(
                "import-floor",
                ("`executemany` into version-10 tables", *_cells(floor, files), ""),
                {"seconds": floor},
            ),
            _line(
                "import-1-process", "KITT, one process", one, files, against_floor, f"{what} against `executemany`"
            ),
            _line(
                "import-2-workers", "KITT, two workers", two, files, workers, f"{what}: two workers against one"
            ),
        ),
    )


def _line(name: str, title: str, seconds: float, files: int, ratio: float, summary: str) -> Measurement:
    return Measurement(
        name=name,
        cells=(title, *_cells(seconds, files), f"{ratio:.2f}"),
        metrics={"ratio": ratio, "seconds": seconds},
        ratio=ratio,
        goal=Goal(1.5, at_least=True),
        summary=summary,
    )


def _cells(seconds: float, files: int) -> tuple[str, str]:
    return duration(seconds), f"{files / seconds:.0f}"


def _import_with_floor(source: Path, path: Path) -> None:
    with closing(Floor(path)) as floor:
        files = sorted(source.rglob("metrics.json"))
        for first in range(0, len(files), _BATCH):
            floor.import_files(files[first : first + _BATCH])


def _import(source: Path, path: Path, *, jobs: int) -> None:
    plugins = PluginManager()
    with open_store(f"sqlite:///{path}", plugins=plugins) as store:
        import_runs(store, find_candidates(plugins, [source]), jobs=jobs)


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks imports", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--files", type=int, default=_FILES, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--directory", type=Path, default=CACHE, help="keeps the files (default: %(default)s)")
    arguments = parser.parse_args(argv)
    print(text_table(measure(arguments.directory, arguments.files, arguments.rounds)))
    return 0
