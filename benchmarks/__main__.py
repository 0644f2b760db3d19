"""``python -m benchmarks``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.cases import CASES, Case, opened
from benchmarks.report import figures_document, figures_table
from benchmarks.timing import Figures, cpu_clock, run_rounds
from kitt_core import KittError, PluginManager, __version__, open_store
from kitt_core.fingerprint import collect_system_info
from kitt_core.plugins import FINGERPRINTS
from kitt_core.runs import nearest

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and, if a store is given, save the figures there."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.list:
        width = max(len(case.name) for case in CASES)
        print("\n".join(f"{case.name.ljust(width)}  {case.summary}" for case in CASES))
        return 0
    known = {case.name: case for case in CASES}
    for name in arguments.names:
        if name not in known:
            parser.error(f"no case {name!r}; {nearest(name, known)}")
    cases = [known[name] for name in dict.fromkeys(arguments.names)] or list(CASES)
    started, clock = datetime.now(UTC), time.perf_counter()
    measured = _measure(cases, arguments)
    print(figures_table(measured))
    if arguments.store is not None:
        _store(measured, started, time.perf_counter() - clock, arguments)
    return 0


def _measure(cases: list[Case], arguments: argparse.Namespace) -> list[tuple[Case, Figures]]:
    rounds: int = arguments.rounds

    def note(done: int) -> None:
        print(f"round {done} of {rounds}" if done else "warm", file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="kitt-benchmarks-", dir=arguments.directory) as directory:
        print(f"storing {arguments.size} runs on each side", file=sys.stderr)
        with opened(Path(directory), arguments.size) as bench:
            sides = [case.sides(bench) for case in cases]
            clock = cpu_clock if arguments.cpu else time.perf_counter
            return list(zip(cases, run_rounds(sides, rounds, clock=clock, progress=note), strict=True))


def _store(
    measured: list[tuple[Case, Figures]], started: datetime, seconds: float, arguments: argparse.Namespace
) -> None:
    plugins = PluginManager()
    document = figures_document(
        measured,
        version=__version__,
        started=started,
        seconds=seconds,
        config={"size": arguments.size, "rounds": arguments.rounds, "clock": "cpu" if arguments.cpu else "wall"},
        system_info=collect_system_info(plugins.all(FINGERPRINTS)).sections,
    )
    with open_store(arguments.store, plugins=plugins) as store:
        print(f"{store.save_result(document)} in {store.location}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure KITT's SQLite store against raw sqlite3."
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="a case to run; by default all of them")
    parser.add_argument("--list", action="store_true", help="show the cases and exit")
    parser.add_argument("--rounds", type=_positive, default=9, help="measured rounds (default: %(default)s)")
    parser.add_argument("--size", type=_positive, default=1000, help="runs stored first (default: %(default)s)")
    parser.add_argument("--cpu", action="store_true", help="measure CPU time only, for a machine that others use")
    parser.add_argument("--directory", type=Path, help="where to create the databases: the disk to measure")
    parser.add_argument(
        "--store", metavar="URI", help="save the figures as a run in this store, e.g. sqlite:///b.db"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KittError as error:
        sys.exit(f"error: {error}")
