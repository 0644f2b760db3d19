"""Real-world machines, faked: what the fingerprint of each is, to the letter."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faked_machines import NAMES, FakeMachine, FakeNvml, answers, write
from kitt_core.runs import check_run
from kitt_core.testing import documents

EXPECTED = {
    "apple_m1": ("Apple-M1-7-core-GPU-16GB_Apple-M1-8c_16GB-Unknown_Darwin-23.6.0"),
    "apple_m3_max": (
        "Apple-M3-Max-40-core-GPU-128GB_Apple-M3-Max-16c_128GB-LPDDR5_Apple-APPLE-SSD-AP2048Z-NVME_Darwin-24.1.0"
    ),
    "azure_pod": ("AMD-EPYC-7763-8c_62GB-Unknown_Virtual-Disk-VIRTUAL_Linux-5.15.0-1073-azure"),
    "dgx_spark": (
        "NVIDIA-GB10-121GB_ARM-Cortex-A725-Cortex-X925-20c_121GB-LPDDR5"
        "_Samsung-SAMSUNG-MZALC4T0HBL1-00B07-NVME_CUDA-13.0_580.95.05_Linux-6.11.0-1016-nvidia"
    ),
    "epyc_8x_h100": (
        "NVIDIA-H100-80GB-HBM3-80GB-8x_AMD-EPYC-9654-192c_2015GB-DDR5"
        "_Samsung-SAMSUNG-MZWLO3T8HCLS-00A07-NVME_CUDA-12.4_550.90.07_Linux-5.15.0-105-generic"
    ),
    "gcp_vm": ("Intel-Xeon-2.20GHz-4c_31GB-Unknown_PersistentDisk-VIRTUAL_Linux-6.5.0-1025-gcp"),
    "gh200": (
        "NVIDIA-GH200-480GB-96GB_ARM-Neoverse-V2-72c_478GB-LPDDR5_Kioxia-KIOXIA-KCD8XPUG1T92-NVME"
        "_CUDA-12.6_560.35.05_Linux-6.8.0-1013-nvidia-64k"
    ),
    "graviton3": (
        "ARM-Neoverse-V1-16c_30GB-DDR5_Amazon-Elastic-Block-Store-VIRTUAL_Linux-6.1.109-118.189.amzn2023.aarch64"
    ),
    "jetson_orin": (
        "NVIDIA-Jetson-AGX-Orin-Developer-Kit-61GB_ARM-Cortex-A78AE-12c_61GB-Unknown_G1M15M-MMC"
        "_36.4.3_Linux-5.15.148-tegra"
    ),
    "laptop": ("Intel-Core-Ultra-7-155H-16c_30GB-LPDDR5_WD-WD-PC-SN740-SDDPNQD-512G-NVME_Linux-6.8.0-45-generic"),
    "mi300x": (
        "AMD-Instinct-MI300X-192GB-2x_AMD-EPYC-9654-192c_2267GB-DDR5"
        "_Micron-Micron-7450-MTFDKBA960TFR-NVME_ROCm-6.2.0_6.8.5_Linux-5.15.0-119-generic"
    ),
    "podman": ("Intel-Core-i5-12400-6c_31GB-Unknown_WD-WDC-WD40EFRX-68N-HDD_Linux-6.10.11-200.fc40.x86-64"),
    "power9": (
        "Tesla-V100-SXM2-16GB-16GB-4x_POWER9-32c_579GB-Unknown_CUDA-12.2_535.104.12_Linux-4.18.0-553.el8.ppc64le"
    ),
    "raspberry_pi_5": ("ARM-Cortex-A76-4c_7GB-Unknown_SN64G-MMC_Linux-6.6.51plusrpt-rpi-2712"),
    "ryzen_one_of_two": (
        "NVIDIA-GeForce-RTX-3090-24GB_AMD-Ryzen-9-5950X-16c_125GB-DDR4_CT2000MX500SSD1-SSD"
        "_CUDA-12.2_535.183.01_Linux-6.1.0-25-amd64"
    ),
    "ryzen_rtx4090": (
        "NVIDIA-GeForce-RTX-4090-24GB_AMD-Ryzen-9-7950X-16c_61GB-DDR5"
        "_Samsung-Samsung-SSD-990-PRO-2TB-NVME_CUDA-12.6_560.35.03_Linux-6.11.5-arch1-1"
    ),
    "ryzen_two_gpus": (
        "NVIDIA-GeForce-RTX-3090-24GB-and-NVIDIA-GeForce-RTX-3060-12GB_AMD-Ryzen-9-5950X-16c"
        "_125GB-DDR4_CT2000MX500SSD1-SSD-2x_CUDA-12.2_535.183.01_Linux-6.1.0-25-amd64"
    ),
    "strix_halo": (
        "AMD-Radeon-8060S-125GB_AMD-RYZEN-AI-MAXplus-395-16c_125GB-LPDDR5"
        "_WD-WD-PC-SN8000S-SDEPNRK-2T00-NVME_Linux-6.14.0-27-generic"
    ),
    "wsl2_rtx4070": (
        "NVIDIA-GeForce-RTX-4070-Laptop-GPU-8GB_Intel-Core-i7-13700H-7c_15GB-Unknown"
        "_Virtual-Disk-VIRTUAL_CUDA-12.6_560.94_Linux-5.15.167.4-microsoft-standard-WSL2"
    ),
    "xeon_a100_mig": (
        "NVIDIA-A100-SXM4-80GB-80GB-2x-MIG-2x1g.10gb-3g.40gb_Intel-Xeon-Platinum-8358-64c"
        "_1007GB-DDR4_nfs4-NETWORK_CUDA-12.2_535.161.08_Linux-5.14.0-427.el9.x86-64"
    ),
}

# These stand in stored runs as labels: a change would make every machine a new one.
IDS = {
    "apple_m1": "eef2d00966364a32",
    "apple_m3_max": "b9166523cd48c28e",
    "azure_pod": "e94bf9a614e9f096",
    "dgx_spark": "88a70ad4ecd916c2",
    "epyc_8x_h100": "a6e339b705a22d9c",
    "gcp_vm": "980be091cc2158b0",
    "gh200": "0b798c11d6af8cac",
    "graviton3": "cdb62b41bae3200a",
    "jetson_orin": "4de8c4206099208d",
    "laptop": "1d706e7c228e8b27",
    "mi300x": "6db43d3a53bcf79c",
    "podman": "eaf980ab8f9217b0",
    "power9": "235d964316aa1229",
    "raspberry_pi_5": "9c2b9f3e32167ff4",
    "ryzen_one_of_two": "e1bdfe7f33fb22ac",
    "ryzen_rtx4090": "5978779da4126f16",
    "ryzen_two_gpus": "07c0f4c4063cb426",
    "strix_halo": "2037f338cb1efda6",
    "wsl2_rtx4070": "34c230ad3e0078de",
    "xeon_a100_mig": "479a3657eb25bc87",
}

Faked = Callable[[str], FakeMachine]


@pytest.fixture
def faked(tmp_path: Path) -> Faked:
    return lambda name: FakeMachine(name, tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
def test_the_fingerprint_of_a_machine(name: str, faked: Faked) -> None:
    machine = faked(name)
    info = machine.info()
    assert info.notes == ()
    assert info.fingerprint == EXPECTED[name]
    assert info.sections["machine"] == IDS[name]
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", info.fingerprint)
    assert machine.info() == info
    assert machine.nvml is None or machine.nvml.open == 0


@pytest.mark.parametrize("name", NAMES)
def test_what_is_found_fits_a_document(name: str, faked: Faked) -> None:
    sections = faked(name).info().sections
    run = check_run(documents.small(0) | {"system_info": sections})
    assert run.rows.hardware is not None
    assert run.rows.hardware.fingerprint == EXPECTED[name]
    assert dict(run.rows.labels) == {"machine": IDS[name], "software": sections["software"]}


def test_no_two_machines_share_text_or_id() -> None:
    assert EXPECTED.keys() == IDS.keys() == set(NAMES)
    assert len(NAMES) >= 16
    assert len(set(EXPECTED.values())) == len(set(IDS.values())) == len(NAMES)
    assert len({text.casefold() for text in EXPECTED.values()}) == len(NAMES)


def ids(machine: FakeMachine) -> tuple[Any, Any]:
    sections = machine.info().sections
    return sections["machine"], sections["software"]


def test_the_order_on_the_bus_changes_nothing(faked: Faked) -> None:
    machine = faked("ryzen_two_gpus")
    before = machine.info()
    assert machine.nvml is not None
    machine.nvml.gpus.reverse()
    after = machine.info()
    assert after.fingerprint == before.fingerprint
    assert after.sections["machine"] == before.sections["machine"]
    assert [device["model"] for device in after.sections["gpu"]["devices"]] == [
        "NVIDIA GeForce RTX 3090",
        "NVIDIA GeForce RTX 3060",
    ]


def test_a_new_driver_is_new_software_on_the_same_machine(faked: Faked) -> None:
    machine = faked("epyc_8x_h100")
    before = ids(machine)
    assert machine.nvml is not None
    machine.nvml.driver, machine.nvml.cuda = "570.86.15", 12080
    after = ids(machine)
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_partitions_are_software(faked: Faked) -> None:
    machine = faked("xeon_a100_mig")
    before = ids(machine)
    assert machine.nvml is not None
    machine.nvml.gpus[1]["mig"] = ["7g.80gb"]
    after = ids(machine)
    assert after[0] == before[0]
    assert after[1] != before[1]
    machine.nvml.gpus[1].update(mig=[], mig_on=True)
    assert "-MIG-none_" in machine.info().fingerprint


def test_a_container_and_missing_rights_leave_the_machine(faked: Faked) -> None:
    machine = faked("epyc_8x_h100")
    before = ids(machine)
    root = machine.machine.root
    (root / "run/udev/data/+dmi:id").unlink()
    write(root, {".dockerenv": "", "proc/self/mountinfo": "9 1 0:70 / / rw - overlay overlay rw\n"})
    after = ids(machine)
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_a_card_of_the_cpu_counts_only_where_there_is_no_other(faked: Faked) -> None:
    machine = faked("ryzen_rtx4090")
    before = ids(machine)[0]
    (machine.machine.root / "sys/class/drm/card0/device/vendor").unlink()
    assert ids(machine)[0] == before


def test_nvml_and_its_command_give_the_same_machine(faked: Faked) -> None:
    machine = faked("ryzen_two_gpus")
    before = machine.info()
    machine.nvml = None
    write(machine.machine.root, {"usr/bin/nvidia-smi": ""})
    query = "--query-gpu=name,driver_version,memory.total,compute_cap,power.limit,mig.mode.current"
    machine.change(
        run=answers(
            {
                f"/usr/bin/nvidia-smi {query} --format=csv,noheader,nounits": (
                    "NVIDIA GeForce RTX 3060, 535.183.01, 12288, 8.6, 170.00, [N/A]\n"
                    "NVIDIA GeForce RTX 3090, 535.183.01, 24576, 8.6, 350.00, [N/A]\n"
                ),
                "/usr/bin/nvidia-smi -q -d COMPUTE": (
                    "==============NVSMI LOG==============\n"
                    "Driver Version                            : 535.183.01\n"
                    "CUDA Version                              : 12.2\n"
                ),
            }
        )
    )
    after = machine.info()
    assert after.sections == before.sections
    assert after.remarks == ("nvidia: NVML: no driver: libnvidia-ml.so.1 can't be loaded",)


def test_a_jetson_keeps_its_name_when_nvml_comes(faked: Faked) -> None:
    machine = faked("jetson_orin")
    before = ids(machine)[0]
    machine.nvml = FakeNvml([{"name": "Orin (nvgpu)", "capability": [8, 7]}], driver="540.4.0", cuda=12060)
    sections = machine.info().sections
    assert sections["machine"] == before
    assert (sections["driver_version"], sections["cuda_version"]) == ("540.4.0", "12.6")
    assert sections["gpu"]["model"] == "NVIDIA Jetson AGX Orin Developer Kit"
    machine.nvml = FakeNvml([{"name": "NVIDIA RTX 6000 Ada Generation", "memory_mib": 49140}])
    assert machine.info().fingerprint.startswith("NVIDIA-RTX-6000-Ada-Generation-48GB_ARM-Cortex-A78AE-12c_")


@pytest.mark.parametrize(
    ("name", "environment", "cloud", "virtualization"),
    [
        ("epyc_8x_h100", "native_linux", None, None),
        ("gcp_vm", "native_linux", {"provider": "gcp"}, "kvm"),
        ("graviton3", "native_linux", {"provider": "aws", "instance_type": "c7g.4xlarge"}, "kvm"),
        ("azure_pod", "kubernetes", {"provider": "azure"}, "hyperv"),
        ("podman", "podman", None, None),
        ("wsl2_rtx4070", "wsl2", None, "hyperv"),
        ("dgx_spark", "dgx_spark", None, None),
        ("apple_m1", "native_macos", None, None),
    ],
)
def test_environment_and_cloud_are_told_apart(
    faked: Faked, name: str, environment: str, cloud: Any, virtualization: str | None
) -> None:
    sections = faked(name).info().sections
    found = tuple(sections.get(key) for key in ("environment_type", "cloud", "virtualization"))
    assert found == (environment, cloud, virtualization)


def test_the_examples_of_the_page_are_these() -> None:
    page = Path(__file__).parents[3] / "docs" / "fingerprint.md"
    (block,) = re.findall(r"```text\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert set(block.split()) <= set(EXPECTED.values())
