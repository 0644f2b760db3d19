"""A new repository: bare, on ``main``, with its first commit; there at once or not at all.

It is built beside its place and moved in with ``HEAD`` last: without ``HEAD`` git and KITT see no repository. What
a killed KITT left is swept away by the next one, which holds the lock.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Final

from kitt_core.errors import StoreUnavailableError
from kitt_core.files import sync_directory
from kitt_core.rundir import INTERNAL_PREFIX, LOCK_NAME, exclusive
from kitt_karr.errors import translated
from kitt_karr.layout import root_files
from kitt_karr.plugin import OWN_DIRECTORY
from kitt_karr.repository import Repository, is_repository
from kitt_karr.trees import FILE, Entry
from kitt_karr.trees import Path as TreePath

__all__ = ["FIRST_MESSAGE", "create_repository", "first_changes", "is_free"]

FIRST_MESSAGE: Final = "Initial commit: KARR results repository"
_UNFINISHED: Final = f"{INTERNAL_PREFIX}karr-"
_PARTS: Final = frozenset({"branches", "config", "description", "hooks", "info", "objects", "refs", OWN_DIRECTORY})


def is_free(path: Path) -> bool:
    """Whether a repository may be made at ``path``: nothing is there, or what an interrupted attempt left."""
    try:
        names = {entry.name for entry in path.iterdir()}
    except FileNotFoundError:
        return True
    except OSError:
        return False
    # Until HEAD is there, so is the directory that it comes from: without that, a name of git's is somebody's.
    known = _PARTS if any(name.startswith(_UNFINISHED) for name in names) else frozenset[str]()
    return all(name in known or name == LOCK_NAME or name.startswith(_UNFINISHED) for name in names)


def create_repository(path: Path, fingerprint: str = "") -> None:
    """Make a bare repository with its first commit, unless another process made one just now.

    Args:
        path: A directory that is missing or empty.
        fingerprint: The machine's; kept in ``hardware_fingerprint.txt``.

    Raises:
        StoreUnavailableError: Something else is there, or writing is denied.
    """
    with translated(path, "cannot be made a repository"):
        path.mkdir(parents=True, exist_ok=True)
        with exclusive(path):
            if is_repository(path):
                return
            if not is_free(path):
                raise StoreUnavailableError(
                    f"{path} is not a git repository, and is not empty",
                    hint="name a KARR repository, or a directory that does not exist yet",
                )
            _build(path, fingerprint)


def first_changes(repository: Repository, fingerprint: str) -> dict[TreePath, Entry | None]:
    """Write the files of the first commit, and return them by their place."""
    return {
        (name.encode(),): Entry(name.encode(), FILE, repository.add_blob(content))
        for name, content in root_files(fingerprint).items()
    }


def _build(path: Path, fingerprint: str) -> None:
    for left in path.iterdir():
        if left.name != LOCK_NAME:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    unfinished = path / f"{_UNFINISHED}{secrets.token_hex(6)}"
    try:
        _initialise(unfinished, fingerprint)
        for part in sorted(unfinished.iterdir(), key=lambda part: part.name == "HEAD"):
            part.rename(path / part.name)
        sync_directory(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _initialise(directory: Path, fingerprint: str) -> None:
    from dulwich.repo import Repo

    directory.mkdir()
    Repo.init_bare(str(directory), default_branch=b"main").close()
    repository = Repository(directory)
    try:
        tree = repository.changed_tree(None, first_changes(repository, fingerprint))
        with repository.exclusive():
            commit = repository.add_commit(tree, (), FIRST_MESSAGE)
            repository.advance(repository.head(), commit, FIRST_MESSAGE)
    finally:
        repository.close()
