"""An open git repository: reads and writes objects, moves its branch. It knows nothing about runs.

Reading is left to dulwich, which is imported when the first repository is opened. Threads may share a repository.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from kitt_core.errors import KittError, StoreUnavailableError
from kitt_core.files import sync_directory
from kitt_core.rundir import exclusive
from kitt_karr.git.locks import held
from kitt_karr.git.objects import BLOB, COMMIT, TREE, Commit, object_id, person, write_object
from kitt_karr.git.trees import DIRECTORY, Entry, Listing, Place
from kitt_karr.layout import OWN_DIRECTORY

if TYPE_CHECKING:
    from dulwich.config import StackedConfig
    from dulwich.repo import Repo

_KINDS: Final = {1: COMMIT, 2: TREE, 3: BLOB}
_HASH_BYTES: Final = 20
_EMPTY_TREE: Final = object_id(TREE, b"")  # git keeps no empty directory: it is removed, and not written
_CACHED_LISTINGS: Final = 12
_LARGEST_CACHED: Final = 50_000
_NOT_WRITABLE: Final = "cannot be written"
_HEADS: Final = "refs/heads/"
_COMMIT_ID: Final = re.compile(r"[0-9a-f]{40}")


@contextmanager
def translated(place: Path, what: str = "cannot be used") -> Iterator[None]:
    """Raise `StoreUnavailableError` for whatever goes wrong at ``place``; ``what`` says what could not be done."""
    try:
        yield
    except KittError:
        raise
    except OSError as error:
        text = f"{place} {what}: {error.strerror or type(error).__name__}"
        hint = "check free space, permissions and that the path is a git repository"
        raise StoreUnavailableError(text, hint=hint) from error
    except Exception as error:  # dulwich's errors have no common base class; zlib and struct raise their own
        text = f"{place} {what}: its git data cannot be read ({type(error).__name__})"
        raise StoreUnavailableError(text, hint=f"see what is wrong with `git -C {place} fsck`") from error


def bad_object(place: Path, identity: str, what: str) -> StoreUnavailableError:
    """Return the error for an object that is missing or damaged."""
    hint = f"see `git -C {place} fsck`; a clone or a pushed copy may still have it"
    return StoreUnavailableError(f"object {identity[:12]} of {place} is {what}", hint=hint)


def file_in_the_way(place: Path, names: tuple[bytes, ...]) -> StoreUnavailableError:
    """Return the error for a file where a directory is needed."""
    name = b"/".join(names).decode(errors="replace")
    text = f"{place} has a file {name}, a directory is needed to write runs into"
    return StoreUnavailableError(text, hint="move it away with `git mv`")


@frozen
class Head:
    """Where ``HEAD`` points: to no branch if it is detached, to no commit if its branch has none yet."""

    branch: str | None
    tip: str | None


class Repository:
    """A repository on this machine. Whatever is missing, damaged or denied is a `StoreUnavailableError`.

    Attributes:
        path: The bare repository, or the directory with its work tree.
        repo: Dulwich's repository; to be used by one thread at a time.
        directory: The git directory itself; for a linked work tree that of the main one.
        control_directory: Where ``HEAD`` and git's index are; a linked work tree has its own.
        work_tree: The directory with its files, None if it is bare.
        own: KITT's directory in the git directory; it may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.repo = _opened(path)
        self.directory = Path(self.repo.commondir())
        self.control_directory = Path(self.repo.controldir())
        self.work_tree = None if self.repo.bare else path
        self.own = self.directory / OWN_DIRECTORY
        self._lock = threading.RLock()
        self._listings: OrderedDict[str, Listing] = OrderedDict()

    def close(self) -> None:
        """Close the files of packs; may be called twice."""
        with self._lock:
            self._listings.clear()
            self.repo.close()

    def commit(self, commit_id: str) -> Commit:
        """Return a commit."""
        with translated(self.path):
            return Commit.parse(commit_id, self._read(COMMIT, commit_id))

    def parent(self, commit: Commit) -> Commit | None:
        """Return the first parent, None at the beginning; a shallow clone begins where a parent is missing."""
        first = commit.parents[0] if commit.parents else None
        return self.commit(first) if first is not None and self.has(first) else None

    def has(self, identity: str) -> bool:
        """Whether an object is there."""
        with self._lock, translated(self.path):
            return identity.encode("ascii") in self.repo.object_store  # type: ignore[operator]  # its NewType of bytes

    def blob(self, identity: str) -> bytes:
        """Return the content of a file."""
        return self._read(BLOB, identity)

    def listing(self, tree_id: str) -> Listing:
        """Return a directory."""
        with self._lock:
            found = self._listings.get(tree_id)
            if found is not None:
                self._listings.move_to_end(tree_id)
                return found
        with translated(self.path):
            return self._remembered(tree_id, Listing.parse(self._read(TREE, tree_id)))

    def find(self, root: str | None, place: Place) -> Entry | None:
        """Return what is at ``place`` below a root tree, None if there is nothing."""
        entry = None
        for name in place:
            entry = None if root is None else self.listing(root).find(name)
            if entry is None:
                return None
            root = entry.id if entry.is_directory else None
        return entry

    def file(self, root: str | None, name: str) -> bytes | None:
        """Return the content of a file in a tree, None if there is none of that name."""
        entry = self.find(root, (name.encode(),))
        return None if entry is None or not entry.is_file else self.blob(entry.id)

    def _read(self, kind: bytes, identity: str) -> bytes:
        with self._lock:
            try:
                number, content = self.repo.object_store.get_raw(identity.encode("ascii"))  # type: ignore[arg-type]  # its NewType of bytes
            except Exception as error:
                what = "damaged" if not isinstance(error, KeyError) else "missing"
                if what == "missing" and self._is_partial:
                    what = "not in this partial clone: `git fetch --refetch --no-filter` fetches it"
                raise bad_object(self.path, identity, what) from error
        data = bytes(content)
        # Git compares these when it reads, dulwich does not: half a document must not pass for a whole one.
        if _KINDS.get(number) != kind or object_id(kind, data) != identity:
            raise bad_object(self.path, identity, "damaged: its content is not what its name says")
        return data

    def _remembered(self, tree_id: str, listing: Listing) -> Listing:
        with self._lock:
            if len(listing) <= _LARGEST_CACHED:
                self._listings[tree_id] = listing
                self._listings.move_to_end(tree_id)
            while len(self._listings) > _CACHED_LISTINGS:
                self._listings.popitem(last=False)
        return listing

    def add_blob(self, content: bytes) -> str:
        """Write a file's content, durably, and return its id."""
        return self._add(BLOB, content)

    def add_tree(self, listing: Listing) -> str:
        """Write a directory, durably, and return its id."""
        identity = self._add(TREE, listing.encode())
        self._remembered(identity, listing)
        return identity

    def changed_tree(self, root: str | None, changes: Mapping[Place, Entry | None], above: Place = ()) -> str:
        """Return the id of a tree with entries added, replaced or (None) removed; ``above`` is its own path."""
        listing = Listing() if root is None else self.listing(root)
        below: dict[bytes, dict[Place, Entry | None]] = {}
        for (name, *rest), entry in changes.items():
            if rest:
                below.setdefault(name, {})[tuple(rest)] = entry
            else:
                listing = listing.without(name) if entry is None else listing.with_entry(entry)
        for name, wanted in below.items():
            found = listing.find(name)
            if found is not None and not found.is_directory:
                raise file_in_the_way(self.path, (*above, name))
            child = self.changed_tree(None if found is None else found.id, wanted, (*above, name))
            is_gone = child == _EMPTY_TREE
            listing = listing.without(name) if is_gone else listing.with_entry(Entry(name, DIRECTORY, child))
        return self.add_tree(listing) if len(listing) or not above else _EMPTY_TREE

    def add_commit(self, tree: str, parent: str | None, message: str) -> str:
        """Write a commit, durably, and return its id; no branch is moved."""
        now = datetime.now(UTC)
        lines = [b"tree " + tree.encode(), *([] if parent is None else [b"parent " + parent.encode()])]
        with translated(self.path):
            lines += [b"author " + person(self._config, "AUTHOR", now)]
            lines += [b"committer " + person(self._config, "COMMITTER", now)]
        return self._add(COMMIT, b"\n".join([*lines, b"", message.encode("utf-8", "replace") + b"\n"]))

    def _add(self, kind: bytes, content: bytes) -> str:
        with translated(self.path, _NOT_WRITABLE):
            return write_object(self.directory / "objects", kind, content)

    def head(self, *, for_writing: bool = False) -> Head:
        """Return where ``HEAD`` points now; refuse an invalid one, and for writing a detached one."""
        from dulwich.refs import Ref

        with self._lock, translated(self.path):
            try:
                names, found = self.repo.refs.follow(Ref(b"HEAD"))
                name, tip = os.fsdecode(names[-1]), None if found is None else found.decode("ascii")
                if not (name == "HEAD" or name.startswith(_HEADS)) or not (
                    tip is None or _COMMIT_ID.fullmatch(tip)
                ):
                    raise ValueError(f"HEAD leads to {name}")
            except Exception as error:
                hint = f"name its branch: git -C {self.directory} symbolic-ref HEAD refs/heads/main"
                text = f"{self.directory} has no valid HEAD"
                raise StoreUnavailableError(text, hint=hint) from error
            if tip is None:
                self._refuse_mistaken(name)
            if name != "HEAD" or tip is None:
                return Head(name, tip)
        if for_writing:
            text = f"{self.directory} has a detached HEAD: a commit would belong to no branch"
            change = "symbolic-ref HEAD refs/heads/main" if self.work_tree is None else "switch main"
            hint = f"choose a branch, for example with `git -C {self.path} {change}`"
            raise StoreUnavailableError(text, hint=hint)
        return Head(None, tip)

    def _refuse_mistaken(self, name: str) -> None:
        # A repository without any commit is new; if another branch has commits, HEAD names the wrong one. If its
        # own branch has appeared, another process has just made the first commit.
        heads = sorted(ref for ref in map(os.fsdecode, self.repo.refs.allkeys()) if ref.startswith(_HEADS))
        if heads and name not in heads:
            raise StoreUnavailableError(
                f"{self.directory} is on the branch {name.removeprefix(_HEADS)}, which has no commit yet;"
                f" the branch {heads[0].removeprefix(_HEADS)} has",
                hint=f"choose it: git -C {self.directory} symbolic-ref HEAD {heads[0]}",
            )

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold KITT's lock, so that one KITT at a time builds on the tip; `advance` guards against git itself."""
        with translated(self.path, _NOT_WRITABLE):
            if not self.own.is_dir():
                self.own.mkdir(exist_ok=True)
                sync_directory(self.directory)
            with exclusive(self.own):
                yield

    def advance(self, head: Head, commit_id: str, reason: str) -> bool:
        """Move the branch from ``head``, inside `exclusive`; return False if it has moved in the meantime."""
        assert head.branch is not None
        reference = self.directory / head.branch
        with self._lock, translated(self.path, _NOT_WRITABLE):
            reference.parent.mkdir(parents=True, exist_ok=True)
            with held(reference, self.own, "branch") as lock:
                if self.head() != head:
                    return False
                with lock.open("wb") as file:  # not write_file: the lock exists, or it would not be one
                    file.write(f"{commit_id}\n".encode("ascii"))
                    file.flush()
                    os.fsync(file.fileno())
                lock.rename(reference)
            sync_directory(reference.parent)
            note = b"%s %s " % ((head.tip or "0" * 40).encode(), commit_id.encode())
            note += person(self._config, "COMMITTER", datetime.now(UTC))
            note += f"\t{reason}\n".encode("utf-8", "replace")
            for log in (self.directory / "logs" / head.branch, self.control_directory / "logs" / "HEAD"):
                if log.is_file():  # git keeps a reflog in repositories with a work tree only
                    with log.open("ab") as file:
                        file.write(note)
        return True

    def setting(self, section: str, name: str) -> str | None:
        """Return a value of git's configuration, None if it is not set."""
        with translated(self.path), suppress(KeyError):
            return os.fsdecode(self._config.get(tuple(map(str.encode, section.split("."))), name.encode()))
        return None

    @cached_property
    def _is_partial(self) -> bool:
        config = self.repo.get_config()
        return any(config.get_boolean(section, b"promisor") for section in config.sections())

    @cached_property
    def _config(self) -> StackedConfig:
        # Read once: it takes parsing three files, a considerable part of the time of a save.
        try:
            with self._lock:
                return self.repo.get_config_stack()
        except ValueError as error:
            raise _invalid_configuration(self.path, f"what git reads for {self.path}") from error


def _invalid_configuration(place: Path, what: object) -> StoreUnavailableError:
    hint = f"`git -C {place} config --list` shows where"
    return StoreUnavailableError(f"{what} is not a valid git configuration", hint=hint)


def _opened(path: Path) -> Repo:
    from dulwich.errors import NotGitRepository
    from dulwich.refs import DiskRefsContainer
    from dulwich.repo import Repo

    try:
        repo = Repo(str(path))
    except NotGitRepository as error:
        hint = "name a KARR repository, or a directory that does not exist yet"
        raise StoreUnavailableError(f"{path} is not a git repository", hint=hint) from error
    except ValueError as error:
        file = path / (".git/config" if (path / ".git").exists() else "config")
        raise _invalid_configuration(path, file) from error
    except Exception as error:
        what = getattr(error, "strerror", None) or type(error).__name__
        hint = f"check its permissions, and see `git -C {path} status`: only git's usual format is supported"
        raise StoreUnavailableError(f"{path} cannot be opened: {what}", hint=hint) from error
    if repo.object_format.oid_length != _HASH_BYTES or not isinstance(repo.refs, DiskRefsContainer):
        repo.close()
        text = f"{path} uses one of git's newer formats (SHA-256 or reftable), which KITT does not support"
        raise StoreUnavailableError(text, hint="name a repository made by `kitt karr init` or a plain `git init`")
    return repo
