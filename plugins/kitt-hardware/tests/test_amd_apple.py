"""GPUs of AMD and Apple."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faked_machines import answers, write
from kitt_hardware import amd, apple
from kitt_hardware.machine import GIB, Machine


def card(root: Path, index: int, **attributes: str) -> Path:
    return write(root, {f"sys/class/drm/card{index}/device/{name}": text for name, text in attributes.items()})


def linux(root: Path, **environ: str) -> Machine:
    return Machine(system="Linux", root=root, environ=environ)


def models(machine: Machine) -> list[Any]:
    return [(device["model"], device.get("vram_gb")) for device in amd.describe(machine)["gpu"]["devices"]]


@pytest.mark.parametrize(
    ("device", "revision", "product", "model"),
    [
        ("0x744c", "0xc8", "", "AMD Radeon RX 7900 XTX"),
        ("0x744c", "0xcc", "", "AMD Radeon RX 7900 XT"),
        ("0x74a1", "0x00", "AMD Instinct MI300X OAM", "AMD Instinct MI300X"),
        ("0x7bcd", "0x00", "Some Card", "Some Card"),
        ("0x7bcd", "0x01", "", "AMD GPU 7bcd-01"),
    ],
)
def test_a_card_has_one_name_whatever_the_kernel_shows(
    tmp_path: Path, device: str, revision: str, product: str, model: str
) -> None:
    card(
        tmp_path,
        0,
        vendor="0x1002",
        device=device,
        revision=revision,
        product_name=product,
        mem_info_vram_total=str(24 * GIB - 2**24),
    )
    assert models(linux(tmp_path)) == [(model, 24)]


def test_an_unknown_memory_is_not_a_memory_of_zero(tmp_path: Path) -> None:
    machine = linux(card(tmp_path, 0, vendor="0x1002", device="0x744c", revision="0xc8"))
    found = amd.describe(machine)
    assert "vram_gb" not in found["gpu"]["devices"][0]
    assert found["remarks"] == ["GPU 0: its memory is not known"]


@pytest.mark.parametrize(
    ("version", "architecture"), [(90402, "gfx942"), (90010, "gfx90a"), (110000, "gfx1100"), (110501, "gfx1151")]
)
def test_the_compute_driver_names_the_architecture(tmp_path: Path, version: int, architecture: str) -> None:
    card(tmp_path, 3, vendor="0x1002", device="0x7bcd", revision="0x00", mem_info_vram_total="8589934592")
    node = f"device_id {0x7BCD}\nsimd_count 240\nsimd_per_cu 2\ngfx_target_version {version}\nname\n"
    write(tmp_path, {"sys/class/kfd/kfd/topology/nodes/1/properties": node})
    (device,) = amd.describe(linux(tmp_path))["gpu"]["devices"]
    assert (device["architecture"], device["compute_units"]) == (architecture, 120)
    assert device.get("integrated", False) is (architecture == "gfx1151")


def test_partitions_and_hidden_cards_are_recorded(tmp_path: Path) -> None:
    card(tmp_path, 1, vendor="0x1002", device="0x74a1", revision="0x00", mem_info_vram_total="206141652992")
    card(tmp_path, 1, current_compute_partition="CPX", current_memory_partition="NPS4")
    write(tmp_path, {"opt/rocm/.info/version": "7.0.2-56\n"})
    found = amd.describe(linux(tmp_path, HIP_VISIBLE_DEVICES="0,1"))
    assert found["gpu"]["devices"][0]["partition"] == "CPX-NPS4"
    assert found["gpu"]["visible_devices"] == {"HIP_VISIBLE_DEVICES": "0,1"}
    assert found["rocm_version"] == "7.0.2"


def test_other_makers_cards_and_other_systems_are_nothing(tmp_path: Path) -> None:
    card(tmp_path, 0, vendor="0x8086", device="0x56a0")
    write(tmp_path, {"sys/class/drm/version": "drm 1.1.0\n", "sys/class/drm/card0-HDMI-A-1/status": "x"})
    assert amd.describe(linux(tmp_path)) == {}
    assert amd.describe(Machine(system="Windows", root=tmp_path)) == {}
    assert apple.describe(linux(tmp_path)) == {}


def test_a_mac_with_another_makers_gpu_has_none_of_apples(tmp_path: Path) -> None:
    output = "Chipset Model: AMD Radeon Pro 5500M\nTotal Number of Cores: 24\n"
    commands = {"/usr/sbin/system_profiler SPDisplaysDataType": output}
    assert apple.describe(Machine(system="Darwin", root=tmp_path, run=answers(commands))) == {}


def test_unknown_gpu_cores_are_a_remark(tmp_path: Path) -> None:
    commands = {"/usr/sbin/system_profiler SPDisplaysDataType": "      Chipset Model: Apple M9\n"}
    found = apple.describe(Machine(system="Darwin", root=tmp_path, run=answers(commands)))
    assert found["gpu"]["devices"][0]["model"] == "Apple M9"
    assert found["remarks"] == ["the number of GPU cores is not known"]
