# ruff: noqa: N802 - the functions have the library's names
"""Machines from `machines/*.toml`, and an NVML without a driver."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attrs import evolve

from kitt_core.fingerprint import FingerprintSource, SystemInfo, collect_system_info
from kitt_hardware import amd, apple, host, nvidia, nvml
from kitt_hardware.machine import Machine

DESCRIPTIONS = Path(__file__).parent / "machines"
NAMES = sorted(path.stem for path in DESCRIPTIONS.glob("*.toml"))
MIB = 2**20


class NVMLError(Exception):
    """What the module raises for a code of the library."""


class FakeNvml:
    """The part of the module ``pynvml`` that is used, over descriptions of GPUs.

    A missing value is not supported, a text in its place is the library's error.
    """

    def __init__(
        self,
        gpus: Sequence[Mapping[str, Any]],
        *,
        driver: Any = "550.90.07",
        cuda: Any = 12040,
        as_bytes: bool = False,
    ) -> None:
        self.gpus = [dict(gpu) for gpu in gpus for _ in range(gpu.get("times", 1))]
        self.driver, self.cuda, self.as_bytes = driver, cuda, as_bytes
        self.open = 0

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlSystemGetDriverVersion(self) -> Any:
        return self._text(self.driver)

    def nvmlSystemGetCudaDriverVersion(self) -> Any:
        if self.cuda is None:
            raise NVMLError("Function Not Found")
        return self.cuda

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        if "lost" in self.gpus[index]:
            raise NVMLError("GPU is lost")
        return self.gpus[index]

    def nvmlDeviceGetName(self, handle: Any) -> Any:
        return self._text(self._of(handle, "name"))

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:
        return SimpleNamespace(total=self._of(handle, "memory_mib") * MIB)

    def nvmlDeviceGetCudaComputeCapability(self, handle: Any) -> Any:
        return tuple(self._of(handle, "capability"))

    def nvmlDeviceGetPowerManagementLimit(self, handle: Any) -> Any:
        return self._of(handle, "milliwatts")

    def nvmlDeviceGetMigMode(self, handle: Any) -> Any:
        instances = self._of(handle, "mig")
        return [1 if instances or handle.get("mig_on") else 0, 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: int) -> Any:
        instances = handle["mig"]
        if index >= len(instances):
            raise NVMLError("Not Found")
        if isinstance(instances[index], str):
            return {"name": f"{handle['name']} MIG {instances[index]}"}
        return {"slices": instances[index]}

    def nvmlDeviceGetAttributes_v2(self, handle: Any) -> Any:
        computes, slices, mib = self._of(handle, "slices")
        return SimpleNamespace(gpuInstanceSliceCount=slices, computeInstanceSliceCount=computes, memorySizeMB=mib)

    def _of(self, handle: Any, key: str) -> Any:
        value = handle.get(key, "Not Supported")
        if isinstance(value, str) and key != "name":
            raise NVMLError(value)
        return value

    def _text(self, value: Any) -> Any:
        return value.encode() if self.as_bytes and isinstance(value, str) else value


def no_library() -> Any:
    raise nvml.NoDriverError("no driver: libnvidia-ml.so.1 can't be loaded")


def answers(commands: Mapping[str, str | None]) -> Any:
    """Return what runs commands: each known one by its line, no other; a known one without an answer hangs."""

    def run(*command: str, patience: float = 0, must_end: bool = False) -> str:
        output = commands.get(" ".join(command), "")
        if output is None and must_end:
            raise TimeoutError(f"no answer within {patience:g} s")
        return (output or "").strip()

    return run


def write(root: Path, files: Mapping[str, str], links: Mapping[str, str] | None = None) -> Path:
    """Write files and symbolic links below ``root``."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name, target in (links or {}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(root / target)
    return root


class FakeMachine:
    """A machine of `machines/`."""

    def __init__(self, name: str, root: Path) -> None:
        description = tomllib.loads((DESCRIPTIONS / f"{name}.toml").read_text(encoding="utf-8"))
        facts = description["machine"]
        memory, results = facts.pop("memory_kib") * 1024, facts.pop("results", None)
        self.machine = Machine(
            **facts,
            memory_bytes=memory,
            results=results and Path(results),
            root=write(root, description.get("files", {}), description.get("links")),
            run=answers(description.get("commands", {})),
        )
        library = description.get("nvml")
        self.nvml = library and FakeNvml(
            library["gpus"],
            driver=library["driver"],
            cuda=library["cuda"],
            as_bytes=library.get("bytes", False),
        )

    def change(self, **changes: Any) -> None:
        self.machine = evolve(self.machine, **changes)

    def load(self) -> Any:
        return self.nvml or no_library()

    def info(self) -> SystemInfo:
        """Return what `kitt fingerprint` finds on it."""
        machine = self.machine
        sources = {
            "host": lambda: host.describe(machine),
            "nvidia": lambda: nvidia.describe(machine, self.load),
            "amd": lambda: amd.describe(machine),
            "apple": lambda: apple.describe(machine),
        }
        return collect_system_info([FingerprintSource(name, collect) for name, collect in sources.items()])
