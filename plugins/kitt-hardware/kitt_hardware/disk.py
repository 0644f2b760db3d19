"""The first real disk, as ``/sys/block`` shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kitt_hardware.files import listing, read_text

__all__ = ["first_disk"]

_KINDS: Final = ("nvme", "sd", "hd", "mmcblk", "vd", "xvd")  # in this order of interest
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


def first_disk(root: Path) -> dict[str, str] | None:
    """Return brand, model and type of the first disk, None if there is none.

    NVMe comes first, then the other kinds, each in numerical order. Loop, RAM and mapped devices, removable
    media and drives without a medium are no disks here.
    """
    disks = [(rank, path) for path in listing(root / "sys/block") if (rank := _rank(path)) is not None]
    if not disks:
        return None
    (kind, _), path = min(disks)
    model = " ".join(read_text(path / "device/model").split())
    maker = " ".join(read_text(path / "device/vendor").split())
    described = f"{maker} {model}".lower()
    return {
        "brand": next((brand for mark, brand in _BRANDS.items() if mark in described), "Unknown"),
        "model": model or "Unknown",
        "type": _type(_KINDS[kind], described, path),
    }


def _rank(path: Path) -> tuple[int, list[tuple[int, str]]] | None:
    kind = re.match(r"(nvme|sd|hd|mmcblk|vd|xvd)", path.name)
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
