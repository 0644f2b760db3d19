"""The host: what ``system_info`` says of CPU, memory, disk, system and environment.

`this_machine` asks the running system for what only calls can tell; `describe` is a function of that and of
the files below a root directory, so that any machine can be described anywhere.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from kitt_hardware.cpu import cpu_model
from kitt_hardware.disk import first_disk
from kitt_hardware.environment import environment_type
from kitt_hardware.memory import memory_type

__all__ = ["Machine", "describe", "this_machine"]

_GIB: Final = 2**30


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
        root: The directory that holds ``proc``, ``sys``, ``etc`` and ``run``.
    """

    system: str
    release: str = ""
    version: str = ""
    cores: int | None = None
    threads: int | None = None
    memory_bytes: int | None = None
    environ: Mapping[str, str] = field(factory=dict, repr=False)  # may hold secrets
    root: Path = Path("/")


def this_machine() -> Machine:
    """Return the machine that this process runs on.

    Raises:
        ImportError: psutil is not installed or does not work here.
        OSError: The system denies what psutil asks for.
    """
    import psutil

    uname = platform.uname()
    return Machine(
        system=uname.system,
        release=uname.release,
        version=uname.version,
        cores=psutil.cpu_count(logical=False),
        threads=psutil.cpu_count(logical=True),
        memory_bytes=psutil.virtual_memory().total,
        environ=os.environ,
    )


def describe(machine: Machine) -> dict[str, Any]:
    """Return the sections of ``system_info`` that the machine tells; what is not known is left out."""
    model = cpu_model(machine.root, machine.system)
    cpu = {"model": model or None, "cores": machine.cores, "threads": machine.threads}
    memory_gb = None if machine.memory_bytes is None else machine.memory_bytes // _GIB
    sections: dict[str, Any] = {
        "cpu": {key: value for key, value in cpu.items() if value is not None} or None,
        "ram_gb": memory_gb,
        "ram_type": None if memory_gb is None else memory_type(machine.root, machine.system),
        "storage": first_disk(machine.root) if machine.system == "Linux" else None,
        "os": "-".join(part for part in (machine.system, machine.release) if part) or None,
        "kernel": machine.version or None,
        "environment_type": environment_type(machine.root, machine.system, machine.environ),
    }
    return {key: value for key, value in sections.items() if value is not None}
