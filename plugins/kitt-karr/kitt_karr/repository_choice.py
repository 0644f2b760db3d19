"""Which repository is meant: this machine's, told from another machine's of its name, or the only one here."""

from __future__ import annotations

from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Final

from kitt_core.errors import ConfigurationError, StoreUnavailableError
from kitt_core.rundir.names import safe_name
from kitt_karr.git.creation import is_free
from kitt_karr.git.repository import Repository
from kitt_karr.layout import FINGERPRINT, recognises

__all__ = ["machines_repository", "only_repository"]

_OF_NAME: Final = 40
"""Characters of the fingerprint that are in the name."""


def machines_repository(directory: Path, fingerprint: str) -> Path:
    """Return where the repository of a machine is, or is to be made: ``karr-{fingerprint[:40]}``.

    Machines whose fingerprints begin alike share that name; ``hardware_fingerprint.txt`` tells whose it is, and
    a suffix keeps them apart.
    """
    name = safe_name(f"karr-{fingerprint[:_OF_NAME]}") if fingerprint else "karr"
    paths = (directory / (name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(path for path in paths if is_free(path) or _is_of(path, fingerprint))


def _is_of(path: Path, fingerprint: str) -> bool:
    try:
        with closing(Repository(path)) as repository:
            tip = repository.head().tip
            if tip is None:
                return True  # made, and interrupted before its first commit
            noted = repository.file(repository.commit(tip).tree, FINGERPRINT) or b""
    except StoreUnavailableError:
        return False
    return noted.decode("utf-8", "replace").strip() == fingerprint


def only_repository(directory: Path) -> Path:
    """Return the KARR repository that a directory is, or the one that is in it.

    Raises:
        ConfigurationError: There is none, or there are several.
    """
    if recognises(directory):
        return directory
    found = sorted(path for path in directory.glob("karr*") if path.is_dir() and recognises(path))
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found)
    what = f"several KARR repositories are here: {names}" if found else "no KARR repository is here"
    raise ConfigurationError(what, hint="name one: `kitt karr … -C PATH`, or `kitt --backend karr:///PATH karr …`")
