"""Where a process runs: bare, in a container or in WSL; on which product, cloud and hypervisor.

Of the firmware, only names are read, not serial numbers or identifiers; the chassis' asset tag is compared but
never returned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kitt_hardware.machine import exists, read_text

__all__ = ["ENVIRONMENT_TYPES", "environment_type", "product"]

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
"""All environments, in the order in which they are tried."""

_NATIVE: Final[Mapping[str, str]] = {
    "Linux": "native_linux",
    "Darwin": "native_macos",
    "Windows": "native_windows",
}
_FROM_ENGINE: Final = ("/", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf")


def environment_type(root: Path, system: str, environ: Mapping[str, str]) -> str:
    """Return KITT's name for the environment; the most specific one if several fit."""
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
    runtime = f"{read_text(root / 'run/systemd/container')}\n{environ.get('container', '')}"
    traces = f"{groups}\n{mounts}\n{runtime}"
    # Kubernetes comes first because Docker and CRI-O leave their own files in pods.
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
    return "container" if runtime.strip() or any(mark in traces for mark in marks) else None


def _engine_mounts(mountinfo: str) -> str:
    """Return the mounts that a container engine made.

    Under cgroup v2 a container sees only ``0::/`` as its group, so its mounts must identify it. Only those of the
    root and of the network files count, because a host also lists the file systems of its containers.
    """
    lines = (line for line in mountinfo.splitlines() if len(line.split()) > 4)
    return "\n".join(line.lower() for line in lines if line.split()[4] in _FROM_ENGINE)


_AZURE: Final = "7783-7084-3265-9085-8269-3286-77"
"""The asset tag of all virtual machines on Azure, and of no others on Hyper-V."""

_CLOUDS: Final[Mapping[str, str]] = {
    "amazon": "aws",
    "google": "gcp",
    "alibaba": "alibaba",
    "oraclecloud": "oracle",
    "digitalocean": "digitalocean",
    "hetzner": "hetzner",
    "tencent": "tencent",
    "ibmcloud": "ibm",
    "scaleway": "scaleway",
    "vultr": "vultr",
    "linode": "linode",
    "akamai": "linode",
    "upcloud": "upcloud",
    "exoscale": "exoscale",
    "opentelekomcloud": "otc",
    "openstack": "openstack",
}

_HYPERVISORS: Final[Mapping[str, str]] = {
    "vmware": "vmware",
    "virtualbox": "virtualbox",
    "innotek": "virtualbox",
    "parallels": "parallels",
    "xen": "xen",
    "bhyve": "bhyve",
    "apple virtualization": "apple",
    "qemu": "kvm",
    "kvm": "kvm",
    "openstack": "kvm",
}

_HYPERVISOR_OF: Final[Mapping[str, str]] = {"aws": "kvm", "gcp": "kvm"}
"""Clouds whose firmware names only the cloud."""

_INSTANCE_TYPE: Final = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_PLACEHOLDER: Final = re.compile(
    r"o\.e\.m\.|default string|system product|system manufacturer|not specified", re.I
)


def product(root: Path) -> dict[str, Any]:
    """Return ``product``, ``cloud`` and ``virtualization``, each if the firmware names it."""
    dmi = root / "sys/class/dmi/id"
    vendor, name, bios, version, tag = (
        read_text(dmi / attribute)
        for attribute in ("sys_vendor", "product_name", "bios_vendor", "bios_version", "chassis_asset_tag")
    )
    firmware = f"{vendor}\n{name}\n{bios}\n{version}\n{tag}".lower()
    cloud = "azure" if tag == _AZURE else next((_CLOUDS[mark] for mark in _CLOUDS if mark in firmware), None)
    found: dict[str, Any] = {}
    if text := _named(vendor, name) or _board(root):
        found["product"] = text
    if cloud is not None:
        found["cloud"] = {"provider": cloud}
        if cloud == "aws" and _INSTANCE_TYPE.fullmatch(name):
            found["cloud"]["instance_type"] = name
    if hypervisor := _hypervisor(root, firmware, cloud):
        found["virtualization"] = hypervisor
    return found


def _named(vendor: str, name: str) -> str:
    parts = [part for part in (vendor, name) if part and not _PLACEHOLDER.search(part)]
    return " ".join(parts[1:] if len(parts) > 1 and parts[1].startswith(parts[0]) else parts)


def _board(root: Path) -> str:
    if model := read_text(root / "proc/device-tree/model"):
        return model
    # A container may not read the device tree, but boards also name themselves here.
    found = re.search(r"^Model\s*:\s*(\S.*)$", read_text(root / "proc/cpuinfo"), re.MULTILINE)
    return found[1].strip() if found else ""


def _hypervisor(root: Path, firmware: str, cloud: str | None) -> str | None:
    if kind := read_text(root / "sys/hypervisor/type"):
        return kind
    if cloud == "azure" or "microsoft corporation\nvirtual machine" in firmware:
        return "hyperv"
    for mark, name in _HYPERVISORS.items():
        if mark in firmware:
            return name
    if cloud is not None and "metal" not in firmware:
        return _HYPERVISOR_OF.get(cloud, "vm")
    if "microsoft" in read_text(root / "proc/version").lower():  # WSL 2 shows no firmware
        return "hyperv"
    flags = re.search(r"^flags\s*:.*\bhypervisor\b", read_text(root / "proc/cpuinfo"), re.MULTILINE)
    return "vm" if flags else None
