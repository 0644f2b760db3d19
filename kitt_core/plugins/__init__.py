"""Plugins: how they are found, and the records that they register.

::

    loading   the plugin manager: imports one entry point at a time and contains its failures
    records   the records of importers, exporters and commands, and the registry of each kind

The other records are defined next to what they describe, in `kitt_core.storage`, `kitt_core.engine` and
`kitt_core.fingerprint`. The hooks are in `kitt_core.hookspecs`.
"""

from __future__ import annotations

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
from kitt_core.plugins.records import (
    COMMAND_API_VERSION,
    EXPORT_API_VERSION,
    IMPORT_API_VERSION,
    Command,
    Exporter,
    ImportCandidate,
    Importer,
    Record,
    Registry,
)

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
