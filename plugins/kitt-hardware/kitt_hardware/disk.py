"""The disk that holds the results, from ``/proc/self/mountinfo`` and ``/sys/block``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from attrs import frozen

from kitt_hardware.machine import Machine, exists, listing, read_text, real

__all__ = ["Mount", "block_devices", "first_disk", "mount_of", "results_disk"]

_NETWORK: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "drvfs", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2"}
    | {"orangefs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "wekafs"}
)
_MEMORY: Final = frozenset({"tmpfs", "ramfs", "rootfs"})

_KINDS: Final = ("nvme", "sd", "hd", "mmcblk", "vd", "xvd")  # in order of preference
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
    """Return brand, model and type of the disk that holds ``machine.results``, and a remark if there is one.

    A file system of the network or in memory stands for its disk, under the name of its type, never a server's.
    Identical disks of a volume are counted. Where no device is known (ZFS, a container's overlay), the first disk
    is taken, and the remark says so.
    """
    if machine.system == "Darwin":
        return _apple_disk(machine), None
    if machine.system != "Linux":
        return None, None
    mount = None if machine.results is None else mount_of(machine.root, machine.results)
    if mount is None:
        return first_disk(machine.root), "storage: the first disk; the disk of KITT's directory is not known"
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
    output = machine.run("/usr/sbin/ioreg", "-r", "-d", "1", "-c", "IONVMeController")
    found = re.search(r'"Model Number" = "([^"]+)"', output)
    model = " ".join(found[1].split()) if found else ""
    return {"brand": "Apple", "model": model, "type": "nvme"} if "apple" in model.lower() else None


def first_disk(root: Path) -> dict[str, str] | None:
    """Return brand, model and type of the first disk; None if there is none.

    NVMe comes first, then the other kinds, each in numerical order. Loop, RAM and mapped devices, removable
    media and drives without a medium don't count.
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
    name = model or " ".join(read_text(path / "device/name").split())  # memory cards have only a name
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
        return "virtual"  # what a virtual disk says about rotation means nothing
    if kind == "nvme":
        return "nvme"
    if kind == "mmcblk":
        return "mmc"
    return "hdd" if read_text(path / "queue/rotational") == "1" else "ssd"


_FROM_HOST: Final = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
"""Files that a container engine mounts from the host: their device is the disk below an overlay."""

_DEEPEST_STACK: Final = 8


@frozen
class Mount:
    """A mounted file system.

    Attributes:
        point: Where it is mounted.
        device: ``major:minor``; with major 0 there is no block device.
        filesystem: Its type, ``ext4``.
        source: What is mounted, ``/dev/nvme0n1p2``; for network file systems a server's name.
    """

    point: str
    device: str
    filesystem: str
    source: str


def mount_of(root: Path, directory: Path) -> Mount | None:
    """Return the mount that holds ``directory``; None if that is not known."""
    path = PurePosixPath(directory.as_posix())
    holding = [mount for mount in _mounts(root) if path.is_relative_to(mount.point)]
    # Of two mounts on the same point the later one hides the other.
    return max(reversed(holding), key=lambda mount: len(mount.point), default=None)


def block_devices(root: Path, mount: Mount) -> list[Path]:
    """Return the directories in ``sys`` of the whole disks that hold a mount, sorted by name."""
    found = _device(root, mount)
    if found is None and mount.filesystem == "overlay":
        hosts = [other for other in _mounts(root) if other.point in _FROM_HOST]
        found = next((device for other in hosts if (device := _device(root, other))), None)
    return [] if found is None else sorted(set(_disks(found, _DEEPEST_STACK)), key=lambda path: path.name)


def _mounts(root: Path) -> list[Mount]:
    mounts = []
    for line in read_text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if len(left) > 4 and len(right) > 1:
            mounts.append(Mount(_unescaped(left[4]), left[2], right[0], _unescaped(right[1])))
    return mounts


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _device(root: Path, mount: Mount) -> Path | None:
    if not mount.device.startswith("0:"):
        path = root / "sys/dev/block" / mount.device
        return real(path) if exists(path) else None
    # btrfs has a number without a block device, but its source names the first of its devices.
    name = mount.source.removeprefix("/dev/")
    if name == mount.source:
        return None
    mapped = name.removeprefix("mapper/")
    for path in listing(root / "sys/block", "dm-*"):
        if read_text(path / "dm/name") == mapped:
            return real(path)
    path = root / "sys/class/block" / name
    return real(path) if exists(path) else None


def _disks(device: Path, depth: int) -> list[Path]:
    if exists(device / "partition"):
        return _disks(device.parent, depth)
    below = listing(device, "slaves/*") if depth else []
    return [disk for path in below for disk in _disks(real(path), depth - 1)] or [device]
