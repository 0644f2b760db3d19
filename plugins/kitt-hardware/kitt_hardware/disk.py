"""The disk that holds the results, as ``/sys/block`` shows it; the first disk where that can't be told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kitt_hardware.files import listing, read_text
from kitt_hardware.machine import Machine
from kitt_hardware.mounts import Mount, block_devices, mount_of

__all__ = ["first_disk", "results_disk"]

_NETWORK: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "drvfs", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2"}
    | {"orangefs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "wekafs"}
)
_MEMORY: Final = frozenset({"tmpfs", "ramfs", "rootfs"})

_KINDS: Final = ("nvme", "sd", "hd", "mmcblk", "vd", "xvd")  # in this order of interest
_KIND: Final = re.compile(rf"({'|'.join(_KINDS)})")
_VIRTUAL: Final = ("vd", "xvd")
_VIRTUAL_MAKERS: Final = ("qemu", "vmware", "vbox", "msft", "virtual", "google", "amazon elastic")
_BRANDS: Final[Mapping[str, str]] = {
    "samsung": "Samsung",
    "western digital": "WD",
    "wdc": "WD",
    "wd_": "WD",
    "wd ": "WD",
    "solidigm": "Solidigm",
    "intel": "Intel",
    "crucial": "Crucial",
    "kingston": "Kingston",
    "sk hynix": "SK hynix",
    "skhynix": "SK hynix",
    "hynix": "SK hynix",
    "seagate": "Seagate",
    "micron": "Micron",
    "kioxia": "Kioxia",
    "toshiba": "Toshiba",
    "sandisk": "SanDisk",
    "hgst": "HGST",
    "apple": "Apple",
}


def results_disk(machine: Machine) -> tuple[dict[str, Any] | None, str | None]:
    """Return brand, model and type of the disk that holds ``machine.results``, and what is to be said of it.

    A file system of the network or of memory stands for its disk, under its type's name: never a server's.
    Several disks of one volume that are alike are counted. Where no device can be told (ZFS, a container's
    overlay), the first disk is taken, and the second value says so.
    """
    if machine.system == "Darwin":
        return _apple_disk(machine), None
    if machine.system != "Linux":
        return None, None
    mount = None if machine.results is None else mount_of(machine.root, machine.results)
    if mount is None:
        return first_disk(
            machine.root
        ), "storage: the first disk; the one that holds KITT's directory is not known"
    if kind := _kind_without_disk(mount):
        return {"brand": "Unknown", "model": mount.filesystem, "type": kind, "filesystem": mount.filesystem}, None
    disks = [described for path in block_devices(machine.root, mount) if (described := _described(path))]
    if not disks:
        found = first_disk(machine.root)
        return found and {**found, "filesystem": mount.filesystem}, (
            f"storage: the first disk; KITT's directory is on {mount.filesystem}, whose device is not known"
        )
    alike = disks.count(disks[0])
    return {**disks[0], **({"count": alike} if alike > 1 else {}), "filesystem": mount.filesystem}, None


def _kind_without_disk(mount: Mount) -> str | None:
    if mount.filesystem in _MEMORY:
        return "memory"
    if mount.filesystem in _NETWORK or mount.filesystem.startswith("fuse."):
        return "network"
    return None


def _apple_disk(machine: Machine) -> dict[str, str] | None:
    told = machine.ask("/usr/sbin/ioreg", "-r", "-d", "1", "-c", "IONVMeController")
    found = re.search(r'"Model Number" = "([^"]+)"', told)
    model = " ".join(found[1].split()) if found else ""
    return {"brand": "Apple", "model": model, "type": "nvme"} if "apple" in model.lower() else None


def first_disk(root: Path) -> dict[str, str] | None:
    """Return brand, model and type of the first disk, None if there is none.

    NVMe comes first, then the other kinds, each in numerical order. Loop, RAM and mapped devices, removable
    media and drives without a medium are no disks here.
    """
    disks = [(rank, path) for path in listing(root / "sys/block") if (rank := _rank(path)) is not None]
    if not disks:
        return None
    return _described(min(disks)[1])


def _described(path: Path) -> dict[str, str] | None:
    found = _KIND.match(path.name)
    if found is None:
        return None
    model = " ".join(read_text(path / "device/model").split())
    maker = " ".join(read_text(path / "device/vendor").split())
    described = f"{maker} {model}".lower()
    name = model or " ".join(read_text(path / "device/name").split())  # memory cards have a name alone
    return {
        "brand": next((brand for mark, brand in _BRANDS.items() if mark in described), "Unknown"),
        "model": name or "Unknown",
        "type": _type(found[1], described, path),
    }


def _rank(path: Path) -> tuple[int, list[tuple[int, str]]] | None:
    kind = _KIND.match(path.name)
    if kind is None or re.search(r"(boot|rpmb)\d*$", path.name):
        return None
    if read_text(path / "removable") == "1" or read_text(path / "size") == "0":
        return None
    parts = re.findall(r"\d+|\D+", path.name)
    order = [(int(part), "") if part.isdigit() else (0, part) for part in parts]
    return _KINDS.index(kind[1]), order


def _type(kind: str, described: str, path: Path) -> str:
    if kind in _VIRTUAL or any(mark in described for mark in _VIRTUAL_MAKERS):
        return "virtual"  # what a virtual disk says of rotation means nothing
    if kind == "nvme":
        return "nvme"
    if kind == "mmcblk":
        return "mmc"
    return "hdd" if read_text(path / "queue/rotational") == "1" else "ssd"
