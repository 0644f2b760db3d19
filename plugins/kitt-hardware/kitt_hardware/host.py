"""The source ``host``: all of ``system_info`` but the GPUs; here, the type of the memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from kitt_hardware.cpu import cpu_model
from kitt_hardware.disk import results_disk
from kitt_hardware.environment import environment_type, product
from kitt_hardware.machine import GIB, Machine, listing, read_text

__all__ = ["UNKNOWN", "describe", "memory_type"]


def describe(machine: Machine) -> dict[str, Any]:
    """Return the sections of ``system_info`` that this machine reveals; what is not known is left out."""
    remarks: list[str] = []
    model = cpu_model(machine)
    if not model:
        remarks.append("cpu.model: not known")
    cpu = {"model": model or None, "cores": machine.cores, "threads": machine.threads}
    memory_gb = None if machine.memory_bytes is None else machine.memory_bytes // GIB
    ram_type = None if memory_gb is None else memory_type(machine)
    if ram_type == UNKNOWN:
        remarks.append("ram_type: not known without special rights")
    storage, remark = results_disk(machine)
    if storage is None:
        remark = "storage: no disk is visible"
    if remark:
        remarks.append(remark)
    sections: dict[str, Any] = {
        "cpu": {key: value for key, value in cpu.items() if value is not None} or None,
        "ram_gb": memory_gb,
        "ram_type": ram_type,
        "storage": storage,
        "os": "-".join(part for part in (machine.system, machine.release) if part) or None,
        "kernel": machine.version or None,
        "environment_type": environment_type(machine.root, machine.system, machine.environ),
        **(product(machine.root) if machine.system == "Linux" else {}),
        "remarks": remarks or None,
    }
    return {key: value for key, value in sections.items() if value is not None}


UNKNOWN: Final = "Unknown"
"""What KITT writes if the type is not known."""
_NAME: Final = re.compile(r"\b(LPDDR[1-9]?X?|DDR[1-9]?|HBM[1-9]?E?)\b", re.IGNORECASE)
_SMBIOS_TYPES: Final[Mapping[int, str]] = {
    0x12: "DDR",
    0x13: "DDR2",
    0x18: "DDR3",
    0x1A: "DDR4",
    0x1B: "LPDDR",
    0x1C: "LPDDR2",
    0x1D: "LPDDR3",
    0x1E: "LPDDR4",
    0x20: "HBM",
    0x21: "HBM2",
    0x22: "DDR5",
    0x23: "LPDDR5",
    0x24: "HBM3",
}


def memory_type(machine: Machine) -> str:
    """Return the type of the first memory module whose type is readable without special rights, or ``Unknown``."""
    if machine.system == "Linux":
        candidates = _on_linux(machine.root)
    elif machine.system == "Darwin":
        candidates = iter([machine.run("/usr/sbin/system_profiler", "SPMemoryDataType")])
    else:
        candidates = iter(())
    for text in candidates:
        if found := _NAME.search(text):
            return found[1].upper()
    return UNKNOWN


def _on_linux(root: Path) -> Iterator[str]:
    # udev reads the SMBIOS tables as root at boot and leaves a file that everybody can read.
    for line in read_text(root / "run/udev/data/+dmi:id").splitlines():
        if re.match(r"E:MEMORY_DEVICE_\d+_TYPE=", line):
            yield line.partition("=")[2]
    for path in listing(root / "sys/devices/system/edac/mc", "mc*/dimm*/dimm_mem_type"):
        yield read_text(path)
    for path in listing(root / "sys/firmware/dmi/entries", "17-*/raw"):
        yield _from_smbios(path)


def _from_smbios(path: Path) -> str:
    try:
        record = path.read_bytes()
    except OSError:  # only root may read it
        return ""
    size = record[0x0C:0x0E]
    if len(record) <= 0x12 or size == b"\0\0":  # an empty slot
        return ""
    return _SMBIOS_TYPES.get(record[0x12], "")
