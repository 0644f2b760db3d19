"""What is not needed is not imported: the names of `kitt_core` are there when they are used."""

import subprocess
import sys

import pytest

import kitt_core
from kitt_core.cli import invocation
from kitt_core.plugins import COMMANDS


def imported_by(code: str) -> set[str]:
    shown = f"{code}\nimport sys; print('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", shown], check=True, capture_output=True, text=True)
    return set(done.stderr.split())


def test_the_package_alone_imports_none_of_its_modules() -> None:
    assert {name for name in imported_by("import kitt_core") if name.startswith("kitt_core.")} == set()


def test_a_help_page_needs_no_plugin_manager() -> None:
    modules = imported_by("from kitt_core.cli.app import main; main(['--help'])")
    unwanted = {"kitt_core.plugins.loading", "kitt_core.storage.contract", "kitt_core.config", "pluggy", "cattrs"}
    assert modules & unwanted == set()


def test_every_public_name_is_there_and_is_that_of_its_module() -> None:
    from kitt_core.storage import ResultStore

    assert set(kitt_core.__all__) <= set(dir(kitt_core))
    assert all(hasattr(kitt_core, name) for name in kitt_core.__all__)
    assert kitt_core.ResultStore is ResultStore
    assert sorted(["__version__", *kitt_core._HOMES]) == sorted(kitt_core.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'kitt_core' has no attribute 'open_stroe'"):
        _ = kitt_core.open_stroe  # type: ignore[attr-defined]


def test_the_help_page_looks_where_plugins_declare_commands() -> None:
    assert COMMANDS.group == invocation._COMMANDS
