"""Talking to a remote: fetching a branch, and moving it on. Knows nothing of runs.

The protocols are dulwich's. What arrives is forced to the disk before anything refers to it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kitt_core.files import sync_directory
from kitt_karr.credentials import Credentials, find_credentials
from kitt_karr.errors import translated
from kitt_karr.neighbours import send_to_neighbour
from kitt_karr.refusals import RemoteError, remote_errors
from kitt_karr.remote import Remote
from kitt_karr.repository import Repository

if TYPE_CHECKING:
    from dulwich.client import GitClient
    from dulwich.config import StackedConfig

__all__ = ["Connection"]

T = TypeVar("T")

_ZERO: Final = b"0" * 40
_MOST_LINES: Final = 3
_MOVED: Final = ("fetch first", "stale info", "failed to update ref", "incorrect old value", "cannot lock ref")


class Connection:
    """The way from a repository to a remote.

    Args:
        repository: This side.
        remote: The other.
    """

    def __init__(self, repository: Repository, remote: Remote) -> None:
        self._repository = repository
        self.remote = remote
        self._credentials: Credentials | None = None

    # Fetching.

    def fetch(self) -> str | None:
        """Bring the remote's branch here and return its commit, None if it has none.

        No branch of this side moves; only the note of where the remote stands does.

        Raises:
            RemoteError: It cannot be reached, or refuses.
        """
        repo, branch = self._repository.repo, self.remote.branch.encode()
        found: dict[bytes, Any] = {}

        def wanted(refs: Mapping[Any, Any], depth: int | None = None) -> list[Any]:
            del depth
            found.update(refs)
            tip = refs.get(branch)
            return [] if tip is None or self._has(tip) else [tip]

        # Without this a power cut could leave a branch on objects that never reached the disk.
        repo.object_store.fsync_object_files = True

        def fetch(client: GitClient, path: str) -> None:
            client.fetch(path, repo, determine_wants=wanted)

        self._talk(fetch, self.remote.url, "pull")
        packs = self._repository.directory / "objects" / "pack"
        if packs.is_dir():
            with translated(self._repository.path, "cannot be written"):
                sync_directory(packs)
        tip = found.get(branch)
        if tip is None:
            return None
        self.note(tip.decode("ascii"))
        return str(tip.decode("ascii"))

    def default_branch(self) -> str | None:
        """Return the full name of the branch to begin with, None if the remote has no commit.

        It is the one that the remote's ``HEAD`` names. Where that has no commit, as in a repository that was made
        for ``master`` and is pushed to from ``main``, it is ``main``, else the only one.

        Raises:
            RemoteError: It cannot be reached, or refuses.
        """

        def ask(client: GitClient, path: str) -> Any:
            return client.get_refs(path)  # type: ignore[arg-type]  # texts are fine for all of them

        found = self._talk(ask, self.remote.url, "pull")
        branches = sorted(os.fsdecode(name) for name in found.refs if name.startswith(b"refs/heads/"))
        wanted = os.fsdecode(found.symrefs.get(b"HEAD") or b"")
        for name in (wanted, self.remote.branch, *branches[:1]):
            if name in branches:
                return name
        return None

    def _has(self, tip: bytes) -> bool:
        return self._repository.has(tip.decode("ascii"))

    def note(self, tip: str) -> None:
        """Remember where the remote's branch stands, as git does."""
        from dulwich.file import FileLocked

        if self.remote.tracking is not None:
            # It is a note for people and for git; one that git is writing, or was killed over, may be missing.
            with translated(self._repository.path, "cannot be written"), suppress(FileLocked):
                self._repository.repo.refs[self.remote.tracking.encode()] = tip.encode()  # type: ignore[index,assignment]  # its NewTypes

    # Sending.

    def send(self, expected: str | None, tip: str) -> bool:
        """Move the remote's branch to ``tip`` if it still stands at ``expected``; return whether it did.

        Raises:
            RemoteError: It cannot be reached, or refuses.
        """
        directory = self.remote.directory
        if directory is not None:
            with remote_errors(self.remote.shown):
                outcome = send_to_neighbour(self._repository, directory, self.remote.branch, expected, tip)
            if outcome is not None:
                return outcome
        return self._send(expected, tip)

    def _send(self, expected: str | None, tip: str) -> bool:
        repo, branch = self._repository.repo, self.remote.branch.encode()
        old = _ZERO if expected is None else expected.encode()
        moved = False
        said: list[bytes] = []

        def update(refs: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
            nonlocal moved
            moved = refs.get(branch, _ZERO) != old
            return {} if moved else {branch: tip.encode()}

        def pack(have: Any, want: Any, *, ofs_delta: bool = True, progress: object = None) -> Any:
            del progress  # what is reported shall be the remote's words only
            return repo.generate_pack_data(have, want, ofs_delta=ofs_delta)

        def send(client: GitClient, path: str) -> Any:
            return client.send_pack(path, update, pack, progress=said.append)  # type: ignore[arg-type]  # its NewTypes

        result = self._talk(send, self.remote.push_url, "push")
        if moved:
            return False
        refusal = (result.ref_status or {}).get(branch)
        if refusal is None:
            return True
        if any(word in refusal for word in _MOVED):
            return False
        lines = [line.strip() for line in b"".join(said).decode("utf-8", "replace").splitlines() if line.strip()]
        words = f" ({'; '.join(lines[:_MOST_LINES])})" if lines else ""
        raise RemoteError(
            f"{self.remote.shown} refused the push: {refusal}{words}",
            hint="nothing was changed there; who runs it decides what it takes",
        )

    # Talking.

    def _talk(self, operation: Callable[[GitClient, str], T], url: str, purpose: str) -> T:
        from dulwich.client import HTTPUnauthorized

        with remote_errors(self.remote.shown):
            try:
                return self._once(operation, url, purpose)
            except HTTPUnauthorized:
                found = find_credentials(url, self._repository.directory)
                if found is None or found == self._credentials:
                    raise
                self._credentials = found
            return self._once(operation, url, purpose)

    def _once(self, operation: Callable[[GitClient, str], T], url: str, purpose: str) -> T:
        from dulwich.client import SubprocessGitClient, get_transport_and_path

        known = self._credentials
        if purpose == "push" and self.remote.directory is not None:
            # With hooks, or a work tree: git itself, which knows what they may do.
            with _finished(SubprocessGitClient()) as client:
                return operation(client, str(self.remote.directory))
        client, path = get_transport_and_path(
            url,
            config=self._config,
            operation=purpose,
            quiet=True,
            username=None if known is None else known.username,
            password=None if known is None else known.password,
            ssh_command=os.environ.get("GIT_SSH_COMMAND") or _quoted(os.environ.get("GIT_SSH")),
        )
        with _finished(client):
            return operation(client, path)

    @cached_property
    def _config(self) -> StackedConfig:
        return self._repository.repo.get_config_stack()


@contextmanager
def _finished(client: GitClient) -> Iterator[GitClient]:
    """End the client's connections; dulwich leaves one that hung up to the garbage collector, which complains."""
    from dulwich.errors import HangupException

    opened: list[Any] = []
    connect = getattr(client, "_connect", None)
    if connect is not None:

        def remembered(*arguments: Any, **named: Any) -> Any:
            connection = connect(*arguments, **named)
            opened.append(connection)
            return connection

        vars(client)["_connect"] = remembered
    try:
        yield client
    except HangupException as error:
        # Not every dulwich looks for the reason; without it nobody can tell a wrong key from a wrong path.
        if not error.stderr_lines and opened and (stderr := opened[-1][2]) is not None:
            with suppress(OSError, ValueError):
                error.stderr_lines = stderr.read().splitlines()
        raise
    finally:
        for protocol, *_ in opened:
            with suppress(Exception):
                protocol.close()
        if pool := getattr(client, "pool_manager", None):
            pool.clear()


def _quoted(program: str | None) -> str | None:
    return shlex.quote(program) if program else None
