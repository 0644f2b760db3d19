"""NVIDIA GPUs, as the command ``nvidia-smi`` reports them where NVML can't be used directly."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Final

from kitt_hardware.machine import Machine, exists
from kitt_hardware.nvml import UNIFIED

__all__ = ["read"]

_PLACES: Final = ("usr/bin/nvidia-smi", "usr/lib/wsl/lib/nvidia-smi", "opt/bin/nvidia-smi")
_PATIENCE_SECONDS: Final = 10.0  # without its persistence daemon the driver wakes eight GPUs one after another
_OLD_FIELDS: Final = ("driver_version", "memory.total")
_WITHOUT_MEMORY: Final = frozenset({"[N/A]", "N/A", "[Not Supported]"})
_FIELDS: Final = (*_OLD_FIELDS, "compute_cap", "power.limit", "mig.mode.current")


def read(machine: Machine) -> dict[str, Any]:
    """Return what ``nvml.read`` returns, as far as the command reports it; nothing if there is no command.

    A command that hangs once is not run again: what it has reported by then is returned, with a remark.

    Raises:
        TimeoutError: It hangs before it has reported anything.
    """
    command = _command(machine)
    if command is None:
        return {}
    for fields in (_FIELDS, _OLD_FIELDS):  # an old driver rejects all fields if it does not know one
        query = f"--query-gpu=name,{','.join(fields)}"
        rows = _rows(_run(machine, command, query, "--format=csv,noheader,nounits"), fields)
        if rows:
            break
    else:
        return {}
    remarks = [
        f"GPU {index}'s memory: nvidia-smi says {row['memory.total']}"
        for index, row in enumerate(rows)
        if _number(row["memory.total"]) is None and not _is_unified(row)
    ]
    profiles: dict[int, list[str]] = {}
    cuda = None
    try:
        if any(_is_mig(row) for row in rows):
            profiles = _profiles(_run(machine, command, "-L"))
        compute = _run(machine, command, "-q", "-d", "COMPUTE")
        cuda = re.search(r"CUDA (?:\w+ )?Version\s*:\s*(\d+\.\d+)", compute)
    except TimeoutError as error:
        remarks.append(f"nvidia-smi: {error}")
    devices = [_device(row, profiles.get(index, [])) for index, row in enumerate(rows)]
    found: dict[str, Any] = {"gpu": {"devices": devices}}
    if driver := _known(rows[0]["driver_version"]):
        found["driver_version"] = driver
    if cuda:
        found["cuda_version"] = cuda[1]
    if remarks:
        found["remarks"] = remarks
    return found


def _command(machine: Machine) -> str | None:
    known = next((f"/{place}" for place in _PLACES if exists(machine.root / place)), None)
    if known is not None or (machine.system != "Windows" and machine.root != Path("/")):
        return known
    import shutil

    return shutil.which("nvidia-smi")


def _run(machine: Machine, command: str, *arguments: str) -> str:
    return machine.run(command, *arguments, patience=_PATIENCE_SECONDS, must_end=True)


def _rows(answer: str, fields: tuple[str, ...]) -> list[dict[str, str]]:
    # Nothing is quoted: counting from the right distinguishes a comma in a name from the separators.
    split = [[cell.strip() for cell in line.rsplit(",", len(fields))] for line in answer.splitlines()]
    rows = [dict(zip(("name", *fields), cells, strict=True)) for cells in split if len(cells) == len(fields) + 1]
    # Errors are sentences, which may contain commas.
    return [
        row
        for row in rows
        if _known(row["name"]) and (_is_absent(row["memory.total"]) or _number(row["memory.total"]))
    ]


def _is_absent(text: str) -> bool:
    """Return whether the text stands for a missing value: ``[N/A]``, ``[Not Supported]``."""
    return re.fullmatch(r"\[.*\]|N/A", text) is not None


def _known(text: str) -> str:
    return "" if _is_absent(text) else text


def _number(text: str) -> float | None:
    try:
        return float(text) if re.fullmatch(r"[\d.]+", text) else None
    except ValueError:
        return None


def _is_mig(row: dict[str, str]) -> bool:
    return row.get("mig.mode.current") == "Enabled"


def _is_unified(row: dict[str, str]) -> bool:
    """Return whether the GPU has no memory of its own; one whose memory can't be read does not count."""
    return row["memory.total"] in _WITHOUT_MEMORY or UNIFIED.search(row["name"]) is not None


def _device(row: dict[str, str], profiles: list[str]) -> dict[str, Any]:
    capability = re.fullmatch(r"(\d+)\.(\d+)", row.get("compute_cap", ""))
    memory, watts = _number(row["memory.total"]), _number(row.get("power.limit", ""))
    unified = _is_unified(row)
    mode = {"Enabled": True, "Disabled": False}.get(row.get("mig.mode.current", ""))
    found = {
        "vendor": "nvidia",
        "model": row["name"],
        "vram_gb": 0 if unified else None if memory is None else math.ceil(memory / 1024),  # from MiB
        "unified_memory": True if unified else None,
        "compute_capability": [int(capability[1]), int(capability[2])] if capability else None,
        "power_limit_w": None if watts is None else round(watts),
        "mig": None
        if mode is None
        else {"enabled": True, "instances": sorted(profiles)}
        if mode
        else {"enabled": False},
    }
    return {key: value for key, value in found.items() if value is not None}


def _profiles(answer: str) -> dict[int, list[str]]:
    """Return the MIG profiles by GPU, from a list that has each instance below its GPU."""
    found: dict[int, list[str]] = {}
    gpu = -1
    for line in answer.splitlines():
        if line.startswith("GPU "):
            gpu += 1
        elif instance := re.match(r"\s+MIG (\S+)\s+Device", line):
            found.setdefault(gpu, []).append(instance[1])
    return found
