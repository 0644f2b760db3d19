"""An open git repository: objects in and out, one commit at a time. Knows nothing of runs.

Reading is dulwich's, which is imported when the first repository is opened. Several threads may share one.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kitt_core.errors import StoreUnavailableError
from kitt_core.files import sync_directory
from kitt_core.rundir import exclusive
from kitt_karr import trees
from kitt_karr.branch import Branch, Head
from kitt_karr.errors import translated
from kitt_karr.identity import identity_of
from kitt_karr.loose import write_object
from kitt_karr.objects import BLOB, COMMIT, TREE, Commit, encode_commit, object_id, parse_commit
from kitt_karr.plugin import OWN_DIRECTORY
from kitt_karr.trees import Entry, Listing, NameTakenError

if TYPE_CHECKING:
    from dulwich.config import StackedConfig
    from dulwich.repo import Repo

__all__ = ["Repository", "is_repository"]

_KINDS: Final = {1: COMMIT, 2: TREE, 3: BLOB}
_HASH_BYTES: Final = 20
_CACHED_LISTINGS: Final = 12
_LARGEST_CACHED: Final = 50_000


def is_repository(path: Path) -> bool:
    """Whether ``path`` is a git directory, or has one in it; opens nothing."""
    return any((place / "HEAD").exists() and (place / "objects").is_dir() for place in (path, path / ".git")) or (
        (path / ".git").is_file()
    )


class Repository:
    """A repository on this machine.

    Args:
        path: The bare repository, or the directory with its work tree.

    Attributes:
        path: As it was given.
        directory: The git directory itself; in a linked work tree that of the main one.
        work_tree: The directory with its files, None if it is bare.

    Raises:
        StoreUnavailableError: It is no git repository, or one that can't be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._repo = _opened(path)
        self.directory = Path(self._repo.commondir())
        self.control_directory = Path(self._repo.controldir())
        self.work_tree = None if self._repo.bare else path
        self.own = self.directory / OWN_DIRECTORY
        self._branch = Branch(self._repo, self.directory, self.own)
        self._lock = threading.RLock()
        self._listings: OrderedDict[str, Listing] = OrderedDict()

    @property
    def repo(self) -> Repo:
        """The repository as dulwich has it; to be used by one thread at a time."""
        return self._repo

    # Reading.

    def head(self) -> Head:
        """Return where ``HEAD`` points now."""
        with self._lock, translated(self.path):
            return self._branch.head()

    def commit(self, commit_id: str) -> Commit:
        """Return a commit.

        Raises:
            StoreUnavailableError: It is missing or damaged.
        """
        content = self._read(COMMIT, commit_id)
        with translated(self.path):
            return parse_commit(commit_id, content)

    def has(self, identity: str) -> bool:
        """Whether an object is there."""
        with self._lock, translated(self.path):
            return identity.encode("ascii") in self._repo.object_store  # type: ignore[operator]  # its NewType of bytes

    def blob(self, identity: str) -> bytes:
        """Return the content of a file.

        Raises:
            StoreUnavailableError: It is missing or damaged.
        """
        return self._read(BLOB, identity)

    def problem(self, entry: Entry) -> str | None:
        """Return what is wrong with the object of an entry, None if nothing is."""
        try:
            self._read(TREE if entry.is_directory else BLOB, entry.id)
        except StoreUnavailableError as error:
            return error.message
        return None

    def listing(self, tree_id: str) -> Listing:
        """Return a directory.

        Raises:
            StoreUnavailableError: It is missing or damaged.
        """
        with self._lock:
            found = self._listings.get(tree_id)
            if found is not None:
                self._listings.move_to_end(tree_id)
                return found
        content = self._read(TREE, tree_id)
        with translated(self.path):
            listing = Listing.parse(content)
        self._remember(tree_id, listing)
        return listing

    def _read(self, kind: bytes, identity: str) -> bytes:
        with self._lock:
            try:
                number, content = self._repo.object_store.get_raw(identity.encode("ascii"))  # type: ignore[arg-type]  # its NewType of bytes
            except Exception as error:
                missing = isinstance(error, KeyError)
                raise StoreUnavailableError(
                    f"object {identity[:12]} of {self.path} is {'missing' if missing else 'damaged'}",
                    hint=f"see `git -C {self.path} fsck`; a clone or a pushed copy has it still",
                ) from error
        data = bytes(content)
        # Git itself compares on reading, dulwich does not: half a document must not pass for a whole one.
        if _KINDS.get(number) != kind or object_id(kind, data) != identity:
            raise StoreUnavailableError(
                f"object {identity[:12]} of {self.path} is damaged: its content is not what its name says",
                hint=f"see `git -C {self.path} fsck`; a clone or a pushed copy has it still",
            )
        return data

    def _remember(self, tree_id: str, listing: Listing) -> None:
        if len(listing) > _LARGEST_CACHED:
            return
        with self._lock:
            self._listings[tree_id] = listing
            self._listings.move_to_end(tree_id)
            while len(self._listings) > _CACHED_LISTINGS:
                self._listings.popitem(last=False)

    # Writing.

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold KITT's lock of the repository: among KITTs, one at a time builds on the branch's tip.

        Git's own commands don't know it; against them `advance` compares.
        """
        with translated(self.path, "cannot be written"):
            if not self.own.is_dir():
                self.own.mkdir(exist_ok=True)
                sync_directory(self.directory)
            with exclusive(self.own):
                yield

    def add_blob(self, content: bytes) -> str:
        """Write a file's content, durably, and return its id."""
        with translated(self.path, "cannot be written"):
            return write_object(self.directory / "objects", BLOB, content)

    def add_tree(self, listing: Listing) -> str:
        """Write a directory, durably, and return its id."""
        with translated(self.path, "cannot be written"):
            identity = write_object(self.directory / "objects", TREE, listing.encode())
        self._remember(identity, listing)
        return identity

    def changed_tree(self, root: str | None, changes: Mapping[trees.Path, Entry | None]) -> str:
        """Return the id of a tree with entries put in or (None) taken out; only touched levels are written.

        Raises:
            StoreUnavailableError: A file is where a directory is needed.
        """
        try:
            changed = trees.rewrite(root, changes, self.listing, self.add_tree)
        except NameTakenError as error:
            raise StoreUnavailableError(
                f"{self.path} has a file {error}, a directory is needed to write runs into", hint="move it away"
            ) from error
        return self.add_tree(Listing()) if changed is None else changed

    def add_commit(self, tree: str, parents: tuple[str, ...], message: str, moment: datetime | None = None) -> str:
        """Write a commit, durably, and return its id; no branch is moved."""
        made = moment or datetime.now(UTC)
        author, committer = self.identity("AUTHOR"), self.identity("COMMITTER")
        content = encode_commit(tree, parents, author, committer, made, message)
        with translated(self.path, "cannot be written"):
            return write_object(self.directory / "objects", COMMIT, content)

    def advance(self, head: Head, commit_id: str, reason: str) -> bool:
        """Move the branch from where ``head`` says to ``commit_id``; False if it stands elsewhere by now.

        The caller is inside `exclusive`.

        Raises:
            StoreUnavailableError: ``HEAD`` is detached, git keeps the branch locked, writing is denied.
        """
        author = self.identity("COMMITTER")
        with self._lock, translated(self.path, "cannot be written"):
            return self._branch.advance(head, commit_id, author=author, moment=datetime.now(UTC), reason=reason)

    def refuse_detached(self, head: Head) -> None:
        """Raise unless ``head`` is on a branch.

        Raises:
            StoreUnavailableError: It is on none.
        """
        self._branch.name_of(head)

    def identity(self, role: str) -> bytes:
        """Return who commits: environment, git's configuration, else KITT itself."""
        with translated(self.path):
            return identity_of(self._config, role)

    def setting(self, section: str, name: str) -> str | None:
        """Return a value of git's configuration, None if it is not set."""
        with translated(self.path):
            try:
                value = self._config.get(tuple(part.encode() for part in section.split(".")), name.encode())
            except KeyError:
                return None
            return os.fsdecode(value)

    @cached_property
    def _config(self) -> StackedConfig:
        # Read once: three files are parsed each time, which is a good part of a save.
        with self._lock:
            return self._repo.get_config_stack()

    def close(self) -> None:
        """Close the files of packs; may be called twice."""
        with self._lock:
            self._listings.clear()
            self._repo.close()


def _opened(path: Path) -> Repo:
    from dulwich.errors import NotGitRepository
    from dulwich.refs import DiskRefsContainer
    from dulwich.repo import Repo

    try:
        repo = Repo(str(path))
    except NotGitRepository as error:
        raise StoreUnavailableError(
            f"{path} is not a git repository",
            hint="name a KARR repository, or a directory that does not exist yet",
        ) from error
    except OSError as error:
        raise StoreUnavailableError(
            f"{path} cannot be opened: {error.strerror or type(error).__name__}", hint="check its permissions"
        ) from error
    except Exception as error:
        raise StoreUnavailableError(
            f"{path} is a git repository that cannot be opened ({type(error).__name__})",
            hint=f"see `git -C {path} status`; formats other than git's usual one are not supported",
        ) from error
    if repo.object_format.oid_length != _HASH_BYTES or not isinstance(repo.refs, DiskRefsContainer):
        repo.close()
        raise StoreUnavailableError(
            f"{path} has git's newer format (SHA-256 or reftable), which this backend does not know",
            hint="name a repository that `git init` made without further options",
        )
    return repo
