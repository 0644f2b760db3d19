"""``kitt storage init``, ``migrate`` and ``status``: the store itself."""

from __future__ import annotations

from pathlib import Path

import click

from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.messages import completed, counted
from kitt_core.cli.progress import progress_bar
from kitt_core.cli.render import output_options, write_object, write_rows

__all__ = ["init", "migrate", "status"]


@click.command()
@pass_state
def init(state: State) -> None:
    """Prepare the store: create what is missing, upgrade what is old.

    Running it again is harmless.
    """
    with state.open_store() as store:
        store.initialize()
        state.note(f"{store.location} is ready, schema version {store.schema_status().version}")


@click.command()
@click.option("--dry-run", is_flag=True, help="Apply the migrations, then roll them back.")
@click.option("--no-backup", is_flag=True, help="Don't copy the store first.")
@output_options
@pass_state
def migrate(state: State, dry_run: bool, no_backup: bool, output_format: str | None, output: Path | None) -> None:
    """Upgrade the store's schema to the version that this KITT writes.

    A store that contains runs is copied first. Prints the names of the migrations.
    """
    with state.open_store(output) as store:
        with progress_bar(state, "Migrating") as progress:
            names = store.migrate(dry_run=dry_run, backup=not no_backup, progress=progress)
        write_rows(("migration",), ({"migration": name} for name in names), output_format, output)
        what = "would be applied" if dry_run else "applied"
        state.note(f"{counted(len(names), 'migration')} {what}" if names else f"{store.location} is up to date")


@click.command()
@output_options
@pass_state
def status(state: State, output_format: str | None, output: Path | None) -> None:
    """Show where the store is, its schema version, what an upgrade would do, and its size."""
    with state.open_store(output) as store:
        found = store.schema_status()
        values = {
            "backend": state.selection().backend.name,
            "location": store.location,
            "state": str(found.state),
            "version": found.version,
            "newest": found.newest,
            "pending": list(found.pending),
            "size_bytes": found.size_bytes,
            "notes": [completed(note) for note in found.notes],
        }
        write_object(values, output_format, output)
