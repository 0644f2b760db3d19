"""``kitt karr init``."""

from __future__ import annotations

from pathlib import Path

import click

from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.progress import progress_bar
from kitt_karr.commands.choice import chosen_path

__all__ = ["init"]


@click.command()
@click.argument("path", metavar="[PATH]", required=False, type=click.Path(path_type=Path))
@click.option("--remote", metavar="URL", help="Where it is pushed to; what is there already is taken over.")
@pass_state
def init(state: State, path: Path | None, remote: str | None) -> None:
    """Make a bare repository with its first commit; one that is there stays as it is.

    Without a path it is this machine's, ./karr-… with the beginning of its fingerprint. With --remote it is a
    clone if there is something to clone.
    """
    from kitt_core.fingerprint import collect_system_info
    from kitt_core.plugins import FINGERPRINTS
    from kitt_karr.creation import is_free
    from kitt_karr.machine import machines_repository
    from kitt_karr.store import KarrResultStore

    found = collect_system_info(state.plugins.all(FINGERPRINTS)).sections
    fingerprint = str(found.get("fingerprint") or "")
    place = path or chosen_path(state) or machines_repository(Path(), fingerprint)
    is_new = is_free(place)
    if is_new and remote is not None and _cloned(state, place, remote):
        return
    with KarrResultStore(place, fingerprint=fingerprint) as store:
        store.refuse_foreign()
        store.initialize()
    if remote is not None:
        _connect(place, remote)
    state.note(f"{place} is ready" if is_new else f"{place} is there already")


def _cloned(state: State, place: Path, url: str) -> bool:
    """Make a repository of what the remote has; False if it has nothing."""
    from kitt_karr.cloning import clone

    with progress_bar(state, "Cloning"):
        runs = clone(place, url)
    if runs is None:
        return False
    state.note(f"{place} has the {runs} {'run' if runs == 1 else 'runs'} of the remote")
    return True


def _connect(place: Path, url: str) -> None:
    from kitt_karr.remote import set_origin
    from kitt_karr.repository import Repository

    repository = Repository(place)
    try:
        set_origin(repository, url)
    finally:
        repository.close()
