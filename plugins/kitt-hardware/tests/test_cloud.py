"""Products, clouds and hypervisors by what their firmware says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faked_machines import write
from kitt_hardware.environment import product


@pytest.mark.parametrize(
    ("firmware", "expected"),
    [
        ({}, {}),
        (
            {"sys_vendor": "Dell Inc.", "product_name": "PowerEdge XE9680", "chassis_asset_tag": "A-17"},
            {"product": "Dell Inc. PowerEdge XE9680"},
        ),
        ({"sys_vendor": "To Be Filled By O.E.M.", "product_name": "System Product Name"}, {}),
        ({"sys_vendor": "NVIDIA", "product_name": "NVIDIA_DGX_Spark"}, {"product": "NVIDIA_DGX_Spark"}),
        (
            {"sys_vendor": "Amazon EC2", "product_name": "p5.48xlarge"},
            {"product": "Amazon EC2 p5.48xlarge", "virtualization": "kvm",
             "cloud": {"provider": "aws", "instance_type": "p5.48xlarge"}},
        ),
        (
            {"sys_vendor": "Amazon EC2", "product_name": "m7i.metal-24xl"},
            {"product": "Amazon EC2 m7i.metal-24xl",
             "cloud": {"provider": "aws", "instance_type": "m7i.metal-24xl"}},
        ),
        (
            {"sys_vendor": "Xen", "product_name": "HVM domU", "bios_version": "4.11.amazon"},
            {"product": "Xen HVM domU", "virtualization": "xen", "cloud": {"provider": "aws"}},
        ),
        (
            {"sys_vendor": "Google", "product_name": "Google Compute Engine"},
            {"product": "Google Compute Engine", "virtualization": "kvm", "cloud": {"provider": "gcp"}},
        ),
        (
            {"sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine"},
            {"product": "Microsoft Corporation Virtual Machine", "virtualization": "hyperv"},
        ),
        (
            {"sys_vendor": "QEMU", "product_name": "Standard PC", "chassis_asset_tag": "OracleCloud.com"},
            {"product": "QEMU Standard PC", "virtualization": "kvm", "cloud": {"provider": "oracle"}},
        ),
        (
            {"sys_vendor": "Hetzner", "product_name": "vServer"},
            {"product": "Hetzner vServer", "virtualization": "vm", "cloud": {"provider": "hetzner"}},
        ),
        (
            {"sys_vendor": "VMware, Inc.", "product_name": "VMware20,1"},
            {"product": "VMware, Inc. VMware20,1", "virtualization": "vmware"},
        ),
    ],
)  # fmt: skip
def test_what_firmware_says(tmp_path: Path, firmware: dict[str, str], expected: dict[str, Any]) -> None:
    write(tmp_path, {f"sys/class/dmi/id/{name}": f"{text}\n" for name, text in firmware.items()})
    assert product(tmp_path) == expected


def test_hypervisors_that_have_no_firmware(tmp_path: Path) -> None:
    write(tmp_path, {"proc/cpuinfo": "flags\t: fpu hypervisor lahf_lm\n"})
    assert product(tmp_path) == {"virtualization": "vm"}
    write(tmp_path, {"sys/hypervisor/type": "xen\n"})
    assert product(tmp_path) == {"virtualization": "xen"}


def test_a_board_is_named_by_its_device_tree_or_its_cpu(tmp_path: Path) -> None:
    write(tmp_path, {"proc/cpuinfo": "CPU part : 0xd0b\n\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"})
    assert product(tmp_path) == {"product": "Raspberry Pi 5 Model B Rev 1.0"}
    write(tmp_path, {"proc/device-tree/model": "Rock 5B\0"})
    assert product(tmp_path) == {"product": "Rock 5B"}
