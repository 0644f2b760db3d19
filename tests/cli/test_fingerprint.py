from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kitt_core.fingerprint import FingerprintSource, collect_system_info
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import PluginManager, Registry
from kitt_core.testing import documents

from .conftest import Kitt

FOUND = {"cpu": {"model": "Test CPU", "cores": 4}, "ram_gb": 16, "os": "Linux-6.1"}
GPUS = {"gpu": {"devices": [{"model": "NVIDIA L4", "vram_gb": 23}]}, "remarks": ["GPU 1: GPU is lost"]}


def machine(plugins: PluginManager, *found: Mapping[str, Any], also_broken: bool = False) -> None:
    def broken() -> Mapping[str, Any]:
        raise OSError("no such sensor")

    class Plugin:
        @hookimpl
        def kitt_register_fingerprint(self, registry: Registry[FingerprintSource]) -> None:
            registry.add(FingerprintSource(name="host", collect=lambda: FOUND))
            for index, sections in enumerate(found):
                registry.add(FingerprintSource(name=f"other{index}", collect=partial(dict, sections)))
            if also_broken:
                registry.add(FingerprintSource(name="sensor", collect=broken))

    plugins.register(Plugin())


def test_it_is_one_line(kitt: Kitt, plugins: PluginManager) -> None:
    machine(plugins, also_broken=True)
    answer = kitt("fingerprint")
    assert (answer.code, answer.out, answer.err) == (0, "Test-4c_16GB-Unknown_Linux-6.1\n", "")


def test_verbose_shows_everything_and_what_could_not_be_had(kitt: Kitt, plugins: PluginManager) -> None:
    machine(plugins, GPUS, {}, also_broken=True)
    answer = kitt("fingerprint", "--verbose")
    assert "cpu.model\tTest CPU\n" in answer.out
    assert "gpu.devices.0.model\tNVIDIA L4\n" in answer.out
    assert "fingerprint\tNVIDIA-L4-23GB_Test-4c_16GB-Unknown_Linux-6.1\n" in answer.out
    assert answer.err.splitlines() == [
        "source host: cpu, ram_gb, os",
        "source other0: gpu",
        "source other1: nothing",
        "source sensor: nothing",
        "note: other0: GPU 1: GPU is lost",
        "warning: sensor: OSError: no such sensor",
    ]


def test_remarks_are_for_those_who_ask(kitt: Kitt, plugins: PluginManager) -> None:
    machine(plugins, GPUS)
    assert kitt("fingerprint").err == ""
    assert kitt("fingerprint", "--format", "json").err == ""
    shown = kitt("fingerprint", "--verbose", "--format", "json")
    assert json.loads(shown.out)["gpu"]["count"] == 1
    assert shown.err.splitlines()[-1] == "note: other0: GPU 1: GPU is lost"


def same_machine(directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write runs of one machine with two drivers, and of another, and return what the two say of it."""
    info = []
    for driver in ("550.90.07", "570.86.15"):
        found = {**FOUND, **GPUS, "driver_version": driver}
        info.append(collect_system_info([FingerprintSource("all", partial(dict, found))]).sections)
    before, after = info
    other = collect_system_info([FingerprintSource("all", lambda: FOUND)]).sections
    assert before["machine"] == after["machine"] != other["machine"]
    assert before["software"] != after["software"]
    for position, sections in enumerate((before, after, other)):
        document = documents.small(position) | {"system_info": sections}
        (directory / f"{position}.json").write_bytes(documents.as_bytes(document))
    return before, after


def test_runs_of_one_machine_are_found_whatever_its_driver(kitt: Kitt, tmp_path: Path) -> None:
    before, after = same_machine(tmp_path)
    store = f"--backend=sqlite:///{tmp_path / 'runs.db'}"
    files = [tmp_path / f"{position}.json" for position in range(3)]
    assert kitt(store, "storage", "import", *files, installed=True).code == 0

    def found(*labels: str) -> list[str]:
        options = [part for label in labels for part in ("--label", label)]
        answer = kitt(store, "storage", "list", "--format", "json", *options, installed=True)
        return sorted(row["fingerprint"] for row in json.loads(answer.out))

    machine, software = f"machine={before['machine']}", "software={software}"
    assert found(machine) == sorted([before["fingerprint"], after["fingerprint"]])
    assert found(machine, software.format(**before)) == [before["fingerprint"]]
    assert found(machine, software.format(**after)) == [after["fingerprint"]]


def test_json_is_what_stands_in_a_document(kitt: Kitt, plugins: PluginManager) -> None:
    machine(plugins)
    shown = json.loads(kitt("fingerprint", "--format", "json").out)
    assert shown["cpu"] == FOUND["cpu"]
    assert shown["fingerprint"] == "Test-4c_16GB-Unknown_Linux-6.1"


def test_a_machine_without_sources_is_told_what_to_install(kitt: Kitt) -> None:
    answer = kitt("fingerprint")
    assert (answer.code, answer.out) == (0, "\n")
    assert answer.err.splitlines()[-1] == "hint: pip install kitt-hardware"
