"""What the firmware says of the machine as a product: its maker's name for it, the cloud, the hypervisor.

Only names are read. Serial numbers and identifiers are not; the chassis' asset tag is compared, never returned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kitt_hardware.files import read_text

__all__ = ["product"]

_AZURE: Final = "7783-7084-3265-9085-8269-3286-77"
"""The asset tag that every virtual machine of Azure has, and no other of Hyper-V's."""

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
"""Clouds whose firmware names the cloud alone."""

_INSTANCE_TYPE: Final = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_PLACEHOLDER: Final = re.compile(
    r"o\.e\.m\.|default string|system product|system manufacturer|not specified", re.I
)


def product(root: Path) -> dict[str, Any]:
    """Return ``product``, ``cloud`` and ``virtualization``, each if the firmware tells it."""
    dmi = root / "sys/class/dmi/id"
    vendor, name, bios, version, tag = (
        read_text(dmi / attribute)
        for attribute in ("sys_vendor", "product_name", "bios_vendor", "bios_version", "chassis_asset_tag")
    )
    told = f"{vendor}\n{name}\n{bios}\n{version}\n{tag}".lower()
    cloud = "azure" if tag == _AZURE else next((_CLOUDS[mark] for mark in _CLOUDS if mark in told), None)
    found: dict[str, Any] = {}
    if text := _named(vendor, name) or _board(root):
        found["product"] = text
    if cloud is not None:
        found["cloud"] = {"provider": cloud}
        if cloud == "aws" and _INSTANCE_TYPE.fullmatch(name):
            found["cloud"]["instance_type"] = name
    if hypervisor := _hypervisor(root, told, cloud):
        found["virtualization"] = hypervisor
    return found


def _named(vendor: str, name: str) -> str:
    parts = [part for part in (vendor, name) if part and not _PLACEHOLDER.search(part)]
    return " ".join(parts[1:] if len(parts) > 1 and parts[1].startswith(parts[0]) else parts)


def _board(root: Path) -> str:
    if model := read_text(root / "proc/device-tree/model"):
        return model
    # A container may not read the device tree, but boards name themselves here, too.
    found = re.search(r"^Model\s*:\s*(\S.*)$", read_text(root / "proc/cpuinfo"), re.MULTILINE)
    return found[1].strip() if found else ""


def _hypervisor(root: Path, told: str, cloud: str | None) -> str | None:
    if kind := read_text(root / "sys/hypervisor/type"):
        return kind
    if cloud == "azure" or "microsoft corporation\nvirtual machine" in told:
        return "hyperv"
    for mark, name in _HYPERVISORS.items():
        if mark in told:
            return name
    if cloud is not None and "metal" not in told:
        return _HYPERVISOR_OF.get(cloud, "vm")
    if "microsoft" in read_text(root / "proc/version").lower():  # WSL 2 shows no firmware
        return "hyperv"
    flags = re.search(r"^flags\s*:.*\bhypervisor\b", read_text(root / "proc/cpuinfo"), re.MULTILINE)
    return "vm" if flags else None
