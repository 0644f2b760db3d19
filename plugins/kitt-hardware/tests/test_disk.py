"""The disk that holds the results: through partitions, volumes, containers, networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faked_machines import answers, write
from kitt_hardware.disk import block_devices, mount_of, results_disk
from kitt_hardware.machine import Machine

ROOT = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"


def disk(root: Path, name: str, number: str, *partitions: str) -> None:
    write(root, {f"sys/devices/{name}/device/model": f"MODEL {name}\n", f"sys/devices/{name}/size": "9\n"})
    links = {f"sys/block/{name}": f"sys/devices/{name}", f"sys/dev/block/{number}:0": f"sys/devices/{name}"}
    for index, partition in enumerate(partitions, 1):
        write(root, {f"sys/devices/{name}/{partition}/partition": f"{index}\n"})
        links[f"sys/dev/block/{number}:{index}"] = f"sys/devices/{name}/{partition}"
        links[f"sys/class/block/{partition}"] = f"sys/devices/{name}/{partition}"
    write(root, {}, links)


def volume(root: Path, name: str, number: str, *below: str, mapped: str = "") -> None:
    place = f"sys/devices/virtual/block/{name}"
    write(
        root,
        {f"{place}/dm/name": f"{mapped}\n", f"{place}/size": "9\n"},
        {
            f"sys/dev/block/{number}": place,
            f"sys/block/{name}": place,
            **{f"{place}/slaves/{Path(part).name}": f"sys/devices/{part}" for part in below},
        },
    )


def found(root: Path, mounts: str, directory: str = "/home/ada/.kitt") -> tuple[Any, str | None]:
    write(root, {"proc/self/mountinfo": mounts})
    return results_disk(Machine(system="Linux", root=root, results=Path(directory)))


@pytest.fixture
def two(tmp_path: Path) -> Path:
    disk(tmp_path, "sda", "8", "sda1", "sda2")
    disk(tmp_path, "nvme0n1", "259", "nvme0n1p1")
    return tmp_path


@pytest.mark.parametrize(
    ("mounts", "directory", "model"),
    [
        (ROOT, "/home/ada/.kitt", "MODEL sda"),
        (ROOT + "22 21 259:1 / /home rw - ext4 /dev/nvme0n1p1 rw\n", "/home/ada/.kitt", "MODEL nvme0n1"),
        (ROOT + "22 21 259:1 / /home rw - ext4 /dev/nvme0n1p1 rw\n", "/homestead/.kitt", "MODEL sda"),
        (ROOT + "22 21 259:1 / /home rw shared:9 master:2 - xfs /dev/nvme0n1p1 rw\n", "/home", "MODEL nvme0n1"),
        (ROOT + "22 21 8:2 / /a\\040b rw - ext4 /dev/sda2 rw\n", "/a b/.kitt", "MODEL sda"),
        ("20 1 259:1 / / rw - ext4 /dev/nvme0n1p1 rw\n" + ROOT, "/x", "MODEL sda"),
        ("21 1 259:0 / / rw - ext4 /dev/nvme0n1 rw\n", "/x", "MODEL nvme0n1"),
        ("21 1 0:33 /@ / rw - btrfs /dev/nvme0n1p1 rw\n", "/x", "MODEL nvme0n1"),
        ("short line\n - \n" + ROOT, "/x", "MODEL sda"),
    ],
)
def test_the_mount_that_holds_the_directory_tells_the_disk(
    two: Path, mounts: str, directory: str, model: str
) -> None:
    storage, remark = found(two, mounts, directory)
    assert (storage["model"], remark) == (model, None)


def test_encrypted_and_logical_volumes_are_seen_through(two: Path) -> None:
    volume(two, "dm-0", "253:0", "nvme0n1/nvme0n1p1", mapped="crypt")
    volume(two, "dm-1", "253:1", "virtual/block/dm-0", mapped="vg-home")
    for mounts in ("21 1 253:1 / / rw - ext4 /dev/dm-1 rw\n", "21 1 0:9 / / rw - btrfs /dev/mapper/vg-home rw\n"):
        assert found(two, mounts)[0]["model"] == "MODEL nvme0n1"


def test_disks_of_one_volume_are_counted_if_they_are_alike(two: Path) -> None:
    disk(two, "nvme1n1", "260")
    volume(two, "md0", "9:0", "nvme0n1/nvme0n1p1", "nvme1n1")
    mounts = "21 1 9:0 / / rw - xfs /dev/md0 rw\n"
    assert "count" not in found(two, mounts)[0]
    write(two, {f"sys/devices/{name}/device/model": "SAME" for name in ("nvme0n1", "nvme1n1")})
    assert found(two, mounts)[0] == {
        "brand": "Unknown", "model": "SAME", "type": "nvme", "count": 2, "filesystem": "xfs"
    }  # fmt: skip


def test_a_volume_below_itself_ends(two: Path) -> None:
    volume(two, "dm-0", "253:0", "virtual/block/dm-0")
    mount = mount_of(write(two, {"proc/self/mountinfo": "21 1 253:0 / / rw - ext4 /dev/dm-0 rw\n"}), Path("/x"))
    assert mount is not None
    assert [path.name for path in block_devices(two, mount)] == ["dm-0"]


@pytest.mark.parametrize(
    ("filesystem", "kind"),
    [
        ("nfs4", "network"),
        ("lustre", "network"),
        ("fuse.sshfs", "network"),
        ("9p", "network"),
        ("tmpfs", "memory"),
    ],
)
def test_a_server_is_named_by_its_kind_alone(two: Path, filesystem: str, kind: str) -> None:
    storage, remark = found(two, ROOT + f"30 21 0:44 / /home rw - {filesystem} secret.example:/export rw\n")
    assert storage == {"brand": "Unknown", "model": filesystem, "type": kind, "filesystem": filesystem}
    assert remark is None


def test_a_container_names_the_disk_below_its_overlay(two: Path) -> None:
    overlay = "21 1 0:50 / / rw - overlay overlay rw,upperdir=/var/lib/docker/overlay2/x\n"
    hosts = "22 21 8:1 /var/lib/docker/containers/x/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n"
    storage, remark = found(two, overlay + hosts)
    assert (storage["model"], storage["filesystem"], remark) == ("MODEL sda", "overlay", None)
    storage, remark = found(two, overlay)
    assert (storage["model"], storage["filesystem"]) == ("MODEL nvme0n1", "overlay")
    assert remark == "storage: the first disk; KITT's directory is on overlay, whose device is not known"


@pytest.mark.parametrize(
    "mounts", ["21 1 0:40 / / rw - zfs rpool/root rw\n", "21 1 7:0 / / rw - ext4 /dev/loop0 rw\n", ""]
)
def test_the_first_disk_stands_for_one_that_is_not_known(two: Path, mounts: str) -> None:
    volume(two, "loop0", "7:0")
    storage, remark = found(two, mounts)
    assert storage["model"] == "MODEL nvme0n1"
    assert remark is not None
    assert remark.startswith("storage: the first disk; ")


def test_a_machine_without_disks_has_no_storage(tmp_path: Path) -> None:
    assert found(tmp_path, ROOT)[0] is None
    assert results_disk(Machine(system="Windows", root=tmp_path)) == (None, None)
    output = '"Model Number" = "Some SSD 9"'
    run = answers({"/usr/sbin/ioreg -r -d 1 -c IONVMeController": output})
    assert results_disk(Machine(system="Darwin", root=tmp_path, run=run)) == (None, None)
