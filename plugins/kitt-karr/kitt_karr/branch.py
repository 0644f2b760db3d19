"""The branch that holds the runs: where it stands, and moving it on only from where one believes it to stand.

The lock file is git's (``refs/heads/main.lock``), so that git's own commands and KITT never move a branch at the
same moment. One thing is added: the lock is a second name of a file in KITT's directory. A lock that a killed
KITT left can be told by that from a living git's, and the next writer takes it away.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from kitt_core.errors import StoreUnavailableError
from kitt_karr.loose import sync_directory, write_file

if TYPE_CHECKING:
    from dulwich.repo import Repo

__all__ = ["Branch", "Head"]

_HEADS: Final = "refs/heads/"
_CLAIM: Final = "branch-"
_PATIENCE_SECONDS: Final = 10.0
_LONGEST_PAUSE_SECONDS: Final = 0.05


@frozen
class Head:
    """Where ``HEAD`` points.

    Attributes:
        branch: The full name of the branch, None if ``HEAD`` is detached.
        tip: The commit, None if the branch has none yet.
    """

    branch: str | None
    tip: str | None


class Branch:
    """The branch that ``HEAD`` names.

    Args:
        repo: The open repository.
        common: Its directory; in a linked work tree that of the main one.
        own: KITT's directory in there.
    """

    def __init__(self, repo: Repo, common: Path, own: Path) -> None:
        self._repo = repo
        self._common = common
        self._own = own

    def head(self) -> Head:
        """Return where ``HEAD`` points now.

        Raises:
            StoreUnavailableError: Its branch has no commit, but others have.
        """
        from dulwich.refs import Ref, SymrefLoop

        try:
            names, found = self._repo.refs.follow(Ref(b"HEAD"))
        except (KeyError, SymrefLoop) as error:
            raise StoreUnavailableError(
                f"{self._common} has no HEAD that can be followed",
                hint=f"name its branch: git -C {self._common} symbolic-ref HEAD refs/heads/main",
            ) from error
        name = os.fsdecode(names[-1])
        if name == "HEAD":
            return Head(None, None if found is None else found.decode("ascii"))
        if found is None:
            self._refuse_unborn(name)
        return Head(name, None if found is None else found.decode("ascii"))

    def _refuse_unborn(self, name: str) -> None:
        """A repository without any commit is new; one whose runs are on another branch is mistaken."""
        others = sorted(os.fsdecode(ref) for ref in self._repo.refs.allkeys() if ref.startswith(b"refs/heads/"))
        if others:
            short = others[0].removeprefix(_HEADS)
            raise StoreUnavailableError(
                f"{self._common} is on the branch {name.removeprefix(_HEADS)}, which has no commit yet,"
                f" and has the branch {short}",
                hint=f"choose it: git -C {self._common} symbolic-ref HEAD {others[0]}",
            )

    def advance(self, head: Head, commit: str, *, author: bytes, moment: datetime, reason: str) -> bool:
        """Move the branch to ``commit`` if it still stands where ``head`` says; return whether it did.

        The caller holds KITT's lock of the repository.

        Raises:
            StoreUnavailableError: ``HEAD`` is detached, or git keeps the branch locked.
        """
        if head.branch is None:
            raise StoreUnavailableError(
                f"{self._common} has a detached HEAD, a commit would belong to no branch",
                hint=f"choose a branch: git -C {self._common} switch main",
            )
        reference = self._common / head.branch
        reference.parent.mkdir(parents=True, exist_ok=True)
        with self._locked(reference, commit) as lock:
            if self.head() != head:
                return False
            lock.rename(reference)
        sync_directory(reference.parent)
        self._log(head, commit, author, moment, reason)
        return True

    @contextmanager
    def _locked(self, reference: Path, commit: str) -> Iterator[Path]:
        """Hold git's lock of a reference; its content is the new value."""
        lock = reference.with_name(f"{reference.name}.lock")
        self._remove_stale(lock)
        claim = self._own / f"{_CLAIM}{secrets.token_hex(6)}"
        write_file(claim, f"{commit}\n".encode("ascii"))
        try:
            self._link(claim, lock)
            try:
                yield lock
            finally:
                # Not there any longer if the branch was moved; another's lock may be there by then.
                if _is_same(claim, lock):
                    lock.unlink(missing_ok=True)
        finally:
            claim.unlink(missing_ok=True)

    def _link(self, claim: Path, lock: Path) -> None:
        deadline, pause = time.monotonic() + _PATIENCE_SECONDS, 0.001
        while True:
            try:
                os.link(claim, lock)
            except FileExistsError as error:
                if time.monotonic() > deadline:
                    raise StoreUnavailableError(
                        f"{lock} is there: git is changing the branch, or was interrupted while it did",
                        hint=f"if no git is running, remove it: rm {lock}",
                    ) from error
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                return

    def _remove_stale(self, lock: Path) -> None:
        """Remove what a killed KITT left: whoever made it is dead, for the caller holds KITT's lock."""
        for claim in self._own.glob(f"{_CLAIM}*"):
            if _is_same(claim, lock):
                lock.unlink(missing_ok=True)
            claim.unlink(missing_ok=True)

    def _log(self, head: Head, commit: str, author: bytes, moment: datetime, reason: str) -> None:
        """Note the move where git keeps notes (repositories with a work tree), for ``git reflog``."""
        line = b"%s %s %s %d +0000\t%s\n" % (
            (head.tip or "0" * 40).encode(),
            commit.encode(),
            author,
            int(moment.timestamp()),
            reason.encode("utf-8", "replace"),
        )
        for log in (self._common / "logs" / str(head.branch), Path(self._repo.controldir()) / "logs" / "HEAD"):
            if log.is_file():
                with log.open("ab") as file:
                    file.write(line)


def _is_same(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except FileNotFoundError:
        return False
