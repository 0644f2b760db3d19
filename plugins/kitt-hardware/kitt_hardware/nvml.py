"""NVIDIA GPUs, as NVML reports them through the module ``pynvml``.

The module comes from the distribution nvidia-ml-py. An older distribution, called pynvml like the module, returns
bytes instead of text and lacks newer functions. Both are handled here, as is a driver that supports only some of
them.
"""

from __future__ import annotations

import importlib
import math
import re
import sys
from collections.abc import Callable
from typing import Any, Final

from kitt_hardware.machine import GIB

__all__ = ["UNIFIED", "NoDriverError", "load", "read"]

UNIFIED: Final = re.compile(r"\bGB10\b|\bOrin\b|\bThor\b|\bXavier\b|\bTegra\b|nvgpu", re.IGNORECASE)
"""GPUs without memory of their own; some of their drivers say so, others report the system's memory."""

_MIG_ENABLED: Final = 1
_MOST_GPUS: Final = 256


class NoDriverError(OSError):
    """NVIDIA's library is not installed, as on most machines."""


def load() -> Any:
    """Return the module ``pynvml``.

    Raises:
        NoDriverError: There is no library. This is checked first, since importing the module takes 50 ms.
        ImportError: The module can't be imported.
    """
    if sys.platform == "linux":
        import ctypes

        try:
            ctypes.CDLL("libnvidia-ml.so.1")
        except OSError as error:
            raise NoDriverError("no driver: libnvidia-ml.so.1 can't be loaded") from error
    return importlib.import_module("pynvml")


def read(pynvml: Any) -> dict[str, Any]:
    """Return ``gpu.devices``, ``driver_version``, ``cuda_version`` and ``remarks``, each if NVML reports it.

    Raises:
        NoDriverError: There is no library.
        Exception: NVML can't be used; the message is the library's.
    """
    try:
        pynvml.nvmlInit()
    except Exception as error:
        if "Library Not Found" in str(error):
            raise NoDriverError(str(error)) from error
        raise
    try:
        return _Reader(pynvml).sections()
    finally:
        pynvml.nvmlShutdown()


class _Reader:
    """Queries NVML: errors become remarks, and what the GPU does not support is left out."""

    def __init__(self, pynvml: Any) -> None:
        self._nvml = pynvml
        self._remarks: list[str] = []

    def sections(self) -> dict[str, Any]:
        count = min(int(self._nvml.nvmlDeviceGetCount()), _MOST_GPUS)
        devices = [device for index in range(count) if (device := self._device(index))]
        cuda = self._query("CUDA's version", "nvmlSystemGetCudaDriverVersion")
        found = {
            "gpu": {"devices": devices} if devices else None,
            "driver_version": _text(self._query("the driver's version", "nvmlSystemGetDriverVersion")) or None,
            # 12040 is 12.4
            "cuda_version": f"{cuda // 1000}.{cuda % 1000 // 10}" if isinstance(cuda, int) and cuda > 0 else None,
            "remarks": self._remarks or None,
        }
        return {key: value for key, value in found.items() if value is not None}

    def _device(self, index: int) -> dict[str, Any] | None:
        what = f"GPU {index}"
        handle = self._query(what, "nvmlDeviceGetHandleByIndex", index)
        model = None if handle is None else _text(self._query(f"{what}'s name", "nvmlDeviceGetName", handle))
        if not model:
            return None
        capability = self._query(f"{what}'s compute capability", "nvmlDeviceGetCudaComputeCapability", handle)
        milliwatts = self._query(f"{what}'s power limit", "nvmlDeviceGetPowerManagementLimit", handle)
        found = {
            "vendor": "nvidia",
            "model": model,
            **self._memory(what, model, handle),
            "compute_capability": None if capability is None else [int(part) for part in capability],
            "power_limit_w": None if milliwatts is None else round(milliwatts / 1000),
            "mig": self._mig(what, handle),
        }
        return {key: value for key, value in found.items() if value is not None}

    def _memory(self, what: str, model: str, handle: Any) -> dict[str, Any]:
        if UNIFIED.search(model):
            return {"vram_gb": 0, "unified_memory": True}
        before = len(self._remarks)
        memory = self._query(f"{what}'s memory", "nvmlDeviceGetMemoryInfo", handle)
        if memory is not None:
            return {"vram_gb": -(-int(memory.total) // GIB)}
        # No remark means "not supported": the GPU has no memory of its own.
        return {"vram_gb": 0, "unified_memory": True} if len(self._remarks) == before else {}

    def _mig(self, what: str, handle: Any) -> dict[str, Any] | None:
        mode = self._query(f"{what}'s MIG mode", "nvmlDeviceGetMigMode", handle)
        if mode is None:
            return None
        if mode[0] != _MIG_ENABLED:
            return {"enabled": False}
        count = self._query(f"{what}'s MIG instances", "nvmlDeviceGetMaxMigDeviceCount", handle) or 0
        return {
            "enabled": True,
            "instances": sorted(filter(None, (self._profile(handle, i) for i in range(count)))),
        }

    def _profile(self, handle: Any, index: int) -> str | None:
        """Return the instance's profile, ``1g.10gb``; None if there is none, without a remark."""
        instance = self._query_quietly("nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
        if instance is None:
            return None
        _, found, profile = _text(self._query_quietly("nvmlDeviceGetName", instance)).partition(" MIG ")
        if found:
            return profile.strip()
        attributes = self._query_quietly("nvmlDeviceGetAttributes_v2", instance) or self._query_quietly(
            "nvmlDeviceGetAttributes", instance
        )
        return "unknown" if attributes is None else _profile_of(attributes)

    def _query(self, what: str, function: str, *arguments: Any) -> Any:
        return self._call(function, arguments, lambda reason: self._remarks.append(f"{what}: {reason}"))

    def _query_quietly(self, function: str, *arguments: Any) -> Any:
        return self._call(function, arguments, lambda _: None)

    def _call(self, function: str, arguments: tuple[Any, ...], refused: Callable[[str], None]) -> Any:
        try:
            return getattr(self._nvml, function)(*arguments)
        except Exception as error:  # noqa: BLE001 - an old binding or driver must cost only this value
            reason = _text(str(error)) or type(error).__name__
            if reason != "Not Supported":  # the GPU does not have it
                refused(reason)
            return None


def _profile_of(attributes: Any) -> str:
    slices, computes = int(attributes.gpuInstanceSliceCount), int(attributes.computeInstanceSliceCount)
    size = math.ceil(int(attributes.memorySizeMB) / 1024)
    return (f"{computes}c." if computes != slices else "") + f"{slices}g.{size}gb"


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    return " ".join(value.split()) if isinstance(value, str) else ""
