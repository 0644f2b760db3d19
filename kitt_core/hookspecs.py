"""The hooks: how a plugin registers what it provides.

A plugin is a module (or object) with functions of these names, each marked with `hookimpl`; an entry point in
the group of its kind makes it known under the name that the user types. Registration hooks are *historic*: the
core calls each one once, and pluggy repeats the call for every plugin that is loaded later. Hooks are for
registration: rows and documents never pass through them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    from kitt_core.engine import Engine
    from kitt_core.fingerprint import FingerprintSource
    from kitt_core.plugins.records import Command, Exporter, Importer, Registry
    from kitt_core.runs.model import CheckedRun
    from kitt_core.storage.backend import StorageBackend

__all__ = [
    "PROJECT",
    "hookimpl",
    "kitt_register_commands",
    "kitt_register_engine",
    "kitt_register_exporter",
    "kitt_register_fingerprint",
    "kitt_register_importer",
    "kitt_register_storage",
    "kitt_run_saved",
]

PROJECT: Final = "kitt"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function as the implementation of the hook of the same name."""


@hookspec(historic=True)
def kitt_register_storage(registry: Registry[StorageBackend]) -> None:
    """Register storage backends.

    Called once per plugin manager when the plugin is loaded: when a user names the backend, or when backends
    are listed.

    Args:
        registry: Takes `kitt_core.storage.StorageBackend` records; refuses a name that is taken.

    In here: add records, import nothing but ``kitt_core``, open nothing, print nothing.

    Since 0.1. Entry-point group: ``kitt.storage``.
    """


@hookspec(historic=True)
def kitt_register_fingerprint(registry: Registry[FingerprintSource]) -> None:
    """Register sources of the machine's fingerprint.

    Called once per plugin manager when the plugin is loaded: all sources are loaded when a fingerprint is taken.

    Args:
        registry: Takes `kitt_core.fingerprint.FingerprintSource` records; refuses a name that is taken.

    In here: add records, import nothing but ``kitt_core``, open nothing, print nothing.

    Since 0.1. Entry-point group: ``kitt.fingerprint``.
    """


@hookspec(historic=True)
def kitt_register_exporter(registry: Registry[Exporter]) -> None:
    """Register formats that runs can be exported to.

    Called once per plugin manager when the plugin is loaded: when a user names the format, or when formats are
    listed.

    Args:
        registry: Takes `kitt_core.plugins.Exporter` records; refuses a name that is taken.

    In here: add records, import nothing but ``kitt_core``, open nothing, print nothing.

    Since 0.1. Entry-point group: ``kitt.export``.
    """


@hookspec(historic=True)
def kitt_register_importer(registry: Registry[Importer]) -> None:
    """Register readers of result files.

    Called once per plugin manager when the plugin is loaded: all importers are loaded when files are imported.

    Args:
        registry: Takes `kitt_core.plugins.Importer` records; refuses a name that is taken.

    In here: add records, import nothing but ``kitt_core``, open nothing, print nothing.

    Since 0.1. Entry-point group: ``kitt.import``.
    """


@hookspec(historic=True)
def kitt_register_engine(registry: Registry[Engine]) -> None:
    """Register inference engines for ``kitt run``.

    Called once per plugin manager when the plugin is loaded: when a user names the engine, or when engines are
    listed.

    Args:
        registry: Takes `kitt_core.engine.Engine` records; refuses a name that is taken.

    In here: add records, import nothing but ``kitt_core``, open nothing, print nothing.

    Since 0.1. Entry-point group: ``kitt.engine``.
    """


@hookspec(historic=True)
def kitt_register_commands(registry: Registry[Command]) -> None:
    """Register commands of the command line.

    Called once per plugin manager when the plugin is loaded: when a user types the command's name. ``kitt
    --help`` lists the entry point's name without loading it.

    Args:
        registry: Takes `kitt_core.plugins.Command` records; refuses a name that is taken.

    In here: add records, import nothing but ``kitt_core``, open nothing, print nothing.

    Since 0.1. Entry-point group: ``kitt.commands``.
    """


@hookspec
def kitt_run_saved(run: CheckedRun, location: str) -> None:
    """React to a run that was saved.

    Called by the service (``kitt run``, ``kitt storage import``) after the store has committed; one listener
    after another, in the caller's thread. An exception is logged and has no further effect.

    Args:
        run: The run as it was stored, with its id, bytes and rows.
        location: Where it was stored, for messages; without secrets.

    In here: be quick, print nothing, and do not write to the store that was saved to.

    Since 0.1. Entry-point group: ``kitt.listeners``.
    """
