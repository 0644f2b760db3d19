"""The source ``host``: what ``system_info`` says of CPU, memory, disk, product, system and environment."""

from __future__ import annotations

from typing import Any

from kitt_hardware.cloud import product
from kitt_hardware.cpu import cpu_model
from kitt_hardware.disk import results_disk
from kitt_hardware.environment import environment_type
from kitt_hardware.machine import GIB, Machine
from kitt_hardware.memory import UNKNOWN, memory_type

__all__ = ["describe"]


def describe(machine: Machine) -> dict[str, Any]:
    """Return the sections of ``system_info`` that the machine tells; what is not known is left out."""
    remarks: list[str] = []
    model = cpu_model(machine)
    if not model:
        remarks.append("cpu.model: nothing names the CPU")
    cpu = {"model": model or None, "cores": machine.cores, "threads": machine.threads}
    memory_gb = None if machine.memory_bytes is None else machine.memory_bytes // GIB
    ram_type = None if memory_gb is None else memory_type(machine)
    if ram_type == UNKNOWN:
        remarks.append("ram_type: nothing that may be read without special rights tells it")
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
