"""Commands in separate processes, and the minimum cost of a Python process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["kitt", "python"]

# What the console script does; -P, because the current directory is not among the user's packages.
_SCRIPT: Final = "import sys; from kitt_core.cli.app import main; sys.exit(main())"
_PYTHON: Final = (sys.executable, "-P", "-c")


def kitt(home: Path, *arguments: str) -> Callable[[], None]:
    """Return a call of ``kitt`` whose configuration and default store are in ``home``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KITT_")}
    environment["KITT_HOME"] = str(home)

    def call() -> None:
        _run([*_PYTHON, _SCRIPT, *arguments], environment)

    return call


def python(code: str) -> Callable[[], None]:
    """Return a call of Python that executes some code."""
    return lambda: _run([*_PYTHON, code], dict(os.environ))


def _run(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
