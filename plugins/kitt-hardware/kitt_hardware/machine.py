"""The machine that is described: what only the running system can tell, and where its files and commands are.

Every source is a function of a `Machine`, so that any machine can be described anywhere.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from attrs import evolve, field, frozen

from kitt_hardware.files import answer

__all__ = ["GIB", "Machine", "this_machine", "this_system"]

GIB: Final = 2**30
"""Bytes of a gibibyte. Memory is counted in whole ones: the system's rounded down, as KITT does, a GPU's rounded
up, since drivers keep a part of it, not always the same."""


@frozen
class Machine:
    """What only the running system can tell, and where its files are.

    Attributes:
        system: ``Linux``, ``Darwin``, ``Windows`` or what `platform.system` says.
        release: The system's release, ``6.8.0-45-generic``.
        version: The kernel's build text, ``#45-Ubuntu SMP``.
        cores: Physical cores, None if they can't be told from threads.
        threads: Logical processors.
        memory_bytes: Memory that the system sees.
        environ: Environment variables.
        root: The directory that holds ``proc``, ``sys``, ``etc``, ``dev``, ``opt`` and ``run``.
        results: The directory whose disk is described, absolute and as seen from ``root``; None for the first
            disk.
        ask: Runs a system command and returns what it prints, as `files.answer` does.
    """

    system: str
    release: str = ""
    version: str = ""
    cores: int | None = None
    threads: int | None = None
    memory_bytes: int | None = None
    environ: Mapping[str, str] = field(factory=dict, repr=False)  # may hold secrets
    root: Path = Path("/")
    results: Path | None = None
    ask: Callable[..., str] = field(default=answer, repr=False)


def this_system() -> Machine:
    """Return the machine that this process runs on, without what needs psutil."""
    uname = platform.uname()
    return Machine(
        system=uname.system,
        release=uname.release,
        version=uname.version,
        environ=os.environ,
        results=_results(),
    )


def this_machine() -> Machine:
    """Return the machine that this process runs on.

    Raises:
        ImportError: psutil is not installed or does not work here.
        OSError: The system denies what psutil asks for.
    """
    import psutil

    return evolve(
        this_system(),
        cores=psutil.cpu_count(logical=False),
        threads=psutil.cpu_count(logical=True),
        memory_bytes=psutil.virtual_memory().total,
    )


def _results() -> Path | None:
    """Return where KITT keeps results unless told otherwise: the same disk, whatever directory one stands in."""
    from kitt_core.config import kitt_home
    from kitt_core.errors import ConfigurationError

    try:
        return kitt_home().absolute().resolve()
    except (ConfigurationError, OSError, RuntimeError, ValueError):
        return None
