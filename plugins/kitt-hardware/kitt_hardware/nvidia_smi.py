"""NVIDIA GPUs, as the command ``nvidia-smi`` tells them, where NVML can't be asked directly."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Final

from kitt_hardware.files import exists
from kitt_hardware.machine import Machine
from kitt_hardware.nvml import UNIFIED

__all__ = ["read"]

_PLACES: Final = ("usr/bin/nvidia-smi", "usr/lib/wsl/lib/nvidia-smi", "opt/bin/nvidia-smi")
_PATIENCE_SECONDS: Final = 10.0  # without its persistence daemon the driver wakes eight GPUs one after another
_OLD_FIELDS: Final = ("driver_version", "memory.total")
_WITHOUT_MEMORY: Final = frozenset({"[N/A]", "N/A", "[Not Supported]"})
_FIELDS: Final = (*_OLD_FIELDS, "compute_cap", "power.limit", "mig.mode.current")


def read(machine: Machine) -> dict[str, Any]:
    """Return what ``nvml.read`` returns, as far as the command tells it; nothing if there is none.

    A command that hangs once is not asked again: what it has told until then is returned, with a remark.

    Raises:
        TimeoutError: It hangs, and has told nothing.
    """
    command = _command(machine)
    if command is None:
        return {}
    for fields in (_FIELDS, _OLD_FIELDS):  # an old driver refuses all if it does not know one
        query = f"--query-gpu=name,{','.join(fields)}"
        rows = _rows(_ask(machine, command, query, "--format=csv,noheader,nounits"), fields)
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
    told = None
    try:
        if any(_is_mig(row) for row in rows):
            profiles = _profiles(_ask(machine, command, "-L"))
        compute = _ask(machine, command, "-q", "-d", "COMPUTE")
        told = re.search(r"CUDA (?:\w+ )?Version\s*:\s*(\d+\.\d+)", compute)
    except TimeoutError as error:
        remarks.append(f"nvidia-smi: {error}")
    devices = [_device(row, profiles.get(index, [])) for index, row in enumerate(rows)]
    found: dict[str, Any] = {"gpu": {"devices": devices}}
    if driver := _known(rows[0]["driver_version"]):
        found["driver_version"] = driver
    if told:
        found["cuda_version"] = told[1]
    if remarks:
        found["remarks"] = remarks
    return found


def _command(machine: Machine) -> str | None:
    known = next((f"/{place}" for place in _PLACES if exists(machine.root / place)), None)
    if known is not None or (machine.system != "Windows" and machine.root != Path("/")):
        return known
    import shutil

    return shutil.which("nvidia-smi")


def _ask(machine: Machine, command: str, *arguments: str) -> str:
    return machine.ask(command, *arguments, patience=_PATIENCE_SECONDS, must_end=True)


def _rows(answer: str, fields: tuple[str, ...]) -> list[dict[str, str]]:
    # Nothing is quoted: a comma in a name is told from the others by counting from the right.
    split = [[cell.strip() for cell in line.rsplit(",", len(fields))] for line in answer.splitlines()]
    rows = [dict(zip(("name", *fields), cells, strict=True)) for cells in split if len(cells) == len(fields) + 1]
    # What goes wrong is told in sentences, which may have commas.
    return [
        row
        for row in rows
        if _known(row["name"]) and (_is_absent(row["memory.total"]) or _number(row["memory.total"]))
    ]


def _is_absent(text: str) -> bool:
    """Return whether that stands where there is no value: ``[N/A]``, ``[Not Supported]``."""
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
    """Return whether the GPU has no memory of its own; one whose memory can't be read is none of them."""
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
    """Return the MIG profiles by GPU, from the list that has each instance below its GPU."""
    found: dict[int, list[str]] = {}
    gpu = -1
    for line in answer.splitlines():
        if line.startswith("GPU "):
            gpu += 1
        elif instance := re.match(r"\s+MIG (\S+)\s+Device", line):
            found.setdefault(gpu, []).append(instance[1])
    return found
