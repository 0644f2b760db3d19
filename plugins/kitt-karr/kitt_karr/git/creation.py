"""A new repository without a commit, on ``main``; there at once or not at all.

It is built beside its place and moved in with ``HEAD`` last: without ``HEAD`` git and KITT see no repository. What
a killed KITT left is swept away by the next one, which holds the lock.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Final

from kitt_core.durability import sync_directory
from kitt_core.errors import StoreUnavailableError
from kitt_core.rundir.locking import LOCK_NAME, exclusive
from kitt_core.rundir.names import INTERNAL_PREFIX
from kitt_karr.git.errors import translated
from kitt_karr.git.objects import write_file

__all__ = ["create_repository", "is_free"]

_UNFINISHED: Final = f"{INTERNAL_PREFIX}karr-"
_PARTS: Final = frozenset({"config", "objects", "refs"})
_CONFIG: Final = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = {}\n"


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


def create_repository(path: Path, *, work_tree: bool) -> None:
    """Make an empty repository in a directory that is missing or empty, unless another process made one just now.

    With ``work_tree`` its files lie in ``path``, and git's directory is ``path/.git``; else it is bare.

    Raises:
        StoreUnavailableError: Something else is there, or writing is denied.
    """
    with translated(path, "cannot be made a repository"):
        path.mkdir(parents=True, exist_ok=True)
        with exclusive(path):
            if (path / "HEAD").exists() or (path / ".git").exists():
                return
            if not is_free(path):
                hint = "name a KARR repository, or a directory that does not exist yet"
                raise StoreUnavailableError(f"{path} is not a git repository, and is not empty", hint=hint)
            _build(path, work_tree=work_tree)
        if work_tree:
            (path / LOCK_NAME).unlink(missing_ok=True)  # it would be shown as a file that git does not know


def _build(path: Path, *, work_tree: bool) -> None:
    for left in path.iterdir():
        if left.name != LOCK_NAME:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    unfinished = path / f"{_UNFINISHED}{secrets.token_hex(6)}"
    try:
        for directory in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
            (unfinished / directory).mkdir(parents=True)
        write_file(unfinished / "config", _CONFIG.format(str(not work_tree).lower()).encode())
        write_file(unfinished / "HEAD", b"ref: refs/heads/main\n")
        if work_tree:
            for log in ("logs/HEAD", "logs/refs/heads/main"):  # for `git reflog`
                (unfinished / log).parent.mkdir(parents=True, exist_ok=True)
                (unfinished / log).touch()
            unfinished.rename(path / ".git")
        else:
            for part in sorted(unfinished.iterdir(), key=lambda part: part.name == "HEAD"):
                part.rename(path / part.name)
        sync_directory(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
