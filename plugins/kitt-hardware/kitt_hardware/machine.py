"""The machine that is described, and how its files and commands are read.

Every source is a function of a `Machine`, so any machine can be described anywhere.
"""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import evolve, field, frozen

__all__ = [
    "GIB",
    "Machine",
    "command_output",
    "exists",
    "listing",
    "read_text",
    "real",
    "this_machine",
    "this_system",
    "with_timeout",
]

GIB: Final = 2**30
"""Bytes in a gibibyte. Memory is given in whole gibibytes: the system's is rounded down, a GPU's is rounded up
because drivers reserve a varying part of it."""
_ENOUGH: Final = 1 << 22
_PATIENCE_SECONDS: Final = 5.0
_AFTER_KILL_SECONDS: Final = 1.0
_PIECE: Final = 1 << 16
_MOST_PIECES: Final = 64

T = TypeVar("T")


def read_text(path: Path) -> str:
    """Return the file's text without surrounding white space; empty if it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(_ENOUGH).decode("utf-8", errors="replace").replace("\0", "").strip()
    except OSError:
        return ""


def exists(path: Path) -> bool:
    """Return whether ``path`` exists; False if that can't be found out."""
    try:
        return path.exists()
    except OSError:
        return False


def listing(directory: Path, pattern: str = "*") -> list[Path]:
    """Return the entries of a directory, sorted; none if it can't be read."""
    try:
        return sorted(directory.glob(pattern))
    except OSError:
        return []


def real(path: Path) -> Path:
    """Return the path with symbolic links resolved; unchanged if that fails."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path


def command_output(*command: str, patience: float = _PATIENCE_SECONDS, must_end: bool = False) -> str:
    """Return what a system command prints; empty if it is missing, fails, takes too long or prints without end.

    A command that survives SIGKILL, because its driver hangs in the kernel, is left behind.

    Args:
        command: The program and its arguments.
        patience: Seconds that it may take.
        must_end: Whether taking too long is an error; lets a caller avoid running the same program again.

    Raises:
        TimeoutError: It took longer, and ``must_end`` was given.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - fixed commands, no shell, nothing from users
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that its own children can be ended with it
        )
    except (OSError, ValueError):
        return ""
    said: list[bytes] = []
    listener = threading.Thread(target=_listen, args=(process, said), daemon=True)
    listener.start()
    listener.join(patience)
    too_slow = listener.is_alive()
    if too_slow or len(said) > _MOST_PIECES:
        _end(process)
        if too_slow and must_end:
            raise TimeoutError(f"no answer within {patience:g} s")
        return ""
    try:
        process.wait(_AFTER_KILL_SECONDS)
    except subprocess.TimeoutExpired:  # its output has ended, but it has not
        _end(process)
        return ""
    return b"".join(said).decode("utf-8", errors="replace").strip() if process.returncode == 0 else ""


def _listen(process: subprocess.Popen[bytes], said: list[bytes]) -> None:
    """Collect what a command prints, up to a few megabytes: a broken one may print forever."""
    assert process.stdout is not None
    with process.stdout as stream, suppress(OSError, ValueError):
        while len(said) <= _MOST_PIECES and (piece := stream.read(_PIECE)):
            said.append(piece)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_AFTER_KILL_SECONDS)


def with_timeout(seconds: float, call: Callable[[], T]) -> T:
    """Return what ``call`` returns, if it does so in time: a call into a driver may never return.

    The call runs in its own thread, which is left behind when time is up and ends with the process.

    Raises:
        TimeoutError: The time is up.
        Exception: What the call raises.
    """
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["value"] = call()
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            outcome["error"] = error

    thread = threading.Thread(target=run, name="kitt-hardware", daemon=True)
    thread.start()
    thread.join(seconds)
    if "error" in outcome:
        raise outcome["error"]
    if "value" not in outcome:
        raise TimeoutError(f"no answer within {seconds:g} s")
    value: T = outcome["value"]
    return value


@frozen
class Machine:
    """What only the running system knows, and where its files are.

    Attributes:
        system: ``Linux``, ``Darwin``, ``Windows`` or what `platform.system` says.
        release: The system's release, ``6.8.0-45-generic``.
        version: The kernel's build text, ``#45-Ubuntu SMP``.
        cores: Physical cores; None if unknown.
        threads: Logical processors.
        memory_bytes: Memory that the system sees, in bytes.
        environ: Environment variables.
        root: The directory that holds ``proc``, ``sys``, ``etc``, ``dev``, ``opt`` and ``run``.
        results: The directory whose disk is described, absolute and as seen from ``root``; None for the first
            disk.
        run: Runs a system command and returns what it prints, like `command_output`.
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
    run: Callable[..., str] = field(default=command_output, repr=False)

    def visible_devices(self, *names: str) -> dict[str, str]:
        """Return those of the named environment variables, which hide GPUs from programs, that are set.

        A UUID in a value is replaced: it identifies a single device, and documents are shown to others.
        """
        return {
            name: re.sub(r"\b(GPU|MIG)-[\w/-]+", r"\1-uuid", self.environ[name])[:200]
            for name in names
            if name in self.environ
        }


def this_system() -> Machine:
    """Return the machine that this process runs on, without the values that need psutil."""
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
    """Return KITT's default directory for results, which doesn't depend on the current directory."""
    from kitt_core.config import kitt_home
    from kitt_core.errors import ConfigurationError

    try:
        return kitt_home().absolute().resolve()
    except (ConfigurationError, OSError, RuntimeError, ValueError):
        return None
