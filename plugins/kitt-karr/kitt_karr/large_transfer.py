"""LFS contents on their way: which ones a push needs, and copying them to or from a remote.

Git carries the pointers only. A remote on this machine has its contents in a directory, as this side does; a web
server has a service for them (`kitt_karr.lfs_service`); other remotes have none that KITT can talk to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from attrs import frozen

from kitt_karr.lfs import LargeFiles, Pointer
from kitt_karr.lfs_service import LfsService, NoLfsServiceError, service_url
from kitt_karr.outputs import large_files_of, read_outputs
from kitt_karr.refusals import RemoteError, remote_errors
from kitt_karr.remote import Remote
from kitt_karr.repository import Repository
from kitt_karr.runs import RunTree, changed_runs, runs_below

__all__ = ["Neighbour", "Report", "Transferred", "fetch_large", "missing_here", "pointers_to_send", "send_large"]

Report = Callable[[int, int], None]
"""Told how many of how many contents are done."""

_BLOCK: Final = 1 << 20


@frozen
class Transferred:
    """What became of the contents that were to be copied.

    Attributes:
        done: How many arrived.
        left: Those that are on this side but did not travel, with the reason in ``reason``.
        nowhere: Those that neither side has.
        reason: Why some are left.
    """

    done: int = 0
    left: tuple[Pointer, ...] = ()
    nowhere: tuple[Pointer, ...] = ()
    reason: str = ""


def pointers_to_send(repository: Repository, tip: str, known: str | None) -> list[Pointer]:
    """Return what the runs at ``tip`` point to, and those of the commits that the remote does not know yet.

    A server may refuse commits whose contents it does not have, even where a later commit removed the run.
    """
    found = {pointer.oid: pointer for pointer in _of_tree(repository, repository.commit(tip).tree)}
    for run in _of_new_commits(repository, tip, known):
        found |= {pointer.oid: pointer for pointer in _of_run(repository, run)}
    return list(found.values())


def missing_here(repository: Repository) -> list[Pointer]:
    """Return what the runs at the branch's tip point to and this machine does not have."""
    tip = repository.head().tip
    if tip is None:
        return []
    here = large_files_of(repository)
    found = {pointer.oid: pointer for pointer in _of_tree(repository, repository.commit(tip).tree)}
    return [pointer for pointer in found.values() if not here.holds(pointer)]


def _of_tree(repository: Repository, root: str) -> Iterator[Pointer]:
    for run in runs_below(repository, root):
        yield from _of_run(repository, run)


def _of_run(repository: Repository, run: RunTree) -> Iterator[Pointer]:
    for output in read_outputs(repository, run.tree):
        yield from (pointer for _, pointer in output.parts if pointer is not None)


def _of_new_commits(repository: Repository, tip: str, known: str | None) -> Iterator[RunTree]:
    excluded = [] if known is None or not repository.has(known) else [known.encode()]
    walker = repository.repo.get_walker(include=[tip.encode()], exclude=excluded)  # type: ignore[list-item,arg-type]  # its NewTypes
    for entry in walker:
        commit = repository.commit(entry.commit.id.decode("ascii"))
        parent = commit.parents[0] if commit.parents and repository.has(commit.parents[0]) else None
        before = None if parent is None else repository.commit(parent).tree
        yield from (run for _, run in changed_runs(repository, before, commit.tree) if run is not None)


def send_large(repository: Repository, remote: Remote, pointers: Sequence[Pointer], report: Report) -> Transferred:
    """Copy contents to the remote.

    Raises:
        RemoteError: It has a place for them, and refuses.
    """
    if not pointers:
        return Transferred()
    here = large_files_of(repository)
    try:
        with _opened(repository, remote) as contents:
            done, nowhere = contents.send(pointers, here, report)
    except NoLfsServiceError as error:
        held = tuple(pointer for pointer in pointers if here.holds(pointer))
        return Transferred(left=held, reason=str(error))
    return Transferred(done, nowhere=tuple(nowhere))


def fetch_large(
    repository: Repository, remote: Remote, pointers: Sequence[Pointer], report: Report
) -> Transferred:
    """Copy contents from the remote.

    Raises:
        RemoteError: It has a place for them, and refuses.
    """
    if not pointers:
        return Transferred()
    try:
        with _opened(repository, remote) as contents:
            done, nowhere = contents.fetch(pointers, large_files_of(repository), report)
    except NoLfsServiceError as error:
        return Transferred(left=tuple(pointers), reason=str(error))
    return Transferred(done, nowhere=tuple(nowhere))


def _opened(repository: Repository, remote: Remote) -> closing[LfsService] | closing[Neighbour]:
    url = service_url(repository, remote)
    if url is not None:
        return closing(LfsService(url, remote, repository))
    if remote.directory is not None:
        return closing(Neighbour(remote.directory, remote.shown))
    raise NoLfsServiceError("KITT copies LFS contents to directories and web servers only")


class Neighbour:
    """The contents of a remote in a directory on this machine."""

    def __init__(self, directory: Path, shown: str) -> None:
        self._shown = shown
        with remote_errors(shown):
            self._repository = Repository(directory)
            self._there = large_files_of(self._repository)

    def send(self, pointers: Sequence[Pointer], here: LargeFiles, report: Report) -> tuple[int, list[Pointer]]:
        """Copy what the remote lacks; return how many, and those that neither side has."""
        wanted = [pointer for pointer in pointers if not self._there.holds(pointer)]
        return self._copy(wanted, here, self._there, report)

    def fetch(self, pointers: Sequence[Pointer], here: LargeFiles, report: Report) -> tuple[int, list[Pointer]]:
        """Copy what the remote has; return how many, and those that it lacks."""
        return self._copy(pointers, self._there, here, report)

    def _copy(
        self, pointers: Sequence[Pointer], source: LargeFiles, target: LargeFiles, report: Report
    ) -> tuple[int, list[Pointer]]:
        there = [pointer for pointer in pointers if source.holds(pointer)]
        for number, pointer in enumerate(there):
            report(number, len(there))
            with remote_errors(self._shown), source.path(pointer).open("rb") as file:
                stored = target.add(file.read(_BLOCK), file, max(pointer.size, 1))
            _refuse_damaged(self._shown, pointer, stored)
        return len(there), _others(pointers, there)

    def close(self) -> None:
        """Close the repository."""
        self._repository.close()


def _others(pointers: Iterable[Pointer], without: Iterable[Pointer]) -> list[Pointer]:
    known = {pointer.oid for pointer in without}
    return [pointer for pointer in pointers if pointer.oid not in known]


def _refuse_damaged(shown: str, wanted: Pointer, found: Pointer) -> None:
    if found != wanted:
        raise RemoteError(
            f"LFS object {wanted.oid[:12]} is damaged on its way to or from {shown}: it has other bytes",
            hint="`kitt storage verify` and `git lfs fsck` say which side it is",
        )
