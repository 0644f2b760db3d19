"""Machines that are described from the files of a faked root directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kitt_core.fingerprint import FingerprintSource, collect_system_info, cpu_label
from kitt_core.plugins import Registry
from kitt_hardware import plugin
from kitt_hardware.cpu import cpu_model
from kitt_hardware.disk import first_disk
from kitt_hardware.environment import ENVIRONMENT_TYPES, environment_type
from kitt_hardware.host import describe, memory_type
from kitt_hardware.machine import Machine, this_machine

EPYC = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC 7763 64-Core Processor
"""
GRACE = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n" * 2
GB10 = "CPU implementer\t: 0x41\nCPU part\t: 0xd87\n\nCPU implementer\t: 0x41\nCPU part\t: 0xd85\n"


def write(root: Path, **files: str) -> Path:
    """Write files whose names have ``__`` for ``/`` and ``_dot_`` for ``.``."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def linux(root: Path) -> Machine:
    return Machine(system="Linux", root=root)


def disk(root: Path, name: str, **attributes: str) -> None:
    write(root, **{f"sys__block__{name}__{key}": value for key, value in attributes.items()})


def test_a_server_is_described_whole(tmp_path: Path) -> None:
    write(tmp_path, proc__cpuinfo=EPYC, proc__version="Linux version 6.8.0-45-generic (buildd)")
    write(tmp_path / "run/udev/data", **{"+dmi:id": "I:1\nE:MEMORY_DEVICE_0_TYPE=DDR4\n"})
    disk(tmp_path, "nvme0n1", device__model="SAMSUNG MZQL23T8HCLS-00A07   \n", size="7501476528")
    machine = Machine(
        system="Linux",
        release="6.8.0-45-generic",
        version="#45-Ubuntu SMP",
        cores=64,
        threads=128,
        memory_bytes=503 * 2**30 + 5,
        root=tmp_path,
    )
    assert describe(machine) == {
        "cpu": {"model": "AMD EPYC 7763 64-Core Processor", "cores": 64, "threads": 128},
        "ram_gb": 503,
        "ram_type": "DDR4",
        "storage": {"brand": "Samsung", "model": "SAMSUNG MZQL23T8HCLS-00A07", "type": "nvme"},
        "os": "Linux-6.8.0-45-generic",
        "kernel": "#45-Ubuntu SMP",
        "environment_type": "native_linux",
        "remarks": ["storage: the first disk; the disk of KITT's directory is not known"],
    }


@pytest.mark.parametrize("system", ["Linux", "Darwin", "Windows", "Plan9", ""])
def test_an_empty_root_still_gives_an_answer(tmp_path: Path, system: str) -> None:
    found = describe(Machine(system=system, root=tmp_path))
    assert found["environment_type"] in {"native_linux", "native_macos", "native_windows", "unknown"}
    assert "storage" not in found
    assert "ram_gb" not in found


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [
        (EPYC, "AMD EPYC 7763 64-Core Processor"),
        (GRACE, "ARM Neoverse-V2"),
        (GB10, "ARM Cortex-A725 / Cortex-X925"),
        ("model name\t: ARMv8 Processor rev 0 (v8l)\nCPU implementer : 0x41\nCPU part : 0xd42\n",
         "ARM Cortex-A78AE"),
        ("CPU implementer\t: 0xc0\nCPU part\t: 0xac3\n", "Ampere Ampere-1"),
        ("CPU implementer\t: 0x77\nCPU part\t: 0x123\n", "0x77 part 0x123"),
        ("cpu family : 25\nmodel : 1\nmodel name : AMD EPYC\n", "AMD EPYC family 25 model 1"),
        ("cpu\t\t: POWER9, altivec supported\nmodel : 8335-GTH\n", "POWER9"),
        ("hart : 0\nuarch\t\t: sifive,u74-mc\n", "sifive,u74-mc"),
        ("no colon\n:\nmodel name :\n", ""),
        ("vendor_id : IBM/S390\nprocessor 0: version = 00,  id = 0133,  machine = 8561\n", "IBM Z 8561"),
        ("hart : 0\nisa : rv64gc\nmvendorid : 0x5b7\nmarchid : 0x0\n", "RISC-V 0x5b7 0x0"),
        ("CPU implementer : 0x4e\nCPU part : 0x010\n", "NVIDIA Olympus"),
    ],
)  # fmt: skip
def test_cpu_model_from_cpuinfo(tmp_path: Path, cpuinfo: str, model: str) -> None:
    assert cpu_model(linux(write(tmp_path, proc__cpuinfo=cpuinfo))) == model


def test_big_and_little_cores_give_one_label(tmp_path: Path) -> None:
    one = cpu_model(linux(write(tmp_path / "1", proc__cpuinfo=GB10)))
    other = cpu_model(linux(write(tmp_path / "2", proc__cpuinfo="\n\n".join(GB10.split("\n\n")[::-1]))))
    assert cpu_label(one) == cpu_label(other) == "ARM-Cortex-A725-Cortex-X925"


@pytest.mark.parametrize(
    ("name", "attributes", "expected"),
    [
        ("sda", {"device__model": "WDC WD40EFRX", "queue__rotational": "1"}, ("WD", "WDC WD40EFRX", "hdd")),
        ("sda", {"device__model": "CT1000MX500SSD1", "device__vendor": "Crucial", "queue__rotational": "0"},
         ("Crucial", "CT1000MX500SSD1", "ssd")),
        ("sda", {"device__model": "QEMU HARDDISK", "device__vendor": "QEMU", "queue__rotational": "1"},
         ("Unknown", "QEMU HARDDISK", "virtual")),
        ("vda", {"queue__rotational": "1"}, ("Unknown", "Unknown", "virtual")),
        ("mmcblk0", {"device__model": "none"}, ("Unknown", "none", "mmc")),
        ("nvme0n1", {"device__model": "Amazon Elastic Block Store"},
         ("Unknown", "Amazon Elastic Block Store", "virtual")),
    ],
)  # fmt: skip
def test_disks(tmp_path: Path, name: str, attributes: dict[str, str], expected: tuple[str, str, str]) -> None:
    disk(tmp_path, name, **attributes, size="100")
    assert first_disk(tmp_path) == dict(zip(("brand", "model", "type"), expected, strict=True))


def test_the_first_real_disk_is_taken(tmp_path: Path) -> None:
    disk(tmp_path, "loop0", size="9")
    disk(tmp_path, "dm-0", size="9")
    disk(tmp_path, "zram0", size="9")
    disk(tmp_path, "mmcblk0boot0", size="9")
    assert first_disk(tmp_path) is None
    disk(tmp_path, "sda", size="9", removable="1", device__model="USB STICK")
    disk(tmp_path, "sdb", size="0", removable="0", device__model="CARD READER")
    disk(tmp_path, "sdc", size="9", removable="0", device__model="REAL")
    disk(tmp_path, "nvme10n1", size="9", device__model="TENTH")
    disk(tmp_path, "nvme2n1", size="9", device__model="SECOND")
    found = first_disk(tmp_path)
    assert found is not None
    assert found["model"] == "SECOND"


def smbios(size: bytes, kind: int) -> bytes:
    return b"\x11\x28\0\0" + bytes(8) + size + bytes(4) + bytes([kind]) + bytes(10)


def test_memory_type_from_each_source(tmp_path: Path) -> None:
    assert memory_type(linux(tmp_path)) == "Unknown"
    entries = tmp_path / "sys/firmware/dmi/entries"
    for slot, record in enumerate([b"", smbios(b"\0\0", 0x1A), smbios(b"\0\x40", 2), smbios(b"\0\x40", 0x22)]):
        (entries / f"17-{slot}").mkdir(parents=True)
        (entries / f"17-{slot}/raw").write_bytes(record)
    assert memory_type(linux(tmp_path)) == "DDR5"
    write(tmp_path, sys__devices__system__edac__mc__mc0__dimm0__dimm_mem_type="Registered-DDR3\n")
    assert memory_type(linux(tmp_path)) == "DDR3"
    write(
        tmp_path / "run/udev/data",
        **{"+dmi:id": "E:MEMORY_DEVICE_0_TYPE=Unknown\nE:MEMORY_DEVICE_1_TYPE=LPDDR5X\n"},
    )
    assert memory_type(linux(tmp_path)) == "LPDDR5X"


def mount(at: str, path: str) -> str:
    return f"1002 901 0:1 / {at} rw,relatime - overlay overlay rw,lowerdir={path}\n"


@pytest.mark.parametrize(
    ("files", "environ", "expected"),
    [
        ({}, {}, "native_linux"),
        ({"etc__dgx-release": "DGX_NAME=DGX Spark", "_dot_dockerenv": ""}, {}, "dgx_spark"),
        ({"etc__nvidia__nvidia-dgs_dot_conf": ""}, {}, "dgx_spark"),
        ({"etc__dgx-release": "DGX_NAME=DGX H100"}, {}, "dgx"),
        ({"proc__version": "Linux version 5.15-microsoft-standard-WSL2", "_dot_dockerenv": ""}, {}, "wsl2"),
        ({"_dot_dockerenv": "", "proc__1__cgroup": "0::/docker/x"}, {}, "docker"),
        ({"_dot_dockerenv": "", "proc__1__cgroup": "0::/kubepods/x"}, {}, "kubernetes"),
        ({"_dot_dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({"run___dot_containerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({"run___dot_containerenv": ""}, {}, "podman"),
        ({"proc__1__cgroup": "0::/machine.slice/libpod-12.scope"}, {}, "podman"),
        ({"proc__1__cgroup": "11:memory:/kubepods/besteffort/pod1/2"}, {}, "kubernetes"),
        ({"proc__1__cgroup": "0::/"}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({"var__run__secrets__kubernetes_dot_io__serviceaccount__token": "x"}, {}, "kubernetes"),
        ({"proc__self__mountinfo": mount("/etc/hosts", "/var/lib/kubelet/pods/1/h")}, {}, "kubernetes"),
        ({"proc__self__mountinfo": mount("/", "/var/lib/containerd/io/1/fs")}, {}, "containerd"),
        ({"proc__1__cgroup": "0::/", "proc__self__mountinfo": mount("/", "/var/lib/docker/overlay2/l")},
         {}, "container"),
        ({"proc__1__cgroup": "5:cpu:/lxc/web"}, {}, "container"),
        ({"run__systemd__container": "systemd-nspawn"}, {}, "container"),
        ({}, {"container": "podman"}, "podman"),
        ({}, {"container": "oci"}, "container"),
        ({}, {"APPTAINER_CONTAINER": "/images/vllm.sif"}, "apptainer"),
        ({"_dot_singularity.d__labels.json": "{}"}, {}, "apptainer"),
        ({"proc__1__cgroup": "0::/init.scope",
          "proc__self__mountinfo": mount("/var/lib/docker/overlay2/1/merged", "/var/lib/docker/overlay2/l")},
         {}, "native_linux"),
    ],
)  # fmt: skip
def test_environments(tmp_path: Path, files: dict[str, str], environ: dict[str, str], expected: str) -> None:
    assert environment_type(write(tmp_path, **files), "Linux", environ) == expected
    assert expected in ENVIRONMENT_TYPES


@pytest.mark.parametrize(
    ("system", "expected"), [("Darwin", "native_macos"), ("Windows", "native_windows"), ("Java", "unknown")]
)
def test_other_systems(tmp_path: Path, system: str, expected: str) -> None:
    assert environment_type(write(tmp_path, _dot_dockerenv=""), system, {}) == expected


def test_files_that_are_no_files_are_no_obstacle(tmp_path: Path) -> None:
    for name in ("proc/cpuinfo", "proc/version", "proc/1/cgroup", "sys/block/sda/device/model"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "sys/block/sda/size").write_bytes(b"\xff\xfe\0")
    found = describe(Machine(system="Linux", root=tmp_path))
    assert found["storage"] == {"brand": "Unknown", "model": "Unknown", "type": "ssd"}
    assert "cpu" not in found


def registered() -> Registry[FingerprintSource]:
    registry: Registry[FingerprintSource] = Registry("fingerprint source", FingerprintSource, 1)
    plugin.kitt_register_fingerprint(registry)
    return registry


def test_the_sources_describe_this_machine() -> None:
    registry = registered()
    assert [source.name for source in registry] == ["host", "nvidia", "amd", "apple"]
    info = collect_system_info(registry)
    assert info.notes == ()
    assert info.sections["ram_gb"] >= 0
    assert info.sections["cpu"]["threads"] == this_machine().threads
    assert info.fingerprint
    json.dumps(info.sections, allow_nan=False)


def test_a_host_without_psutil_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "psutil", None)
    info = collect_system_info(registered())
    (note,) = info.notes
    assert note.startswith("host: ModuleNotFoundError:")


@pytest.mark.parametrize("home", ["/nowhere/at/all", "~nobody-of-this-name/x", "relative"])
def test_any_home_of_kitt_will_do(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("KITT_HOME", home)
    assert collect_system_info(registered()).notes == ()


def test_the_plugin_module_is_light() -> None:
    import subprocess
    import sys

    heavy = {"psutil", "pynvml", "ctypes", "subprocess", "kitt_hardware.host", "kitt_hardware.nvidia"}
    code = f"import sys, kitt_hardware.plugin; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
