"""The source ``nvidia``: GPUs, driver and CUDA, from the best of what the machine has.

In this order: a Jetson's own name; NVML; the command ``nvidia-smi``; what the kernel's driver shows without either
(only models). Serial numbers and UUIDs are not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from kitt_hardware import nvidia_smi, nvml
from kitt_hardware.machine import Machine, listing, read_text, with_timeout

__all__ = ["describe"]

_PATIENCE_SECONDS: Final = 15.0  # without its persistence daemon the driver wakes eight GPUs one after another
_VENDOR: Final = "0x10de"
_DISPLAY: Final = "0x03"
_TEGRA_CAPABILITIES: Final[Mapping[str, list[int]]] = {
    "tegra210": [5, 3],
    "tegra186": [6, 2],
    "tegra194": [7, 2],
    "tegra234": [8, 7],
}


def describe(machine: Machine, load: Callable[[], Any] = nvml.load) -> dict[str, Any]:
    """Return ``gpu``, ``driver_version``, ``cuda_version`` and ``remarks``, as far as there are any.

    Args:
        machine: The machine.
        load: Returns the module ``pynvml``, or raises if it or its library is missing.
    """
    if machine.system not in {"Linux", "Windows"}:
        return {}
    found, failure, broken = _from_nvml_or_command(machine, load)
    if jetson := _jetson(machine):
        found, failure = _with_jetson(found, jetson), None
    elif "gpu" not in found:
        found = _from_kernel(machine) or found
    on_bus = _on_bus(machine)
    seen = len(found.get("gpu", {}).get("devices", ()))
    if not (seen or on_bus or broken):
        return {}  # no NVIDIA GPU, so nothing is missing
    remarks = [failure] if failure else []
    if on_bus > seen:
        remarks.append(f"{on_bus} NVIDIA GPUs are on the bus, {seen} can be used here")
    remarks += found.pop("remarks", [])
    if seen and (visible := machine.visible_devices("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")):
        found["gpu"]["visible_devices"] = visible
    return {**found, **({"remarks": remarks} if remarks else {})}


def _from_nvml_or_command(machine: Machine, load: Callable[[], Any]) -> tuple[dict[str, Any], str | None, bool]:
    """Return what NVML or ``nvidia-smi`` reports, why NVML failed, and whether it is broken rather than absent."""
    failure, broken = None, False
    found: dict[str, Any] = {}
    try:
        found = with_timeout(_PATIENCE_SECONDS, lambda: nvml.read(load()))
        if "gpu" in found:
            return found, None, False
    except TimeoutError as error:
        return {}, f"NVML: {error}", True  # nvidia-smi would wait for the same driver
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a broken driver or binding must not stop KITT
        failure = f"NVML: {' '.join(str(error).split()) or type(error).__name__}"
        broken = not isinstance(error, nvml.NoDriverError)
    broken = broken or "remarks" in found
    try:
        return nvidia_smi.read(machine) or found, failure, broken
    except TimeoutError as error:
        hangs = f"nvidia-smi: {error}"
        return found, f"{failure}; {hangs}" if failure else hangs, True


def _jetson(machine: Machine) -> dict[str, Any] | None:
    """Return the GPU of a Jetson, whose driver calls it ``Orin (nvgpu)`` or nothing at all."""
    compatible = read_text(machine.root / "proc/device-tree/compatible")
    chip = re.search(r"nvidia,(tegra\d+)", compatible)
    release = re.search(r"# R(\d+).*?REVISION: ([\d.]+)", read_text(machine.root / "etc/nv_tegra_release"))
    if chip is None and release is None:
        return None
    places = ("proc/device-tree/model", "sys/devices/soc0/machine")
    model = next((text for place in places if (text := read_text(machine.root / place))), "NVIDIA Jetson")
    device: dict[str, Any] = {"vendor": "nvidia", "model": model, "vram_gb": 0, "unified_memory": True}
    if chip and chip[1] in _TEGRA_CAPABILITIES:
        device["compute_capability"] = _TEGRA_CAPABILITIES[chip[1]]
    found: dict[str, Any] = {"gpu": {"devices": [device]}}
    if release:
        found["driver_version"] = f"{release[1]}.{release[2]}"
    return found


def _with_jetson(found: Mapping[str, Any], jetson: dict[str, Any]) -> dict[str, Any]:
    """Return what was found, with the Jetson's own name instead of its driver's."""
    (own,) = jetson["gpu"]["devices"]
    devices: list[dict[str, Any]] = found.get("gpu", {}).get("devices", [])
    cards = [device for device in devices if not device.get("unified_memory")]
    built_in = next((device for device in devices if device.get("unified_memory")), {})
    return {
        **jetson,
        **found,
        "gpu": {"devices": [{**built_in, **own, **({"integrated": True} if cards else {})}, *cards]},
    }


def _from_kernel(machine: Machine) -> dict[str, Any]:
    """Return the models, which the driver shows even if its library has another version."""
    driver = machine.root / "proc/driver/nvidia"
    texts = [read_text(path / "information") for path in listing(driver / "gpus")]
    models = [found[1].strip() for text in texts if (found := re.search(r"^Model:\s*(\S.*)$", text, re.MULTILINE))]
    if not models:
        return {}
    version = re.search(r"\b(\d{3}\.\d+(?:\.\d+)?)\b", read_text(driver / "version"))
    return {
        "gpu": {"devices": [{"vendor": "nvidia", "model": model} for model in models]},
        **({"driver_version": version[1]} if version else {}),
        "remarks": ["the driver does not answer: only the models of the GPUs are known"],
    }


def _on_bus(machine: Machine) -> int:
    """Return the number of GPUs on the PCI bus: a container sees all of them there."""
    devices = listing(machine.root / "sys/bus/pci/devices")
    return sum(
        read_text(path / "vendor") == _VENDOR and read_text(path / "class").startswith(_DISPLAY)
        for path in devices
    )
