from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kitt_core.fingerprint import FingerprintSource
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import PluginManager
from kitt_core.registry import Registry

from .conftest import Kitt

FOUND = {"cpu": {"model": "Test CPU", "cores": 4}, "ram_gb": 16, "os": "Linux-6.1"}


def machine(plugins: PluginManager, *, also_broken: bool = False) -> None:
    def broken() -> Mapping[str, Any]:
        raise OSError("no such sensor")

    class Plugin:
        @hookimpl
        def kitt_register_fingerprint(self, registry: Registry[FingerprintSource]) -> None:
            registry.add(FingerprintSource(name="host", collect=lambda: FOUND))
            if also_broken:
                registry.add(FingerprintSource(name="sensor", collect=broken))

    plugins.register(Plugin())


def test_it_is_one_line(kitt: Kitt, plugins: PluginManager) -> None:
    machine(plugins, also_broken=True)
    answer = kitt("fingerprint")
    assert (answer.code, answer.out, answer.err) == (0, "Test-4c_16GB-Unknown_Linux-6.1\n", "")


def test_verbose_shows_everything_and_what_could_not_be_had(kitt: Kitt, plugins: PluginManager) -> None:
    machine(plugins, also_broken=True)
    answer = kitt("fingerprint", "--verbose")
    assert "cpu.model\tTest CPU\n" in answer.out
    assert "fingerprint\tTest-4c_16GB-Unknown_Linux-6.1\n" in answer.out
    assert answer.err == "warning: sensor: OSError: no such sensor\n"


def test_json_is_what_stands_in_a_document(kitt: Kitt, plugins: PluginManager) -> None:
    machine(plugins)
    shown = json.loads(kitt("fingerprint", "--format", "json").out)
    assert shown["cpu"] == FOUND["cpu"]
    assert shown["fingerprint"] == "Test-4c_16GB-Unknown_Linux-6.1"


def test_a_machine_without_sources_is_told_what_to_install(kitt: Kitt) -> None:
    answer = kitt("fingerprint")
    assert (answer.code, answer.out) == (0, "\n")
    assert answer.err.splitlines()[-1] == "hint: pip install kitt-hardware"
