"""The memory's type: DDR4, LPDDR5 and so on, where it can be read without special rights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from kitt_hardware.files import listing, read_text
from kitt_hardware.machine import Machine

__all__ = ["UNKNOWN", "memory_type"]

UNKNOWN: Final = "Unknown"
"""What KITT writes where the type can't be told."""
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
    """Return the type of the first memory module that tells it, else ``Unknown``."""
    if machine.system == "Linux":
        candidates = _on_linux(machine.root)
    elif machine.system == "Darwin":
        candidates = iter([machine.ask("/usr/sbin/system_profiler", "SPMemoryDataType")])
    else:
        candidates = iter(())
    for text in candidates:
        if found := _NAME.search(text):
            return found[1].upper()
    return UNKNOWN


def _on_linux(root: Path) -> Iterator[str]:
    # udev reads the SMBIOS tables as root at boot and leaves the answer readable for all.
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
    except OSError:  # root alone may read it
        return ""
    size = record[0x0C:0x0E]
    if len(record) <= 0x12 or size == b"\0\0":  # an empty slot
        return ""
    return _SMBIOS_TYPES.get(record[0x12], "")
