"""Inputs that never end, places that can't be written to, and plugins that print."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from kitt_core.cli.app import main
from kitt_core.cli.invocation import State
from kitt_core.files import obstacle
from kitt_core.fingerprint import FingerprintSource
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import PluginManager, Registry


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "/dev/zero", "/dev/zero"],
        ["storage", "import", "/dev/zero"],
        ["storage", "restore", "/dev/zero"],
        ["--config", "/dev/zero", "storage", "list"],
    ],
)
def test_a_device_is_not_an_input(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].count("/dev/zero") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_results_that_cannot_be_written_are_noticed_before_measuring(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--results-dir", "/proc/x"]) == 4
    assert capsys.readouterr().err.startswith("error: results cannot be written to /proc/x: ")
    assert not list(Path.cwd().iterdir())
    found = obstacle(Path("/proc/x"), directory=True)
    assert found is not None
    assert "nothing can be written to /proc" in found[0]


def test_what_a_fingerprint_source_prints_is_not_in_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    def collect() -> dict[str, object]:
        sys.stdout.write("thank you for installing me\n")
        return {"ram_gb": 4}

    class Plugin:
        @hookimpl
        def kitt_register_fingerprint(self, registry: Registry[FingerprintSource]) -> None:
            registry.add(FingerprintSource(name="chatty", collect=collect))

    plugins = PluginManager(disabled=(), autoload=False)
    plugins.register(Plugin())
    state = State()
    state.plugins = plugins
    assert main(["fingerprint", "--format", "json"], state=state) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)
    assert "thank you" in err
