"""The importer: the runs of a KARR repository for `kitt storage import`."""

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
from kitt_core.rundir import IDENTITY, FoundRun, find_runs, read_attachments
from kitt_core.runs import Attachment, codec
from kitt_karr.attachments import available_attachments
from kitt_karr.git.repository import Repository
from kitt_karr.runs import RunTree, dated_runs, identify

logger = logging.getLogger(__name__)


def find_candidates(path: Path) -> Iterator[ImportCandidate]:
    """Yield the runs at the tip of the repository's branch, then those of its work tree that are not committed."""
    with closing(Repository(path)) as repository:
        committed: set[str] = set()
        tip = repository.head().tip
        if tip is not None:
            for run, arrived in dated_runs(repository, repository.commit(tip)):
                committed.add(run.path.as_posix())
                yield _candidate(repository, run, arrived)
        for found in find_runs(repository.work_tree) if repository.work_tree is not None else ():
            if found.path.as_posix() not in committed:
                yield _uncommitted(found)


def _uncommitted(found: FoundRun) -> ImportCandidate:
    try:
        attachments = tuple(read_attachments(found))
    except OSError as error:
        return ImportCandidate(str(found.directory), partial(_refuse, error))
    return ImportCandidate(str(found.directory), found.document, attachments=attachments)


def _candidate(repository: Repository, run: RunTree, arrived: datetime) -> ImportCandidate:
    source = f"{repository.path}:{run.path}"
    try:
        document = repository.blob(run.document)
        identity = identify(repository, run, arrived)
        # They are read after the search, when this repository is already closed.
        attachments = tuple(
            Attachment(file.name, file.size, partial(_reopened, repository.path, run.tree, file.name), file.sha256)
            for file in available_attachments(repository, run.tree, source)
        )
    except KittError as error:
        return ImportCandidate(source, partial(_refuse, error))
    trusted = run.identity is not None and identity.problem is None
    if trusted and identity.sha256 != codec.digest(document):
        logger.warning("the document of %s is not the one that %s names; it gets a new id", source, IDENTITY)
        trusted = False
    # Without run.json the id is derived from the path, which means nothing in another store.
    identifier = identity.id if trusted else None
    return ImportCandidate(source, lambda: document, identifier, identity.created_at, attachments)


def _reopened(path: Path, run_tree: str, name: str) -> BinaryIO:
    with closing(Repository(path)) as repository:
        for attachment in available_attachments(repository, run_tree, str(path)):
            if attachment.name == name:
                return attachment.open()
    raise StoreUnavailableError(f"{path} no longer has the output {name}", hint="import it again")


def _refuse(error: KittError | OSError) -> bytes:
    raise error
