"""``python -m benchmarks peers``: what other tools take to save the run that KITT saves.

Each tool is installed from the package index into an environment of its own, which is kept. In a round, KITT and
each tool save runs in one process after another; a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from benchmarks.kept import CACHE, own_directory
from benchmarks.report import Goal, Measurement, Section, duration, text_table

__all__ = ["PEERS", "Peer", "main", "measure"]

_ROOT: Final = Path(__file__).parents[1]
_INSTALLATION: Final = 900
_SAVING: Final = 600
"""Seconds after which a process is ended."""


@frozen
class Peer:
    """A tool that also stores runs.

    Attributes:
        name: One of `benchmarks.peer_saving.SAVES`.
        package: Its name in the package index.
        title: The table's.
        goal: How many times KITT's time it should take at least.
    """

    name: str
    package: str
    title: str
    goal: float | None = None


PEERS: Final = (
    Peer("mlflow", "mlflow", "MLflow, SQLite, `log_metrics` per step", 15),
    Peer("mlflow-batch", "mlflow", "MLflow, SQLite, one `log_batch`", 15),
    Peer("trackio", "trackio", "trackio, local"),
    Peer("sacred", "sacred", "Sacred, `FileStorageObserver`"),
)


def measure(cache: Path = CACHE, rounds: int = 5, runs: int = 20, peers: Sequence[Peer] = PEERS) -> Section:
    """Compare each tool with KITT; one that can't be installed or used is a remark.

    Args:
        cache: Where the environments are, or are made.
        rounds: How often the processes alternate.
        runs: How many runs a process saves.
        peers: The tools.
    """
    remarks: dict[str, str] = {}
    usable: list[tuple[Peer, Path]] = []
    for peer in peers:
        try:
            usable.append((peer, _environment(own_directory(cache) / "peers", peer.package)))
        except subprocess.SubprocessError as error:
            remarks[peer.package] = f"{peer.package} could not be installed: {_reason(error)}."
    times: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="peers-", dir=cache) as directory:
        for number in range(rounds):
            print(f"peers: round {number + 1} of {rounds}", file=sys.stderr)
            times.append({"kitt": _saving(Path(sys.executable), "kitt", Path(directory), number, runs)})
            for peer, python in usable:
                if peer.name in remarks:
                    continue
                try:
                    times[-1][peer.name] = _saving(python, peer.name, Path(directory), number, runs)
                except subprocess.SubprocessError as error:
                    remarks[peer.name] = f"{peer.title} failed: {_reason(error)}."
    lines = [_line(peer, python, times) for peer, python in usable if peer.name not in remarks]
    return Section(
        "peers", ("tool", "version", "a run", "KITT", "times KITT's"), tuple(lines), tuple(remarks.values())
    )


def _environment(directory: Path, package: str) -> Path:
    """Return the Python of a tool's environment, which is made if it is not complete."""
    environment = directory / package
    python, complete = environment / "bin" / "python", environment / "complete"
    if not complete.exists():
        print(f"installing {package}", file=sys.stderr)
        _run([sys.executable, "-m", "venv", "--clear", str(environment)], _INSTALLATION)
        # Sacred imports pkg_resources, which new versions of setuptools don't have.
        packages = [package, "setuptools<81"]
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        _run(command, _INSTALLATION)
        complete.touch()
    return python


def _saving(python: Path, tool: str, directory: Path, number: int, runs: int) -> float:
    place = directory / tool
    place.mkdir(exist_ok=True)
    arguments = [tool, str(place), str(number * (runs + 1)), str(runs)]
    seconds: list[float] = json.loads(_run([str(python), "-m", "benchmarks.peer_saving", *arguments], _SAVING))
    return statistics.median(seconds)


def _line(peer: Peer, python: Path, times: Sequence[dict[str, float]]) -> Measurement:
    version = _run(
        [str(python), "-c", f"import importlib.metadata as m; print(m.version({peer.package!r}))"], _SAVING
    )
    ratio = statistics.median(of_round[peer.name] / of_round["kitt"] for of_round in times)
    theirs, ours = (statistics.median(of_round[name] for of_round in times) for name in (peer.name, "kitt"))
    return Measurement(
        name=f"peer-{peer.name}",
        cells=(peer.title, version.strip(), duration(theirs), duration(ours), f"{ratio:.1f}"),
        metrics={"ratio": ratio, "median_seconds": ours, "peer_seconds": theirs},
        ratio=ratio,
        goal=None if peer.goal is None else Goal(peer.goal, at_least=True),
        summary=f"{peer.title}: times what KITT's durable save takes",
    )


def _run(command: Sequence[str], seconds: float) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=_ROOT, env=environment, timeout=seconds
    )
    return done.stdout


def _reason(error: subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines: list[str] = (error.stderr or "").strip().splitlines()
        likely = [line for line in lines if "rror" in line] or lines or [f"exit code {error.returncode}"]
        return likely[-1].rstrip(".")
    return "it took too long"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks peers", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--runs", type=int, default=20, help="saved by each process (default: %(default)s)")
    parser.add_argument(
        "--directory", type=Path, default=CACHE, help="keeps the environments (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    print(text_table(measure(arguments.directory, arguments.rounds, arguments.runs)))
    return 0
