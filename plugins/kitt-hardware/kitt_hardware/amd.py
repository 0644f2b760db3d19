"""The source ``amd``: AMD's GPUs, as the kernel's driver shows them in ``sys``, and the version of ROCm.

AMD's libraries are not used: anybody can read the driver's files, in every container, and a GPU's name must not
depend on whether a library is installed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kitt_hardware.machine import GIB, Machine, listing, read_text

__all__ = ["describe"]

_VENDOR: Final = "0x1002"

_NAMES: Final[Mapping[tuple[str, str], str]] = {
    ("0x738c", ""): "AMD Instinct MI100",
    ("0x7408", ""): "AMD Instinct MI250X",
    ("0x740c", ""): "AMD Instinct MI250",
    ("0x740f", ""): "AMD Instinct MI210",
    ("0x74a0", ""): "AMD Instinct MI300A",
    ("0x74a1", ""): "AMD Instinct MI300X",
    ("0x74b5", ""): "AMD Instinct MI300X VF",
    ("0x74a5", ""): "AMD Instinct MI325X",
    ("0x75a0", ""): "AMD Instinct MI350X",
    ("0x75a3", ""): "AMD Instinct MI355X",
    ("0x73bf", "0xc0"): "AMD Radeon RX 6900 XT",
    ("0x73bf", "0xc1"): "AMD Radeon RX 6800 XT",
    ("0x73bf", "0xc3"): "AMD Radeon RX 6800",
    ("0x7448", ""): "AMD Radeon PRO W7900",
    ("0x744c", "0xc8"): "AMD Radeon RX 7900 XTX",
    ("0x744c", "0xcc"): "AMD Radeon RX 7900 XT",
    ("0x744c", "0xce"): "AMD Radeon RX 7900 GRE",
    ("0x745e", ""): "AMD Radeon PRO W7800",
    ("0x747e", "0xc8"): "AMD Radeon RX 7800 XT",
    ("0x747e", "0xff"): "AMD Radeon RX 7700 XT",
    ("0x7550", "0xc0"): "AMD Radeon RX 9070 XT",
    ("0x7550", "0xc3"): "AMD Radeon RX 9070",
    ("0x1586", "0xc1"): "AMD Radeon 8060S",
}
"""Names by device and revision; an empty revision matches any. They take precedence over the card's own name,
which not every kernel and virtual machine shows: a card's name must not change. Others are named by number."""

_INTEGRATED: Final = frozenset(
    f"gfx{target}" for target in (902, 909, "90c", 1013, 1033, 1035, 1036, 1037, 1103, 1150, 1151, 1152, 1153)
)
"""Compute targets of the graphics in AMD's CPUs."""

_INTEGRATED_DEVICES: Final = frozenset(
    {"0x13c0", "0x150e", "0x1586", "0x15bf", "0x15c8", "0x1636", "0x1638", "0x163f", "0x164e", "0x1681", "0x1900"}
)
"""The same by device number, for kernels without the compute driver."""

_SHARED_MEMORY: Final = frozenset({"0x74a0"})
"""Accelerators that use the system's memory: MI300A."""

_WHOLE: Final = ("SPX", "NPS1")


def describe(machine: Machine) -> dict[str, Any]:
    """Return ``gpu``, ``rocm_version``, ``driver_version`` and ``remarks``, as far as known."""
    if machine.system != "Linux":
        return {}
    root = machine.root
    cards = [path / "device" for path in listing(root / "sys/class/drm", "card*") if path.name[4:].isdigit()]
    nodes = _nodes(root)
    devices = [_device(card, nodes) for card in cards if read_text(card / "vendor") == _VENDOR]
    if not devices:
        return {}
    rocm = re.match(r"\d+(?:\.\d+)+", read_text(root / "opt/rocm/.info/version"))
    found: dict[str, Any] = {
        "gpu": {"devices": devices},
        "rocm_version": rocm[0] if rocm else None,
        "remarks": [
            f"GPU {i}: its memory is not known" for i, device in enumerate(devices) if "vram_gb" not in device
        ],
    }
    if any("integrated" not in device for device in devices):
        # Only a module that did not come with the kernel has a version.
        found["driver_version"] = read_text(root / "sys/module/amdgpu/version")
    if visible := machine.visible_devices("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        found["gpu"]["visible_devices"] = visible
    return {key: value for key, value in found.items() if value}


def _nodes(root: Path) -> dict[int, dict[str, int]]:
    """Return what the compute driver says about each kind of GPU, by PCI device number."""
    found: dict[int, dict[str, int]] = {}
    for path in listing(root / "sys/class/kfd/kfd/topology/nodes", "*/properties"):
        pairs = (line.split() for line in read_text(path).splitlines())
        properties = {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
        if properties.get("gfx_target_version"):
            found.setdefault(properties.get("device_id", 0), properties)
    return found


def _device(card: Path, nodes: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
    number, revision = read_text(card / "device"), read_text(card / "revision")
    node = nodes.get(_number(number, 16) or 0, {})
    architecture = _architecture(node.get("gfx_target_version", 0))
    integrated = architecture in _INTEGRATED or number in _INTEGRATED_DEVICES
    memory = _number(read_text(card / "mem_info_vram_total"))
    shared = integrated or number in _SHARED_MEMORY
    caps = (_number(read_text(path)) for path in listing(card, "hwmon/hwmon*/power1_cap"))
    per_unit = node.get("simd_per_cu", 0)
    parts = [read_text(card / f"current_{kind}_partition") for kind in ("compute", "memory")]
    found = {
        "vendor": "amd",
        "model": _model(card, number, revision),
        "vram_gb": 0 if shared else -(-memory // GIB) if memory else None,
        "unified_memory": shared or None,
        "integrated": integrated or None,
        "architecture": architecture,
        "compute_units": node.get("simd_count", 0) // per_unit if per_unit else None,
        "power_limit_w": next((round(microwatts / 1e6) for microwatts in caps if microwatts), None),
        "partition": "-".join(parts) if all(parts) and tuple(parts) != _WHOLE else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _model(card: Path, number: str, revision: str) -> str:
    for key in ((number, revision), (number, "")):
        if key in _NAMES:
            return _NAMES[key]
    given = read_text(card / "product_name")
    return given or f"AMD GPU {number.removeprefix('0x')}-{revision.removeprefix('0x')}"


def _architecture(version: int) -> str | None:
    """Return LLVM's name of a target: 90402 is gfx942, 90010 is gfx90a, 110000 is gfx1100."""
    major, minor, step = version // 10000, version // 100 % 100, version % 100
    return f"gfx{major}{minor:x}{step:x}" if version else None


def _number(text: str, base: int = 10) -> int | None:
    try:
        return int(text, base)
    except ValueError:
        return None
