"""Finding the repository that is meant, and creating a missing one: empty, and complete or not at all.

It is built in a temporary directory and moved into place with ``HEAD`` last: without ``HEAD`` git and KITT see no
repository. What a killed KITT left is removed by the next one, which holds the lock.
"""

from __future__ import annotations

import secrets
import shutil
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Final

from kitt_core.errors import ConfigurationError, StoreUnavailableError
from kitt_core.files import sync_directory, write_file
from kitt_core.rundir import INTERNAL_PREFIX, LOCK_NAME, exclusive, safe_name
from kitt_karr.git.repository import Repository, translated
from kitt_karr.layout import FINGERPRINT, recognises

_UNFINISHED: Final = f"{INTERNAL_PREFIX}karr-"
_PARTS: Final = frozenset({"config", "objects", "refs"})
_CONFIG: Final = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = {}\n"


def is_free(path: Path) -> bool:
    """Whether a repository can be created at ``path``: it holds nothing but what an interrupted attempt left."""
    try:
        names = {entry.name for entry in path.iterdir()}
    except FileNotFoundError:
        return True
    except OSError:
        return False
    # The unfinished directory exists until HEAD has been moved: without it, these are somebody else's files.
    known = _PARTS if any(name.startswith(_UNFINISHED) for name in names) else frozenset[str]()
    return all(name in known or name == LOCK_NAME or name.startswith(_UNFINISHED) for name in names)


def create_repository(path: Path, *, work_tree: bool) -> None:
    """Create an empty repository in a directory that is missing or empty, unless another process just did.

    With ``work_tree`` its files lie in ``path``, and git's directory is ``path/.git``; else it is bare.
    """
    with translated(path, "cannot be made into a repository"):
        path.mkdir(parents=True, exist_ok=True)
        with exclusive(path):
            if (path / "HEAD").exists() or (path / ".git").exists():
                return
            if not is_free(path):
                hint = "name a KARR repository, or a directory that does not exist yet"
                raise StoreUnavailableError(f"{path} is not a git repository, and is not empty", hint=hint)
            _build(path, work_tree=work_tree)
        if work_tree:
            (path / LOCK_NAME).unlink(missing_ok=True)  # `git status` would show it as untracked


def _build(path: Path, *, work_tree: bool) -> None:
    for left in path.iterdir():
        if left.name != LOCK_NAME:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    unfinished = path / f"{_UNFINISHED}{secrets.token_hex(6)}"
    try:
        for directory in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
            (unfinished / directory).mkdir(parents=True)
        write_file(unfinished / "config", [_CONFIG.format(str(not work_tree).lower()).encode()])
        write_file(unfinished / "HEAD", [b"ref: refs/heads/main\n"])
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


def machine_repository(directory: Path, fingerprint: str) -> Path:
    """Return the path of a machine's repository, whether or not it exists: ``karr-{fingerprint[:40]}``.

    Where ``hardware_fingerprint.txt`` says that it is another machine's, a suffix keeps them apart.
    """
    name = safe_name(f"karr-{fingerprint[:40]}") if fingerprint else "karr"
    paths = (directory / (name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(path for path in paths if is_free(path) or _is_of(path, fingerprint))


def _is_of(path: Path, fingerprint: str) -> bool:
    try:
        with closing(Repository(path)) as repository:
            tip = repository.head().tip
            if tip is None:
                return True  # interrupted before its first commit
            noted = repository.file(repository.commit(tip).tree, FINGERPRINT) or b""
    except StoreUnavailableError:
        return False
    return noted.decode("utf-8", "replace").strip() == fingerprint


def only_repository(directory: Path) -> Path:
    """Return the KARR repository that a directory is, or the only one that is in it; else raise an error."""
    if recognises(directory):
        return directory
    found = sorted(path for path in directory.glob("karr*") if path.is_dir() and recognises(path))
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found)
    what = f"several KARR repositories are here: {names}" if found else "no KARR repository is here"
    raise ConfigurationError(what, hint="name one: `kitt karr … -C PATH`, or `kitt --backend karr:///PATH karr …`")
