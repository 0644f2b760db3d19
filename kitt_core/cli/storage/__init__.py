"""``kitt storage``: inspect stored runs and maintain the store."""

from __future__ import annotations

from typing import Final

import click

from kitt_core.cli.lazy import LazyCommand, LazyGroup

__all__ = ["storage"]

_HERE: Final = "kitt_core.cli.storage"
_COMMANDS: Final = {
    "list": LazyCommand(f"{_HERE}.list:list_runs", "List runs."),
    "show": LazyCommand(f"{_HERE}.show:show", "Show one run with its benchmarks and metrics."),
    "stats": LazyCommand(f"{_HERE}.stats:stats", "Count runs, models, engines and suites."),
    "aggregate": LazyCommand(f"{_HERE}.stats:aggregate", "Compute statistics of metrics by group."),
    "import": LazyCommand(f"{_HERE}.import_:import_files", "Store documents from files and directories."),
    "export": LazyCommand(f"{_HERE}.export:export", "Write runs to a file, a directory or standard output."),
    "copy": LazyCommand(f"{_HERE}.copy:copy", "Copy runs into another store."),
    "backup": LazyCommand(f"{_HERE}.backup:backup", "Write all runs to one portable file."),
    "restore": LazyCommand(f"{_HERE}.restore:restore", "Restore the runs of a backup."),
    "delete": LazyCommand(f"{_HERE}.delete:delete", "Delete runs."),
    "init": LazyCommand(f"{_HERE}.schema:init", "Prepare the store: create it, or upgrade an older one."),
    "migrate": LazyCommand(f"{_HERE}.schema:migrate", "Upgrade the store's schema."),
    "status": LazyCommand(f"{_HERE}.schema:status", "Show the store, its schema version and size."),
    "verify": LazyCommand(f"{_HERE}.verify:verify", "Check the store for damage."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def storage() -> None:
    """Inspect stored runs and maintain the store.

    A run's id may be shortened to four or more characters of its beginning or end.
    """
