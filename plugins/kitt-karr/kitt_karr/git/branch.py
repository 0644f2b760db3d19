"""The branch that holds the runs: where it stands, and moving it from exactly there."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from kitt_core.durability import sync_directory
from kitt_core.errors import StoreUnavailableError
from kitt_karr.git.locks import held

if TYPE_CHECKING:
    from dulwich.repo import Repo

__all__ = ["Branch", "Head"]

_HEADS: Final = "refs/heads/"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


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
        from dulwich.errors import RefFormatError
        from dulwich.refs import Ref, SymrefLoop

        try:
            names, found = self._repo.refs.follow(Ref(b"HEAD"))
            name, tip = os.fsdecode(names[-1]), None if found is None else found.decode("ascii")
        except (KeyError, SymrefLoop, UnicodeError, RefFormatError) as error:
            raise self._no_head() from error
        if (tip is not None and not _COMMIT.fullmatch(tip)) or not (name == "HEAD" or name.startswith(_HEADS)):
            raise self._no_head()
        if name == "HEAD" and tip is not None:
            return Head(None, tip)
        if tip is None:
            self._refuse_unborn(name)
        return Head(name, tip)

    def _no_head(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"{self._common} has no HEAD that can be followed",
            hint=f"name its branch: git -C {self._common} symbolic-ref HEAD refs/heads/main",
        )

    def _refuse_unborn(self, name: str) -> None:
        """A repository without any commit is new; one whose runs are on another branch is mistaken."""
        others = sorted(os.fsdecode(ref) for ref in self._repo.refs.allkeys() if ref.startswith(_HEADS.encode()))
        if others:
            raise StoreUnavailableError(
                f"{self._common} is on the branch {name.removeprefix(_HEADS)}, which has no commit yet,"
                f" and has the branch {others[0].removeprefix(_HEADS)}",
                hint=f"choose it: git -C {self._common} symbolic-ref HEAD {others[0]}",
            )

    def name_of(self, head: Head) -> str:
        """Return the name of the branch that ``head`` is on.

        Raises:
            StoreUnavailableError: It is detached.
        """
        if head.branch is None:
            raise StoreUnavailableError(
                f"{self._common} has a detached HEAD, a commit would belong to no branch",
                hint="choose a branch in it, such as `git switch main`",
            )
        return head.branch

    def advance(self, head: Head, commit: str, *, author: bytes, moment: datetime, reason: str) -> bool:
        """Move the branch to ``commit`` if it still stands where ``head`` says; return whether it did.

        The caller holds KITT's lock of the repository.

        Raises:
            StoreUnavailableError: ``HEAD`` is detached, or git keeps the branch locked.
        """
        reference = self._common / self.name_of(head)
        reference.parent.mkdir(parents=True, exist_ok=True)
        with held(reference, self._own, "branch") as lock:
            if self.head() != head:
                return False
            with lock.open("wb") as file:
                file.write(f"{commit}\n".encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            lock.rename(reference)
        sync_directory(reference.parent)
        # Where git keeps notes of moves (repositories with a work tree), for `git reflog`.
        old, seconds = head.tip or "0" * 40, int(moment.timestamp())
        note = f"{old} {commit} ".encode() + author + f" {seconds} +0000\t{reason}\n".encode("utf-8", "replace")
        for log in (self._common / "logs" / self.name_of(head), Path(self._repo.controldir()) / "logs" / "HEAD"):
            if log.is_file():
                with log.open("ab") as file:
                    file.write(note)
        return True
