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

from kitt_core.durability import sync_directory
from kitt_core.errors import StoreUnavailableError
from kitt_core.rundir.locking import exclusive
from kitt_karr.git.branch import Branch, Head
from kitt_karr.git.errors import bad_object, file_in_the_way, translated
from kitt_karr.git.objects import BLOB, COMMIT, TREE, Commit, encode_commit, object_id, person, write_object
from kitt_karr.git.trees import Entry, Listing, NameTakenError, Place, rewrite
from kitt_karr.layout import OWN_DIRECTORY

if TYPE_CHECKING:
    from dulwich.config import StackedConfig
    from dulwich.repo import Repo

__all__ = ["Repository"]

_KINDS: Final = {1: COMMIT, 2: TREE, 3: BLOB}
_HASH_BYTES: Final = 20
_CACHED_LISTINGS: Final = 12
_LARGEST_CACHED: Final = 50_000
_NOT_WRITABLE: Final = "cannot be written"


class Repository:
    """A repository on this machine.

    Args:
        path: The bare repository, or the directory with its work tree.

    Attributes:
        path: As it was given.
        directory: The git directory itself; in a linked work tree that of the main one.
        control_directory: Where ``HEAD`` and git's index are; in a linked work tree one of its own.
        work_tree: The directory with its files, None if it is bare.
        own: KITT's directory in the git directory; it may be missing.

    Raises:
        StoreUnavailableError: It is not a git repository, or one that can't be used.
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

    # Reading. A missing or damaged object is a `StoreUnavailableError` that names it.

    def head(self) -> Head:
        """Return where ``HEAD`` points now."""
        with self._lock, translated(self.path):
            return self._branch.head()

    def commit(self, commit_id: str) -> Commit:
        """Return a commit."""
        content = self._read(COMMIT, commit_id)
        with translated(self.path):
            return Commit.parse(commit_id, content)

    def parent(self, commit: Commit) -> Commit | None:
        """Return the first parent, None at the beginning; a shallow clone begins where a parent is missing."""
        first = commit.parents[0] if commit.parents else None
        return self.commit(first) if first is not None and self.has(first) else None

    def has(self, identity: str) -> bool:
        """Whether an object is there."""
        with self._lock, translated(self.path):
            return identity.encode("ascii") in self._repo.object_store  # type: ignore[operator]  # its NewType of bytes

    def blob(self, identity: str) -> bytes:
        """Return the content of a file."""
        return self._read(BLOB, identity)

    def problem(self, entry: Entry) -> str | None:
        """Return what is wrong with the object of an entry, None if nothing is."""
        try:
            self._read(TREE if entry.is_directory else BLOB, entry.id)
        except StoreUnavailableError as error:
            return error.message
        return None

    def listing(self, tree_id: str) -> Listing:
        """Return a directory."""
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

    def find(self, root: str | None, place: Place) -> Entry | None:
        """Return what is at ``place`` below a root tree, None if there is nothing."""
        entry = None
        for name in place:
            entry = None if root is None else self.listing(root).find(name)
            if entry is None:
                return None
            root = entry.id if entry.is_directory else None
        return entry

    def file(self, root: str | None, place: Place) -> bytes | None:
        """Return the content of the file at ``place`` below a root tree, None if there is none."""
        entry = self.find(root, place)
        return None if entry is None or not entry.is_file else self.blob(entry.id)

    def _read(self, kind: bytes, identity: str) -> bytes:
        with self._lock:
            try:
                number, content = self._repo.object_store.get_raw(identity.encode("ascii"))  # type: ignore[arg-type]  # its NewType of bytes
            except Exception as error:
                what = "missing" if isinstance(error, KeyError) else "damaged"
                raise bad_object(self.path, identity, what) from error
        data = bytes(content)
        # Git itself compares on reading, dulwich does not: half a document must not pass for a whole one.
        if _KINDS.get(number) != kind or object_id(kind, data) != identity:
            raise bad_object(self.path, identity, "damaged: its content is not what its name says")
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
        with translated(self.path, _NOT_WRITABLE):
            if not self.own.is_dir():
                self.own.mkdir(exist_ok=True)
                sync_directory(self.directory)
            with exclusive(self.own):
                yield

    def add_blob(self, content: bytes) -> str:
        """Write a file's content, durably, and return its id."""
        with translated(self.path, _NOT_WRITABLE):
            return write_object(self.directory / "objects", BLOB, content)

    def add_tree(self, listing: Listing) -> str:
        """Write a directory, durably, and return its id."""
        with translated(self.path, _NOT_WRITABLE):
            identity = write_object(self.directory / "objects", TREE, listing.encode())
        self._remember(identity, listing)
        return identity

    def changed_tree(self, root: str | None, changes: Mapping[Place, Entry | None]) -> str:
        """Return the id of a tree with entries put in or (None) taken out; only touched levels are written.

        Raises:
            StoreUnavailableError: A file is where a directory is needed.
        """
        try:
            changed = rewrite(root, changes, self.listing, self.add_tree)
        except NameTakenError as error:
            raise file_in_the_way(self.path, str(error)) from error
        return self.add_tree(Listing()) if changed is None else changed

    def add_commit(self, tree: str, parent: str | None, message: str) -> str:
        """Write a commit, durably, and return its id; no branch is moved."""
        parents = () if parent is None else (parent,)
        authors = self._author("AUTHOR"), self._author("COMMITTER")
        content = encode_commit(tree, parents, *authors, datetime.now(UTC), message)
        with translated(self.path, _NOT_WRITABLE):
            return write_object(self.directory / "objects", COMMIT, content)

    def advance(self, head: Head, commit_id: str, reason: str) -> bool:
        """Move the branch from where ``head`` says to ``commit_id``; False if it stands elsewhere by now.

        The caller is inside `exclusive`.

        Raises:
            StoreUnavailableError: ``HEAD`` is detached, git keeps the branch locked, writing is denied.
        """
        committer = self._author("COMMITTER")
        with self._lock, translated(self.path, _NOT_WRITABLE):
            return self._branch.advance(head, commit_id, author=committer, moment=datetime.now(UTC), reason=reason)

    def refuse_detached(self, head: Head) -> None:
        """Raise unless ``head`` is on a branch.

        Raises:
            StoreUnavailableError: It is on none.
        """
        self._branch.name_of(head)

    # Configuration.

    def setting(self, section: str, name: str) -> str | None:
        """Return a value of git's configuration, None if it is not set."""
        with translated(self.path):
            try:
                value = self._config.get(tuple(part.encode() for part in section.split(".")), name.encode())
            except KeyError:
                return None
            return os.fsdecode(value)

    def _author(self, role: str) -> bytes:
        with translated(self.path):
            return person(self._config, role)

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
