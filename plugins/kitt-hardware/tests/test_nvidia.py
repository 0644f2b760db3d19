"""NVIDIA GPUs: drivers and bindings of any age, broken and hanging ones, and the command instead."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from faked_machines import FakeNvml, NVMLError, answers, no_library, write
from kitt_hardware import nvidia, nvidia_smi, nvml
from kitt_hardware.machine import Machine, command_output, with_timeout

H100 = {"name": "NVIDIA H100 80GB HBM3", "memory_mib": 81559, "capability": [9, 0], "milliwatts": 700000}
L4 = {"name": "NVIDIA L4", "memory_mib": 23034, "capability": [8, 9], "milliwatts": 72000}
QUERY = (
    "/usr/bin/nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap,power.limit,mig.mode.current"
    " --format=csv,noheader,nounits"
)
OLD_QUERY = "/usr/bin/nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader,nounits"
SMI_LIST = "/usr/bin/nvidia-smi -L"
SMI_COMPUTE = "/usr/bin/nvidia-smi -q -d COMPUTE"
MISMATCH = "Driver/library version mismatch"


def linux(root: Path, commands: Mapping[str, str | None] | None = None, **environ: str) -> Machine:
    if commands:
        write(root, {"usr/bin/nvidia-smi": ""})
    return Machine(system="Linux", root=root, environ=environ, run=answers(commands or {}))


class Broken:
    """A library that is there and can't be used."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def nvmlInit(self) -> None:  # noqa: N802 - the library's name
        raise NVMLError(self.reason)


def test_the_fake_has_the_functions_of_the_module() -> None:
    pynvml = importlib.import_module("pynvml")
    names = [name for name in vars(FakeNvml) if name.startswith("nvml")]
    assert len(names) > 10
    assert [name for name in names if not callable(getattr(pynvml, name, None))] == []


@pytest.mark.parametrize("as_bytes", [False, True])
def test_every_gpu_is_found(tmp_path: Path, as_bytes: bool) -> None:
    library = FakeNvml([H100, L4], as_bytes=as_bytes)
    assert nvidia.describe(linux(tmp_path), lambda: library) == {
        "gpu": {
            "devices": [
                {"vendor": "nvidia", "model": "NVIDIA H100 80GB HBM3", "vram_gb": 80,
                 "compute_capability": [9, 0], "power_limit_w": 700},
                {"vendor": "nvidia", "model": "NVIDIA L4", "vram_gb": 23,
                 "compute_capability": [8, 9], "power_limit_w": 72},
            ]
        },
        "driver_version": "550.90.07",
        "cuda_version": "12.4",
    }  # fmt: skip
    assert library.open == 0


def test_nothing_is_read_that_names_one_device_on_earth() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in Path(nvml.__file__).parent.glob("*.py"))
    for name in ("GetUUID", "GetSerial", "uuid,", "product_serial", "product_uuid", "unique_id"):
        assert name not in source


def test_what_a_driver_does_not_have_is_left_out_alone(tmp_path: Path) -> None:
    bare: dict[str, Any] = {"name": "NVIDIA GeForce GT 710", "memory_mib": 1998}
    found = nvidia.describe(linux(tmp_path), lambda: FakeNvml([bare], cuda=None, driver=""))
    assert found == {
        "gpu": {"devices": [{"vendor": "nvidia", "model": "NVIDIA GeForce GT 710", "vram_gb": 2}]},
        "remarks": ["CUDA's version: Function Not Found"],
    }


def test_a_lost_gpu_costs_only_itself(tmp_path: Path) -> None:
    refused = {**L4, "memory_mib": "Insufficient Permissions"}
    found = nvidia.describe(linux(tmp_path), lambda: FakeNvml([H100, {**H100, "lost": True}, refused]))
    assert [device["model"] for device in found["gpu"]["devices"]] == ["NVIDIA H100 80GB HBM3", "NVIDIA L4"]
    assert "vram_gb" not in found["gpu"]["devices"][1]
    assert found["remarks"] == ["GPU 1: GPU is lost", "GPU 2's memory: Insufficient Permissions"]


def test_a_machine_whose_only_gpu_is_lost_says_so(tmp_path: Path) -> None:
    found = nvidia.describe(linux(tmp_path), lambda: FakeNvml([{**H100, "lost": True}]))
    assert found["remarks"] == ["GPU 0: GPU is lost"]
    assert "gpu" not in found


def test_a_binding_without_a_function_is_no_failure(tmp_path: Path) -> None:
    class Old(FakeNvml):
        nvmlDeviceGetMigMode = nvmlDeviceGetPowerManagementLimit = None  # type: ignore[assignment]  # noqa: N815

    (device,) = nvidia.describe(linux(tmp_path), lambda: Old([L4]))["gpu"]["devices"]
    assert (device["vram_gb"], "mig" in device, "power_limit_w" in device) == (23, False, False)


@pytest.mark.parametrize(
    ("instance", "profile"),
    [("1g.10gb", "1g.10gb"), ("1g.10gb+me", "1g.10gb+me"), ([1, 1, 4864], "1g.5gb"), ([3, 3, 40192], "3g.40gb"),
     ([1, 2, 9856], "1c.2g.10gb"), (None, "unknown")],
)  # fmt: skip
def test_instances_are_identified_by_name_or_by_their_parts(tmp_path: Path, instance: Any, profile: str) -> None:
    a100 = {"name": "NVIDIA A100-SXM4-40GB", "memory_mib": 40960, "mig": [instance]}
    (device,) = nvidia.describe(linux(tmp_path), lambda: FakeNvml([a100]))["gpu"]["devices"]
    assert device["mig"] == {"enabled": True, "instances": [profile]}


def test_memory_is_unified_where_there_is_none(tmp_path: Path) -> None:
    for gpu in ({"name": "NVIDIA GB10"}, {"name": "NVIDIA GB10", "memory_mib": 124610}, {"name": "NVIDIA Future"}):
        (device,) = nvidia.describe(linux(tmp_path), partial(FakeNvml, [gpu]))["gpu"]["devices"]
        assert (device["vram_gb"], device["unified_memory"]) == (0, True)


def test_hidden_gpus_are_counted_and_the_variables_are_recorded(tmp_path: Path) -> None:
    machine = linux(tmp_path, CUDA_VISIBLE_DEVICES="1,GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", OTHER="x")
    gpu = nvidia.describe(machine, lambda: FakeNvml([H100, H100]))["gpu"]
    assert len(gpu["devices"]) == 2
    assert gpu["visible_devices"] == {"CUDA_VISIBLE_DEVICES": "1,GPU-uuid"}
    empty = nvidia.describe(linux(tmp_path, CUDA_VISIBLE_DEVICES=""), lambda: FakeNvml([H100]))["gpu"]
    assert empty["visible_devices"] == {"CUDA_VISIBLE_DEVICES": ""}


def test_a_machine_without_gpu_has_nothing_to_say(tmp_path: Path) -> None:
    assert nvidia.describe(linux(tmp_path), no_library) == {}
    assert nvidia.describe(linux(tmp_path), lambda: FakeNvml([])) == {}
    assert nvidia.describe(Machine(system="Darwin", root=tmp_path), pytest.fail) == {}


def test_a_library_that_refuses_is_a_remark_even_if_nothing_else_is_seen(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    assert nvidia.describe(machine, lambda: Broken(MISMATCH)) == {"remarks": [f"NVML: {MISMATCH}"]}
    # On Windows the module itself looks for the library.
    assert nvidia.describe(machine, lambda: Broken("NVML Shared Library Not Found")) == {}


def on_bus(root: Path, count: int) -> Path:
    for slot in range(count):
        place = f"sys/bus/pci/devices/0000:0{slot}:00.0"
        write(root, {f"{place}/vendor": "0x10de\n", f"{place}/class": "0x030000\n"})
    return root


def test_a_gpu_without_driver_is_a_remark(tmp_path: Path) -> None:
    assert nvidia.describe(linux(on_bus(tmp_path, 2)), no_library) == {
        "remarks": [
            "NVML: no driver: libnvidia-ml.so.1 can't be loaded",
            "2 NVIDIA GPUs are on the bus, 0 can be used here",
        ]
    }


def test_a_container_with_some_of_the_gpus_is_a_remark(tmp_path: Path) -> None:
    found = nvidia.describe(linux(on_bus(tmp_path, 3)), lambda: FakeNvml([L4]))
    assert len(found["gpu"]["devices"]) == 1
    assert found["remarks"] == ["3 NVIDIA GPUs are on the bus, 1 can be used here"]


def test_of_a_driver_that_does_not_fit_its_library_the_models_are_known(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun\n",
            "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA L4\nIRQ:   \t\t 188\n",
        },
    )
    found = nvidia.describe(linux(tmp_path), lambda: Broken(MISMATCH))
    assert found == {
        "gpu": {"devices": [{"vendor": "nvidia", "model": "NVIDIA L4"}]},
        "driver_version": "535.183.01",
        "remarks": [
            f"NVML: {MISMATCH}",
            "the driver does not answer: only the models of the GPUs are known",
        ],
    }
    open_module = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build\n"
    write(tmp_path, {"proc/driver/nvidia/version": open_module})
    assert nvidia.describe(linux(tmp_path), no_library)["driver_version"] == "560.35.03"


@pytest.mark.parametrize("failure", [ImportError("no module"), SystemExit(1), ValueError(), RuntimeError("a\nb")])
def test_whatever_a_module_of_that_name_does_is_a_remark(tmp_path: Path, failure: BaseException) -> None:
    def load() -> Any:
        raise failure

    remarks = nvidia.describe(linux(on_bus(tmp_path, 1)), load)["remarks"]
    assert remarks[0].startswith("NVML: ")
    assert all(remark.isprintable() for remark in remarks)


def test_a_driver_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(nvidia, "_PATIENCE_SECONDS", 0.05)
    machine = linux(on_bus(tmp_path, 1), {QUERY: "NVIDIA L4, 1.0, 23034, 8.9, 72.00, [N/A]"})
    try:
        found = nvidia.describe(machine, lambda: release.wait(30))
    finally:
        release.set()
    assert found["remarks"][0] == "NVML: no answer within 0.05 s"
    assert "gpu" not in found, "the command waits for the same driver"


def test_within_hands_on_what_is_raised() -> None:
    assert with_timeout(30, lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        with_timeout(30, lambda: 1 // 0)


def test_the_command_is_used_where_the_library_cannot_be(tmp_path: Path) -> None:
    answer_ = (
        "NVIDIA A100-SXM4-40GB, 535.161.08, 40960, 8.0, 400.00, Enabled\n"
        "Quadro, with a comma, 535.161.08, 8192, 7.5, [Not Supported], [N/A]\n"
        "NVIDIA GB10, 535.161.08, [N/A], 12.1, [N/A], [N/A]\n"
        "NVIDIA A100-SXM4-40GB, 535.161.08, 40960, 8.0, 400.00, Disabled\n"
    )
    listed = (
        "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-1)\n"
        "  MIG 3g.20gb     Device  0: (UUID: MIG-2)\n"
        "  MIG 1g.5gb      Device  1: (UUID: MIG-3)\n"
        "GPU 1: Quadro, with a comma (UUID: GPU-4)\n"
    )
    machine = linux(tmp_path, {QUERY: answer_, "/usr/bin/nvidia-smi -L": listed})
    assert nvidia_smi.read(machine) == {
        "gpu": {
            "devices": [
                {"vendor": "nvidia", "model": "NVIDIA A100-SXM4-40GB", "vram_gb": 40, "compute_capability": [8, 0],
                 "power_limit_w": 400, "mig": {"enabled": True, "instances": ["1g.5gb", "3g.20gb"]}},
                {"vendor": "nvidia", "model": "Quadro, with a comma", "vram_gb": 8, "compute_capability": [7, 5]},
                {"vendor": "nvidia", "model": "NVIDIA GB10", "vram_gb": 0, "unified_memory": True,
                 "compute_capability": [12, 1]},
                {"vendor": "nvidia", "model": "NVIDIA A100-SXM4-40GB", "vram_gb": 40, "compute_capability": [8, 0],
                 "power_limit_w": 400, "mig": {"enabled": False}},
            ]
        },
        "driver_version": "535.161.08",
    }  # fmt: skip


def test_an_old_command_is_queried_for_less(tmp_path: Path) -> None:
    machine = linux(tmp_path, {OLD_QUERY: "Tesla K80, 390.157, 11441", "/usr/bin/nvidia-smi -q -d COMPUTE": ""})
    found = nvidia.describe(machine, lambda: Broken("Function Not Found"))
    assert found["gpu"] == {"devices": [{"vendor": "nvidia", "model": "Tesla K80", "vram_gb": 12}]}
    assert found["driver_version"] == "390.157"
    assert "cuda_version" not in found


@pytest.mark.parametrize(
    "said",
    [
        "",
        "No devices were found",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
        f"Failed to initialize NVML: {MISMATCH}\nNVML library version: 550.90",
        'Field "compute_cap" is not a valid field to query.',
        ", , , , , ",
        "[Unknown Error], [N/A], [N/A], [N/A], [N/A], [N/A]",
    ],
)
def test_a_command_that_knows_nothing_is_no_failure(tmp_path: Path, said: str) -> None:
    assert nvidia_smi.read(linux(tmp_path, {QUERY: said, OLD_QUERY: said})) == {}


@pytest.mark.parametrize(
    ("memory", "expected", "remarks"),
    [
        ("[N/A]", {"vram_gb": 0, "unified_memory": True}, None),
        ("[Not Supported]", {"vram_gb": 0, "unified_memory": True}, None),
        ("[Unknown Error]", {}, ["GPU 0's memory: nvidia-smi says [Unknown Error]"]),
        ("[Insufficient Permissions]", {}, ["GPU 0's memory: nvidia-smi says [Insufficient Permissions]"]),
    ],
)
def test_memory_that_cannot_be_read_is_not_unified(
    tmp_path: Path, memory: str, expected: dict[str, Any], remarks: list[str] | None
) -> None:
    found = nvidia_smi.read(linux(tmp_path, {QUERY: f"NVIDIA L4, 550.90, {memory}, 8.9, 72.00, [N/A]"}))
    assert found["gpu"]["devices"] == [
        {"vendor": "nvidia", "model": "NVIDIA L4", "compute_capability": [8, 9], "power_limit_w": 72, **expected}
    ]
    assert found.get("remarks") == remarks


@pytest.mark.parametrize(
    ("commands", "asked", "known"),
    [
        ({QUERY: None}, 1, False),
        ({QUERY: "", OLD_QUERY: None}, 2, False),
        ({QUERY: "NVIDIA A30, 550.90, 24576, 8.0, 165.00, Enabled", SMI_LIST: None}, 2, True),
        ({QUERY: "NVIDIA A30, 550.90, 24576, 8.0, 165.00, Disabled", SMI_COMPUTE: None}, 2, True),
    ],
)
def test_a_command_that_hangs_is_not_run_again(
    tmp_path: Path, commands: dict[str, str | None], asked: int, known: bool
) -> None:
    machine = linux(tmp_path, commands)
    calls: list[str] = []

    def run(*command: str, **options: Any) -> str:
        calls.append(" ".join(command))
        return str(machine.run(*command, **options))

    found = nvidia.describe(evolve(machine, run=run), no_library)
    assert len(calls) == asked
    assert any("nvidia-smi: no answer within 10 s" in remark for remark in found["remarks"])
    assert (found.get("driver_version") == "550.90") == known
    assert [device["vram_gb"] for device in found.get("gpu", {}).get("devices", [])] == ([24] if known else [])


def test_windows_finds_the_command_on_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = r"C:\Windows\System32\nvidia-smi.exe"
    monkeypatch.setattr("shutil.which", {"nvidia-smi": where}.get)
    row = "NVIDIA GeForce RTX 4080, 566.14, 16376, 8.9, 320.00, [N/A]"
    commands = {QUERY.replace("/usr/bin/nvidia-smi", where): row, f"{where} -q -d COMPUTE": "CUDA Version : 12.7"}
    machine = Machine(system="Windows", root=tmp_path, run=answers(commands))
    found = nvidia.describe(machine, no_library)
    assert found["gpu"]["devices"][0]["vram_gb"] == 16
    assert (found["driver_version"], found["cuda_version"]) == ("566.14", "12.7")


def test_a_command_that_fails_hangs_or_is_missing_has_no_answer() -> None:
    assert command_output(sys.executable, "-c", "print('so')") == "so"
    assert command_output(sys.executable, "-c", "print('so'); raise SystemExit(2)") == ""
    assert command_output("/nowhere/at/all") == ""
    assert command_output("nul\0") == ""
    begin = time.monotonic()
    assert command_output(sys.executable, "-c", "import time; time.sleep(600)", patience=0.2) == ""
    assert time.monotonic() - begin < 300
    with pytest.raises(TimeoutError, match="no answer within"):
        command_output(sys.executable, "-c", "import time; time.sleep(600)", patience=0.2, must_end=True)


def test_without_the_library_the_module_is_not_even_imported() -> None:
    code = (
        "import sys; from kitt_hardware import nvml\n"
        "try: nvml.load()\n"
        "except nvml.NoDriverError: assert 'pynvml' not in sys.modules\n"
        "else: assert 'pynvml' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_command_that_prints_for_ever_is_ended() -> None:
    assert command_output(sys.executable, "-c", "while True: print('x' * 100_000)", patience=60) == ""


def test_what_a_hanging_command_has_started_does_not_outlive_it(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = f"import time\nwhile True: print('alive', file=open({str(mark)!r}, 'a')); time.sleep(0.05)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(TimeoutError):
        command_output(sys.executable, "-c", parent, patience=2.0, must_end=True)
    written = mark.stat().st_size
    time.sleep(1.0)
    assert mark.stat().st_size == written > 0
