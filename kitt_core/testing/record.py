"""The tests that apply to every record that a plugin registers, whatever its kind."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any, ClassVar, Final

import pytest

from kitt_core.plugins.loading import Kind, PluginManager

__all__ = ["RecordContract"]

_LOADING: Final = """
import sys
from kitt_core.plugins.loading import PluginManager
manager, before = PluginManager(disabled=(), autoload=False), set(sys.modules)
import {plugin}
manager.register({plugin})
print("LOADED", *sorted({{name.split(".")[0] for name in set(sys.modules) - before}}))
"""


class RecordContract:
    """Tests of a record: it is found by name, and registering it imports nothing heavy.

    Attributes:
        plugin: The module that the entry point names.
        name: The record's name.
        kind: The kind of record; set by the contract of each kind.
    """

    plugin: ClassVar[str]
    name: ClassVar[str]
    kind: ClassVar[Kind[Any]]

    @pytest.fixture
    def record(self) -> Any:
        """Return the record, found by a manager that knows only this plugin."""
        manager = PluginManager(disabled=(), autoload=False)
        manager.register(importlib.import_module(self.plugin))
        return manager.find(self.kind, self.name)

    def test_the_plugin_registers_a_record_of_the_name(self, record: Any) -> None:
        assert type(record) is self.kind.record
        assert record.name == self.name
        assert record.name.isprintable()
        assert record.name.split() == [record.name]

    def test_an_entry_point_of_the_group_has_the_name_and_leads_to_the_plugin(self) -> None:
        found = entry_points(group=self.kind.group, name=self.name)
        assert self.plugin in {entry.module for entry in found}, "is the distribution installed?"

    def test_every_manager_finds_the_record(self, record: Any) -> None:
        manager = PluginManager(disabled=(), autoload=False)
        manager.register(importlib.import_module(self.plugin))
        assert [found.name for found in manager.all(self.kind) if found.name == record.name] == [record.name]

    def test_the_summary_is_one_line(self, record: Any) -> None:
        assert record.summary.strip() == record.summary != ""
        assert record.summary.isprintable()

    def test_the_record_was_written_for_a_contract_that_this_core_supports(self, record: Any) -> None:
        assert type(record.api_version) is int
        assert 1 <= record.api_version <= self.kind.api_version

    def test_registering_imports_nothing_but_kitt_core_and_prints_nothing(self) -> None:
        done = subprocess.run(  # noqa: S603  # this interpreter and a module under test
            [sys.executable, "-c", _LOADING.format(plugin=self.plugin)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        (line,) = done.stdout.splitlines()
        loaded = set(line.split()) - {"LOADED"} - sys.stdlib_module_names
        assert loaded <= {self.plugin.split(".")[0], "attr", "attrs", "kitt_core", "pluggy"}
