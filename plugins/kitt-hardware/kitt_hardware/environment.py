"""Where a process runs: bare, in a container, in WSL, on a DGX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kitt_hardware.files import exists, read_text

__all__ = ["ENVIRONMENT_TYPES", "environment_type"]

ENVIRONMENT_TYPES: Final = (
    "dgx_spark",
    "dgx",
    "wsl2",
    "kubernetes",
    "docker",
    "podman",
    "containerd",
    "apptainer",
    "container",
    "native_linux",
    "native_macos",
    "native_windows",
    "unknown",
)
"""Every environment, in the order in which they are tried."""

_NATIVE: Final[Mapping[str, str]] = {
    "Linux": "native_linux",
    "Darwin": "native_macos",
    "Windows": "native_windows",
}
_FROM_ENGINE: Final = ("/", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf")


def environment_type(root: Path, system: str, environ: Mapping[str, str]) -> str:
    """Return KITT's name of the environment; the most telling one where several fit."""
    if system == "Linux":
        return _machine(root) or _container(root, environ) or _NATIVE[system]
    return _NATIVE.get(system, "unknown")


def _machine(root: Path) -> str | None:
    release = root / "etc/dgx-release"
    if "spark" in read_text(release).lower() or exists(root / "etc/nvidia/nvidia-dgs.conf"):
        return "dgx_spark"
    if exists(release):
        return "dgx"
    version = read_text(root / "proc/version").lower()
    return "wsl2" if "microsoft" in version or "wsl" in version else None


def _container(root: Path, environ: Mapping[str, str]) -> str | None:
    groups = read_text(root / "proc/1/cgroup").lower()
    mounts = _engine_mounts(read_text(root / "proc/self/mountinfo"))
    told = f"{read_text(root / 'run/systemd/container')}\n{environ.get('container', '')}"
    traces = f"{groups}\n{mounts}\n{told}"
    # First, because Docker and CRI-O leave their own files in the pods that they run.
    if (
        "KUBERNETES_SERVICE_HOST" in environ
        or exists(root / "var/run/secrets/kubernetes.io")
        or any(mark in traces for mark in ("kubepods", "/kubelet/pods/"))
    ):
        return "kubernetes"
    if exists(root / ".dockerenv"):
        return "docker"
    if exists(root / "run/.containerenv") or "libpod" in traces or "podman" in traces:
        return "podman"
    if "containerd" in traces:
        return "containerd"
    if exists(root / ".singularity.d") or {"APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"} & environ.keys():
        return "apptainer"
    marks = ("docker", "lxc", "crio", "/containers/storage/", "systemd-nspawn")
    return "container" if told.strip() or any(mark in traces for mark in marks) else None


def _engine_mounts(mountinfo: str) -> str:
    """Return the mounts that a container's engine made.

    Under cgroup v2 a container sees ``0::/`` as its group, so its mounts have to tell. Only those of the root
    and of the network files count: a host lists the file systems of its containers too.
    """
    lines = (line for line in mountinfo.splitlines() if len(line.split()) > 4)
    return "\n".join(line.lower() for line in lines if line.split()[4] in _FROM_ENGINE)
