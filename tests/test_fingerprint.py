from __future__ import annotations

import json
import re
from typing import Any

import pytest

from kitt_core.fingerprint import (
    FingerprintSource,
    collect_system_info,
    cpu_label,
    fingerprint_text,
    machine_id,
    software_id,
)
from kitt_core.runs import check_run

LEGACY: dict[str, Any] = {
    "gpu": {"model": "NVIDIA GeForce RTX 4090", "vram_gb": 24, "count": 1, "compute_capability": [8, 9]},
    "cpu": {"model": "AMD EPYC 7763 64-Core Processor", "cores": 64, "threads": 128},
    "ram_gb": 503,
    "ram_type": "DDR4",
    "storage": {"brand": "Samsung", "model": "SAMSUNG MZQL23T8HCLS-00A07", "type": "nvme"},
    "cuda_version": "12.4",
    "driver_version": "550.90.07",
    "os": "Linux-6.8.0-45-generic",
    "kernel": "#45-Ubuntu SMP",
    "environment_type": "native_linux",
}


def source(name: str, found: Any) -> FingerprintSource:
    def collect() -> Any:
        if isinstance(found, BaseException):
            raise found
        return found

    return FingerprintSource(name, collect)


def test_a_known_machine_gives_kitts_form() -> None:
    assert fingerprint_text(LEGACY) == (
        "NVIDIA-GeForce-RTX-4090-24GB_AMD-EPYC-7763-64c_503GB-DDR4"
        "_Samsung-SAMSUNG-MZQL23T8HCLS-00A07-NVME_CUDA-12.4_550.90.07_Linux-6.8.0-45-generic"
    )


def test_video_memory_that_is_not_known_is_left_out() -> None:
    assert fingerprint_text({"gpu": {"model": "NVIDIA L4", "count": 2}, "ram_gb": 8}) == "NVIDIA-L4-2x_8GB-Unknown"


def test_rocm_stands_where_cuda_would() -> None:
    amd = {**LEGACY, "cuda_version": None, "rocm_version": "6.2.0", "driver_version": None}
    assert fingerprint_text(amd).endswith("-NVME_ROCm-6.2.0_Linux-6.8.0-45-generic")
    assert software_id(amd) != software_id({**amd, "rocm_version": "6.3.1"})


def test_alike_disks_of_one_volume_are_counted() -> None:
    text = fingerprint_text({"storage": {"brand": "Samsung", "model": "PM9A3", "type": "nvme", "count": 4}})
    assert text == "Samsung-PM9A3-NVME-4x"
    assert fingerprint_text({"storage": {"brand": "Unknown", "model": "Unknown", "count": 4}}) == ""


def test_what_is_absent_is_left_out() -> None:
    assert fingerprint_text({}) == ""
    assert fingerprint_text({"gpu": None, "cpu": {"cores": 4}, "ram_gb": 15}) == "UnknownCPU-4c_15GB-Unknown"


def test_several_gpus_and_unified_memory() -> None:
    four = {**LEGACY, "gpu": {"model": "NVIDIA A100-SXM4-80GB", "vram_gb": 80, "count": 4}}
    unified = {**LEGACY, "gpu": {"model": "NVIDIA GB10", "vram_gb": 0, "count": 1}, "ram_gb": 119}
    assert fingerprint_text(four).startswith("NVIDIA-A100-SXM4-80GB-80GB-4x_")
    assert fingerprint_text(unified).startswith("NVIDIA-GB10-119GB_")


@pytest.mark.parametrize(
    ("brand", "label"),
    [
        ("AMD EPYC 7763 64-Core Processor", "AMD-EPYC-7763"),
        ("AMD Ryzen 9 7950X 16-Core Processor", "AMD-Ryzen-9-7950X"),
        ("AMD Ryzen 7 7840U w/ Radeon 780M Graphics", "AMD-Ryzen-7-7840U"),
        ("AMD Ryzen 7 5700G with Radeon Graphics", "AMD-Ryzen-7-5700G"),
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "Intel-Xeon-E5-2680-v4"),
        ("Intel(R) Xeon(R) Platinum 8480+", "Intel-Xeon-Platinum-8480plus"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "Intel-Xeon-2.20GHz"),
        ("13th Gen Intel(R) Core(TM) i9-13900K", "Intel-Core-i9-13900K"),
        ("Intel(R) Core(TM) Ultra 7 155H", "Intel-Core-Ultra-7-155H"),
        ("Apple M2 Max", "Apple-M2-Max"),
        ("ARM Neoverse-N1", "ARM-Neoverse-N1"),
        ("Processor", "Processor"),
        ("", ""),
    ],
)
def test_cpu_label_identifies_the_cpu(brand: str, label: str) -> None:
    assert cpu_label(brand) == label


@pytest.mark.parametrize(
    "hostile",
    [
        {"gpu": {"model": "../../x", "vram_gb": 1}, "os": "a/b\\c:d\0e"},
        {"gpu": "RTX", "cpu": [], "ram_gb": "24GB", "storage": 3, "os": {"a": 1}, "cuda_version": 12.4},
        {"gpu": {"model": "x" * 9000, "vram_gb": float("nan"), "count": 10**400}, "ram_gb": float("inf")},
        {
            "storage": {"brand": "b" * 99, "model": "m" * 99, "type": "t" * 99},
            "os": "o" * 99,
            "driver_version": "9" * 99,
        },
        {"cpu": {"model": "模型 \ud800", "cores": True}, "ram_gb": 10**400, "os": "..."},
    ],
)
def test_the_text_is_one_safe_file_name_whatever_is_given(hostile: dict[str, Any]) -> None:
    text = fingerprint_text(hostile)
    assert re.fullmatch(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,199})?", text)
    machine_id(hostile)
    software_id(hostile)


def test_long_texts_stay_different() -> None:
    def long(end: str) -> str:
        storage = {"brand": "b" * 60, "model": "m" * 60, "type": "t" * 60}
        return fingerprint_text({**LEGACY, "storage": storage, "os": "o" * 50 + end})

    assert len(long("1")) == 200
    assert long("1") != long("2")


def test_long_names_stay_different() -> None:
    one, other = ({"storage": {"model": "m" * 70 + end}, "gpu": {"model": "g" * 70 + end}} for end in "12")
    assert fingerprint_text(one) != fingerprint_text(other)
    assert machine_id(one) != machine_id(other)


def test_machine_stays_when_software_or_privileges_change() -> None:
    later = {
        **LEGACY,
        "driver_version": "570.1",
        "cuda_version": "12.8",
        "os": "Linux-6.11",
        "kernel": "#1",
        "environment_type": "docker",
        "ram_type": "Unknown",
        "storage": {"brand": "Unknown", "model": "Unknown", "type": "unknown"},
        "ram_gb": 502,
    }
    assert machine_id(later) == machine_id(LEGACY)
    assert software_id(later) != software_id(LEGACY)


@pytest.mark.parametrize(
    "changed",
    [
        {"gpu": None},
        {"gpu": {"model": "NVIDIA GeForce RTX 4090", "vram_gb": 24, "count": 2}},
        {"cpu": {"model": "AMD EPYC 7713 64-Core Processor", "cores": 64}},
        {"ram_gb": 251},
    ],
)
def test_machine_changes_with_the_hardware_alone(changed: dict[str, Any]) -> None:
    other = {**LEGACY, **changed}
    assert machine_id(other) != machine_id(LEGACY)
    assert software_id(other) == software_id(LEGACY)


def test_ids_are_fixed_for_ever() -> None:
    # These stand in stored runs as labels: a change would make every machine a new one.
    assert machine_id(LEGACY) == "a8290667fec5c40e"
    assert software_id(LEGACY) == "df5a9b649f2ec7b1"
    assert machine_id({"os": "Linux"}) is None
    assert software_id({"ram_gb": 5}) is None


@pytest.mark.parametrize(("one", "other"), [(15, 16), (62, 64), (125, 128), (188, 192), (503, 512), (1007, 1024)])
def test_visible_memory_counts_as_installed_memory(one: int, other: int) -> None:
    assert machine_id({"ram_gb": one}) == machine_id({"ram_gb": other})


def test_sections_are_merged_and_the_first_value_stays() -> None:
    host = source("host", {"os": "Linux-6", "gpu": None, "cpu": {"model": "Apple M2", "cores": 8}, "zebra": 1})
    nvidia = source("nvidia", {"gpu": {"model": "NVIDIA L4", "vram_gb": 22}, "os": "no", "cpu": {"threads": 8}})
    info = collect_system_info([host, nvidia])
    assert info.notes == ()
    assert list(info.sections) == [
        "gpu", "cpu", "cuda_version", "driver_version", "os", "zebra", "fingerprint", "machine", "software",
    ]  # fmt: skip
    assert info.sections["cpu"] == {"model": "Apple M2", "cores": 8, "threads": 8}
    assert info.sections["os"] == "Linux-6"
    assert info.fingerprint == "NVIDIA-L4-22GB_Apple-M2-8c_Linux-6"
    assert info.sections["machine"] == machine_id(info.sections)


def devices(*names: str, **more: Any) -> dict[str, Any]:
    sizes = {"A": 24, "B": 12, "C": None, "U": 0}
    listed = [{"model": name, "vram_gb": sizes[name], "compute_capability": [8, 6]} | more for name in names]
    return {"gpu": {"devices": listed}, "ram_gb": 64}


def test_equal_gpus_are_summed_up() -> None:
    gpu = collect_system_info([source("nvidia", devices("A", "A"))]).sections["gpu"]
    assert list(gpu) == ["model", "vram_gb", "count", "compute_capability", "devices"]
    assert [gpu[key] for key in list(gpu)[:4]] == ["A", 24, 2, [8, 6]]


def test_different_gpus_are_all_in_the_text_and_in_the_id() -> None:
    both = collect_system_info([source("nvidia", devices("B", "A", "B"))]).sections
    assert (both["gpu"]["model"], both["gpu"]["count"]) == ("A", 1)
    assert both["fingerprint"] == "A-24GB-and-B-12GB-2x_64GB-Unknown"
    texts, ids = set(), set()
    for names in (["A"], ["A", "B"], ["A", "B", "B"], ["A", "A", "B"], ["A", "C"], ["C"], ["U"]):
        sections = collect_system_info([source("nvidia", devices(*names))]).sections
        texts.add(sections["fingerprint"])
        ids.add(sections["machine"])
        backwards = collect_system_info([source("nvidia", devices(*reversed(names)))]).sections
        assert (backwards["fingerprint"], backwards["machine"]) == (sections["fingerprint"], sections["machine"])
    assert len(texts) == len(ids) == 7


def test_devices_say_the_same_as_their_sum() -> None:
    sections = collect_system_info([source("nvidia", devices("A", "A"))]).sections
    flat = {**sections, "gpu": {key: value for key, value in sections["gpu"].items() if key != "devices"}}
    assert machine_id(flat) == sections["machine"]
    assert fingerprint_text(flat) == sections["fingerprint"]


def test_the_gpus_of_several_sources_are_joined() -> None:
    sources = [source("nvidia", devices("B")), source("amd", devices("A", architecture="gfx1100"))]
    info = collect_system_info(sources)
    assert info.fingerprint == "A-24GB-and-B-12GB_64GB-Unknown"
    built_in = collect_system_info([sources[0], source("amd", devices("A", integrated=True))])
    assert built_in.fingerprint == "B-12GB_64GB-Unknown"
    assert len(built_in.sections["gpu"]["devices"]) == 2
    alone = collect_system_info([source("amd", devices("U", integrated=True))])
    assert alone.fingerprint == "U-64GB_64GB-Unknown"


def test_a_summary_that_a_source_gives_stays() -> None:
    own = {"gpu": {"model": "mine", "devices": [{"model": "A"}]}}
    assert collect_system_info([source("own", own)]).sections["gpu"] == own["gpu"]


def test_partitions_are_in_the_text_and_in_the_software() -> None:
    whole = devices("A")
    some = devices("A", mig={"enabled": True, "instances": ["3g.40gb", "1g.10gb", "1g.10gb"]})
    parted = devices("A", partition="CPX-NPS4")
    assert fingerprint_text(some) == "A-24GB-MIG-2x1g.10gb-3g.40gb_64GB-Unknown"
    assert fingerprint_text(devices("A", mig={"enabled": True})) == "A-24GB-MIG-none_64GB-Unknown"
    assert fingerprint_text(devices("A", mig={"enabled": False})) == fingerprint_text(whole)
    assert fingerprint_text(parted) == "A-24GB-CPX-NPS4_64GB-Unknown"
    assert machine_id(some) == machine_id(parted) == machine_id(whole)
    assert len({software_id({**found, "os": "Linux"}) for found in (whole, some, parted)}) == 3


@pytest.mark.parametrize(
    "odd",
    [
        {"devices": "A"},
        {"devices": [None, 5, {}, {"model": 7}, {"model": ""}]},
        {"devices": [{"model": "A", "vram_gb": "24", "mig": 3}]},
        {
            "devices": [
                {"model": "A", "vram_gb": 10**400, "mig": {"enabled": True, "instances": [1, None, "x" * 99]}}
            ]
        },
    ],
)
def test_devices_of_any_shape_are_no_failure(odd: dict[str, Any]) -> None:
    info = collect_system_info([source("odd", {"gpu": odd, "ram_gb": 8})])
    assert info.notes == ()
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,200}", info.fingerprint)


def test_remarks_are_shown_and_not_stored() -> None:
    remarks = ["ram_type:\n no rights", 5]
    info = collect_system_info(
        [source("host", {"ram_gb": 8, "remarks": remarks}), source("bad", {"remarks": "x"})]
    )
    assert info.remarks == ("host: ram_type: no rights",)
    assert info.notes == ()
    assert "remarks" not in info.sections


def test_which_source_found_what_is_known() -> None:
    sources = [source("host", {"os": "x", "ram_gb": 1}), source("none", {}), source("bad", OSError("x"))]
    assert collect_system_info(sources).sources == {"host": ("os", "ram_gb"), "none": (), "bad": ()}


@pytest.mark.parametrize("failure", [RuntimeError("no\nNVML"), SystemExit(3), ImportError(), 5, None])
def test_a_failing_source_is_a_note_and_stops_nothing(failure: Any) -> None:
    info = collect_system_info([source("bad", failure), source("good", {"ram_gb": 8})])
    assert info.sections["ram_gb"] == 8
    (note,) = info.notes
    assert note.startswith("bad: ")
    assert "\n" not in note


def test_a_value_that_is_not_json_is_left_out_alone() -> None:
    info = collect_system_info([source("odd", {"ram_gb": 8, "flags": {1}, "load": float("nan")})])
    assert info.sections["ram_gb"] == 8
    assert not {"flags", "load"} & set(info.sections)
    assert [note.split(" is ")[0] for note in info.notes] == ["odd: flags", "odd: load"]


def test_nothing_found_is_a_valid_answer() -> None:
    info = collect_system_info([])
    assert info.sections == {"gpu": None, "cuda_version": None, "driver_version": None, "fingerprint": ""}


@pytest.mark.parametrize(
    ("section", "value", "why"),
    [
        ("ram_gb", "64", '$.system_info.ram_gb is "64", expected an integer'),
        ("ram_gb", 31.4, "$.system_info.ram_gb is 31.4, expected an integer"),
        ("cpu", "EPYC", '$.system_info.cpu is "EPYC", expected an object'),
        ("gpu", {"model": 5}, "$.system_info.gpu.model is 5, expected text"),
        ("odd", json.loads("[" * 600 + "]" * 600), "nested"),
    ],
)
def test_a_section_that_no_store_takes_is_left_out_with_a_note(section: str, value: Any, why: str) -> None:
    wrong = FingerprintSource(name="wrong", collect=lambda: {section: value, "kernel": "6.1"})
    right = FingerprintSource(name="right", collect=lambda: {"ram_gb": 64, "cpu": {"model": "EPYC"}})
    found = collect_system_info([wrong, right])
    (note,) = found.notes
    assert note.startswith(f"wrong: {section} is left out: ")
    assert why in note
    assert (found.sections["kernel"], found.sections["ram_gb"]) == ("6.1", 64)
    assert found.sections["cpu"] == {"model": "EPYC"}
    check_run({"model": "m", "engine": "e", "system_info": found.sections})
