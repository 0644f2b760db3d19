"""A remote that is a directory on this machine: objects are copied, the branch is moved, no program is needed.

Only where nothing but the branch is concerned. Hooks, and a work tree that shows the branch, are git's to serve.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Final

from kitt_core.files import sync_directory
from kitt_karr.refusals import RemoteError
from kitt_karr.repository import Repository

if TYPE_CHECKING:
    from dulwich.repo import Repo

__all__ = ["send_to_neighbour"]

_HOOKS: Final = ("pre-receive", "update", "post-receive", "post-update", "reference-transaction", "proc-receive")
_ZERO: Final = b"0" * 40
_PATIENCE_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.05


def send_to_neighbour(
    repository: Repository, directory: Path, branch: str, expected: str | None, tip: str
) -> bool | None:
    """Move a branch in another directory if it stands at ``expected``; return whether it did.

    None says that git has to do it.

    Raises:
        RemoteError: That is so, and git is not installed.
    """
    from dulwich.repo import Repo

    with closing(Repo(str(directory))) as target:
        if (reason := _needs_git(target, branch)) is not None:
            if which("git") is not None:
                return None
            raise RemoteError(
                f"{directory} {reason}, which needs the program git; it is not installed", hint="install git"
            )
        name, old = branch.encode(), _ZERO if expected is None else expected.encode()
        refs = target.get_refs()
        if refs.get(name, _ZERO) != old:  # type: ignore[call-overload]  # its NewTypes
            return False
        store = target.object_store
        store.fsync_object_files = True
        have = {known for known in refs.values() if known in repository.repo.object_store}
        count, data = repository.repo.generate_pack_data(have, {tip.encode()})  # type: ignore[arg-type]  # its NewTypes
        store.add_pack_data(count, data)
        sync_directory(Path(target.commondir()) / "objects" / "pack")
        return _advance(target, directory, name, old, tip.encode())


def _advance(target: Repo, directory: Path, name: bytes, old: bytes, new: bytes) -> bool:
    from dulwich.file import FileLocked

    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return bool(target.refs.set_if_equals(name, old, new))  # type: ignore[arg-type]  # its NewTypes
        except FileLocked as error:  # others push at this moment, or were interrupted while they did
            if time.monotonic() > deadline:
                raise RemoteError(
                    f"{directory} has its branch locked by {os.fsdecode(error.lockfilename)}",
                    hint="if no git is running there, remove that file",
                ) from error
            time.sleep(_PAUSE_SECONDS)


def _needs_git(target: Repo, branch: str) -> str | None:
    config = target.get_config_stack()
    try:
        hooks = Path(target.commondir(), os.fsdecode(config.get((b"core",), b"hooksPath"))).expanduser()
    except KeyError:
        hooks = Path(target.commondir()) / "hooks"
    if found := next((name for name in _HOOKS if os.access(hooks / name, os.X_OK)), None):
        return f"has the hook {found}"
    shown = target.refs.get_symrefs().get(b"HEAD")  # type: ignore[call-overload]  # its NewTypes
    if not target.bare and shown == branch.encode():
        return f"has a work tree with {branch.removeprefix('refs/heads/')}"
    return None
