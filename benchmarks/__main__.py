"""``python -m benchmarks``."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.cases import CASES
from benchmarks.kept import CACHE
from benchmarks.report import case_section, text_table
from benchmarks.running import measure_cases, store_figures
from kitt_core import KittError
from kitt_core.runs import nearest

__all__ = ["PROGRAMS", "main"]

PROGRAMS: Final = {
    "all": "everything",
    **{name: name for name in ("scale", "imports", "writers", "peers", "upgrade", "load")},
}
"""What has options of its own, with its module."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure cases, print the table and, if a store is given, save the figures there; or run another program."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in PROGRAMS:
        code: int = importlib.import_module(f"benchmarks.{PROGRAMS[argv[0]]}").main(argv[1:])
        return code
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.list:
        width = max(len(case.name) for case in CASES)
        print("\n".join(f"{case.name.ljust(width)}  {case.summary}" for case in CASES))
        return 0
    known = {case.name: case for case in CASES}
    for name in arguments.names:
        if name not in known:
            parser.error(f"no case {name!r}; {nearest(name, [*known, *PROGRAMS])}")
    cases = [known[name] for name in dict.fromkeys(arguments.names)] or list(CASES)
    started, clock = datetime.now(UTC), time.perf_counter()
    measured = measure_cases(
        cases,
        rounds=arguments.rounds,
        size=arguments.size,
        cpu=arguments.cpu,
        directory=arguments.directory,
        cache=arguments.cache,
    )
    section = case_section("cases", measured)
    print(text_table(section))
    if arguments.store is not None:
        config = {"size": arguments.size, "rounds": arguments.rounds, "clock": "cpu" if arguments.cpu else "wall"}
        seconds = time.perf_counter() - clock
        store_figures([section], arguments.store, started=started, seconds=seconds, config=config)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure KITT's stores against raw drivers.",
        epilog=f"These have options of their own: {', '.join(PROGRAMS)}.",
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="a case to run; by default all of them")
    parser.add_argument("--list", action="store_true", help="show the cases and exit")
    parser.add_argument("--rounds", type=_positive, default=9, help="measured rounds (default: %(default)s)")
    parser.add_argument("--size", type=_positive, default=1000, help="runs stored first (default: %(default)s)")
    parser.add_argument("--cpu", action="store_true", help="measure CPU time only, for a machine that others use")
    parser.add_argument("--directory", type=Path, help="where to create the databases: the disk to measure")
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help="where large databases are kept (default: %(default)s)"
    )
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
