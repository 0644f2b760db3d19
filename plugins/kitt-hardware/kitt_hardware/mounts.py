"""Which file system holds a directory, and on which block devices it is, from ``mountinfo``."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Final

from attrs import frozen

from kitt_hardware.files import exists, listing, read_text, real

__all__ = ["Mount", "block_devices", "mount_of"]

_FROM_HOST: Final = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
"""Files that a container's engine keeps beside the container's own: they tell the disk below an overlay."""

_DEEPEST_STACK: Final = 8


@frozen
class Mount:
    """A mounted file system.

    Attributes:
        point: Where it is mounted.
        device: ``major:minor``; major 0 has no block device of its own.
        filesystem: Its type, ``ext4``.
        source: What is mounted, ``/dev/nvme0n1p2``; for network file systems a server's name.
    """

    point: str
    device: str
    filesystem: str
    source: str


def mount_of(root: Path, directory: Path) -> Mount | None:
    """Return the mount that holds ``directory``, None if the system doesn't tell."""
    path = PurePosixPath(directory.as_posix())
    holding = [mount for mount in _mounts(root) if path.is_relative_to(mount.point)]
    # Of two mounts in one place the later one hides the other.
    return max(reversed(holding), key=lambda mount: len(mount.point), default=None)


def block_devices(root: Path, mount: Mount) -> list[Path]:
    """Return the directories in ``sys`` of the whole disks that hold a mount, by name; none if it has none."""
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
    # btrfs has a number of its own; what it is mounted from tells the first of its devices.
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
