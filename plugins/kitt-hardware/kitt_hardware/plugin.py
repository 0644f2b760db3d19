"""The plugin: registers the fingerprint sources; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kitt_core.fingerprint import FingerprintSource
from kitt_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from kitt_core.plugins import Registry

__all__ = ["kitt_register_fingerprint"]


@hookimpl
def kitt_register_fingerprint(registry: Registry[FingerprintSource]) -> None:
    """Add the sources."""
    for name, collect, summary in (
        ("host", _host, "CPU, memory, disk, product, operating system and environment of this machine"),
        ("nvidia", _nvidia, "NVIDIA GPUs with their partitions, driver and CUDA; Jetsons"),
        ("amd", _amd, "AMD GPUs, driver and ROCm"),
        ("apple", _apple, "the GPU of Apple's chips"),
    ):
        registry.add(FingerprintSource(name=name, collect=collect, summary=summary))


def _host() -> Mapping[str, Any]:
    from kitt_hardware.host import describe
    from kitt_hardware.machine import this_machine

    return describe(this_machine())


def _nvidia() -> Mapping[str, Any]:
    from kitt_hardware.machine import this_system
    from kitt_hardware.nvidia import describe

    return describe(this_system())


def _amd() -> Mapping[str, Any]:
    from kitt_hardware.amd import describe
    from kitt_hardware.machine import this_system

    return describe(this_system())


def _apple() -> Mapping[str, Any]:
    from kitt_hardware.apple import describe
    from kitt_hardware.machine import this_system

    return describe(this_system())
