"""Plugins: how they are found, and the records that they register.

::

    loading    the plugin manager: one entry point imported, its failure contained
    registry   the records of one kind, by name
    importer   the record of an importer
    exporter   the record of an exporter
    command    the record of a command

The other records stand beside what they describe: `kitt_core.storage.contract`, `kitt_core.engine`,
`kitt_core.fingerprint`. The hooks are `kitt_core.hookspecs`.
"""

from __future__ import annotations

from kitt_core.plugins.command import COMMAND_API_VERSION, Command
from kitt_core.plugins.exporter import EXPORT_API_VERSION, Exporter
from kitt_core.plugins.importer import IMPORT_API_VERSION, ImportCandidate, Importer
from kitt_core.plugins.loading import (
    COMMANDS,
    ENGINES,
    EXPORTERS,
    FINGERPRINTS,
    IMPORTERS,
    KINDS,
    STORAGE,
    Kind,
    PluginManager,
    PluginStatus,
    contained,
)
from kitt_core.plugins.registry import Record, Registry

__all__ = [
    "COMMANDS",
    "COMMAND_API_VERSION",
    "ENGINES",
    "EXPORTERS",
    "EXPORT_API_VERSION",
    "FINGERPRINTS",
    "IMPORTERS",
    "IMPORT_API_VERSION",
    "KINDS",
    "STORAGE",
    "Command",
    "Exporter",
    "ImportCandidate",
    "Importer",
    "Kind",
    "PluginManager",
    "PluginStatus",
    "Record",
    "Registry",
    "contained",
]
