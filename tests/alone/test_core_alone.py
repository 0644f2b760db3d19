"""The core without any plugin: it works with what it brings, and says what to install for the rest.

Runs in an environment where nothing but ``kitt-core`` is installed (`tox -e core`).
"""

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from kitt_core import open_store
from kitt_core.errors import PluginError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KITT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def kitt(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kitt_core", *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_nothing_else_of_kitt_is_installed() -> None:
    names = {distribution.name for distribution in distributions()}
    assert {name for name in names if name.startswith("kitt-")} == {"kitt-core"}


def test_a_store_in_memory_works() -> None:
    with open_store("memory:") as store:
        run_id = store.save_result(b'{"model": "m", "engine": "e"}')
        assert store.get_document(run_id) == b'{"model": "m", "engine": "e"}'


@pytest.mark.parametrize("name", ["sqlite", "postgres", "json", "karr"])
def test_a_missing_backend_is_named_with_what_brings_it(name: str) -> None:
    with pytest.raises(PluginError, match=f"no backend '{name}'; installed: memory") as caught:
        open_store(name)
    assert caught.value.hint == f"pip install kitt-{name}"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["storage", "list"], "pip install kitt-sqlite"),
        (["--backend", "memory", "run"], "pip install kitt-engines"),
        (["--backend", "json:///results", "storage", "list"], "pip install kitt-json"),
    ],
)
def test_a_command_that_needs_a_plugin_says_what_to_install(arguments: list[str], hint: str) -> None:
    result = kitt(*arguments)
    assert result.returncode == 2
    error, cure = result.stderr.splitlines()
    assert error.startswith("error: no ")
    assert cure == f"hint: {hint}"


@pytest.mark.parametrize("arguments", [["--help"], ["plugins", "list"]])
def test_commands_that_need_no_plugin_work(arguments: list[str]) -> None:
    result = kitt(*arguments)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["config", "show"], ["kitt-sqlite", "kitt-engines"]),
        (["fingerprint"], ["kitt-hardware"]),
        (["doctor"], ["kitt-sqlite"]),
    ],
)
def test_commands_that_show_less_without_plugins_say_so(arguments: list[str], missing: list[str]) -> None:
    result = kitt(*arguments)
    assert result.returncode in {0, 2}
    assert "Traceback" not in result.stderr
    for distribution in missing:
        assert f"pip install {distribution}" in result.stderr + result.stdout
