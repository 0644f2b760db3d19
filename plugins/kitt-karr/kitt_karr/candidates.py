"""Runs of a repository on their way into another store: `kitt storage import` of a KARR repository."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from kitt_core.errors import KittError, StoreUnavailableError
from kitt_core.plugins import ImportCandidate
from kitt_core.rundir import IDENTITY, find_runs, read_attachments
from kitt_core.runs import Attachment, codec
from kitt_karr.history import times_of_arrival
from kitt_karr.outputs import attachments_at_hand, large_files_of
from kitt_karr.repository import Repository
from kitt_karr.runs import RunTree, identify, runs_below

__all__ = ["find_candidates"]

logger = logging.getLogger(__name__)


def find_candidates(path: Path) -> Iterator[ImportCandidate]:
    """Yield the runs at the tip of the repository's branch, then those of its work tree that no commit has.

    LFS contents that are not on this machine are left out with a warning; their run is taken.

    Raises:
        StoreUnavailableError: The repository can't be read.
    """
    with closing(Repository(path)) as repository:
        committed: set[str] = set()
        tip = repository.head().tip
        if tip is not None:
            commit = repository.commit(tip)
            runs = list(runs_below(repository, commit.tree))
            committed = {run.path.as_posix() for run in runs}
            arrived = times_of_arrival(repository, commit, [run.place for run in runs if run.identity is None])
            for run in runs:
                yield _candidate(repository, run, arrived.get(run.place, commit.time))
        if repository.work_tree is not None:
            yield from _uncommitted(repository.work_tree, committed)


def _candidate(repository: Repository, run: RunTree, arrived: datetime) -> ImportCandidate:
    source = f"{repository.path}:{run.path}"
    try:
        document = repository.blob(run.document)
        identity = identify(repository, run, document, arrived)
        found = attachments_at_hand(repository, large_files_of(repository), run.tree, source)
        attachments = tuple(_lasting(repository.path, run.tree, attachment) for attachment in found)
    except KittError as error:
        return ImportCandidate(source, partial(_refuse, error))
    trusted = run.identity is not None and identity.problem is None
    if trusted and identity.sha256 != codec.digest(document):
        logger.warning("%s is not the document that %s names; it gets a new id", source, IDENTITY)
        trusted = False
    return ImportCandidate(
        source,
        lambda: document,
        # Without run.json the id is derived from the path, which means nothing in another store.
        run_id=identity.id if trusted else None,
        created_at=identity.created_at,
        attachments=attachments,
    )


def _uncommitted(root: Path, committed: set[str]) -> Iterator[ImportCandidate]:
    for run in find_runs(root):
        if run.path.as_posix() not in committed:
            yield ImportCandidate(str(run.directory), run.document, attachments=tuple(read_attachments(run)))


def _lasting(path: Path, run_tree: str, attachment: Attachment) -> Attachment:
    """Return an attachment that can be opened when the repository is closed: it is read after the search."""
    return Attachment(attachment.name, attachment.size, partial(_reopened, path, run_tree, attachment.name))


def _reopened(path: Path, run_tree: str, name: str) -> BinaryIO:
    with closing(Repository(path)) as repository:
        for attachment in attachments_at_hand(repository, large_files_of(repository), run_tree, str(path)):
            if attachment.name == name:
                return attachment.open()
    raise StoreUnavailableError(f"{path} has no output {name} any longer", hint="import it again")


def _refuse(error: KittError) -> bytes:
    raise error
