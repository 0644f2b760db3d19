"""A new repository from a remote's: what ``git clone --bare`` does, and the remote is remembered."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from kitt_core.errors import StoreUnavailableError
from kitt_karr.connection import Connection
from kitt_karr.creation import is_free
from kitt_karr.errors import translated
from kitt_karr.exchange import pull
from kitt_karr.remote import find_remote, set_origin
from kitt_karr.repository import Repository

__all__ = ["clone"]


def clone(place: Path, url: str) -> int | None:
    """Make a repository of the branch that a remote's ``HEAD`` names.

    It is built beside its place: what fails leaves nothing there.

    Returns:
        How many runs it has; None if the remote has no commit, and nothing was made.

    Raises:
        RemoteError: The remote cannot be reached, or refuses.
        StoreUnavailableError: The repository can't be made.
    """
    unfinished = place.absolute().with_name(f".kitt-clone-{secrets.token_hex(6)}")
    try:
        repository = _made(unfinished, place, url)
        try:
            connection = Connection(repository, find_remote(repository))
            branch = connection.default_branch()
            if branch is None:
                return None
            repository.repo.refs.set_symbolic_ref(b"HEAD", os.fsencode(branch))  # type: ignore[arg-type]  # its NewTypes
            runs = pull(Connection(repository, find_remote(repository)), repository).added
        finally:
            repository.close()
        with translated(place, "cannot be made a repository"):
            if not is_free(place):
                raise StoreUnavailableError(
                    f"{place} was made by somebody else meanwhile", hint="name another path"
                )
            shutil.rmtree(place, ignore_errors=True)
            unfinished.rename(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return runs


def _made(unfinished: Path, place: Path, url: str) -> Repository:
    from dulwich.repo import Repo

    with translated(place, "cannot be made a repository"):
        unfinished.mkdir(parents=True)
        Repo.init_bare(str(unfinished), default_branch=b"main").close()
    repository = Repository(unfinished)
    set_origin(repository, url)
    return repository
