"""The CPU's model, from what each operating system offers."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping
from typing import Final

from kitt_hardware.machine import Machine, read_text

__all__ = ["cpu_model"]

_IMPLEMENTERS: Final[Mapping[int, str]] = {
    0x41: "ARM",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x46: "Fujitsu",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x50: "APM",
    0x51: "Qualcomm",
    0x53: "Samsung",
    0x61: "Apple",
    0x6D: "Microsoft",
    0xC0: "Ampere",
}

_PARTS: Final[Mapping[tuple[int, int], str]] = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD48): "Cortex-X2",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4A): "Neoverse-E1",
    (0x41, 0xD4D): "Cortex-A715",
    (0x41, 0xD4E): "Cortex-X3",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD80): "Cortex-A520",
    (0x41, 0xD81): "Cortex-A720",
    (0x41, 0xD82): "Cortex-X4",
    (0x41, 0xD84): "Neoverse-V3",
    (0x41, 0xD85): "Cortex-X925",
    (0x41, 0xD87): "Cortex-A725",
    (0x41, 0xD8E): "Neoverse-N3",
    (0x41, 0xD4B): "Cortex-A78C",
    (0x41, 0xD4C): "Cortex-X1C",
    (0x46, 0x001): "A64FX",
    (0x48, 0xD01): "Kunpeng-920",
    (0x4E, 0x003): "Denver-2",
    (0x4E, 0x004): "Carmel",
    (0x4E, 0x010): "Olympus",
    (0x51, 0x001): "Oryon",
    (0x61, 0x022): "M1-Icestorm",
    (0x61, 0x023): "M1-Firestorm",
    (0x61, 0x024): "M1-Pro-Icestorm",
    (0x61, 0x025): "M1-Pro-Firestorm",
    (0x61, 0x028): "M1-Max-Icestorm",
    (0x61, 0x029): "M1-Max-Firestorm",
    (0x61, 0x032): "M2-Blizzard",
    (0x61, 0x033): "M2-Avalanche",
    (0x6D, 0xD49): "Azure-Cobalt-100",
    (0xC0, 0xAC3): "Ampere-1",
    (0xC0, 0xAC4): "Ampere-1A",
}

_MODEL_KEYS: Final = ("model name", "cpu model", "cpu", "uarch")  # x86 and LoongArch, MIPS, POWER, RISC-V


def cpu_model(machine: Machine) -> str:
    """Return the CPU's brand string; empty if there is none."""
    if machine.system == "Linux":
        return _from_cpuinfo(read_text(machine.root / "proc/cpuinfo"))
    if machine.system == "Darwin":
        return machine.run("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string") or platform.processor()
    return _from_windows_registry() or platform.processor()


def _from_cpuinfo(text: str) -> str:
    first: dict[str, str] = {}
    parts: dict[tuple[int, int], None] = {}
    implementer = 0
    for line in text.splitlines():
        key, found, value = line.partition(":")
        key, value = key.strip().lower(), value.strip()
        if not found or not value:
            continue
        first.setdefault(key, value)
        if key == "cpu implementer":
            implementer = _number(value)
        elif key == "cpu part":
            parts[implementer, _number(value)] = None
    name = next((first[key] for key in _MODEL_KEYS if key in first), "")
    if parts and (not name or name.startswith("ARMv")):  # older kernels name the architecture, not the core
        return _arm_name(list(parts))
    return _distinct(name.partition(", altivec")[0], first) or _mainframe(first) or _risc_v(first)


def _mainframe(first: Mapping[str, str]) -> str:
    # "version = FF,  identification = 0133E8,  machine = 2964": the identification is a serial number.
    found = re.search(r"machine = (\w+)", first.get("processor 0", ""))
    return f"IBM Z {found[1]}" if found else ""


def _risc_v(first: Mapping[str, str]) -> str:
    ids = [first.get(key, "") for key in ("mvendorid", "marchid")]
    return f"RISC-V {ids[0]} {ids[1]}" if all(ids) else ""


def _distinct(name: str, first: Mapping[str, str]) -> str:
    # Virtual machines shorten the brand ("AMD EPYC"): family and model still distinguish the generations.
    if not name or any(character.isdigit() for character in name) or "cpu family" not in first:
        return name
    return f"{name} family {first['cpu family']} model {first.get('model', '0')}"


def _arm_name(parts: list[tuple[int, int]]) -> str:
    names: list[str] = []
    vendor = ""
    for implementer, part in sorted(parts, reverse=True):
        maker = _IMPLEMENTERS.get(implementer, f"0x{implementer:02x}")
        name = _PARTS.get((implementer, part), f"part 0x{part:03x}")
        names.append(name if maker == vendor else f"{maker} {name}")
        vendor = maker
    return " / ".join(names)  # big and little cores of one chip


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0


def _from_windows_registry() -> str:
    if sys.platform != "win32":
        return ""
    import winreg

    path = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    except OSError:
        return ""
