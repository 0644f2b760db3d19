"""The importer: the runs of a KARR repository for `kitt storage import`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from kitt_core.errors import KittError, StoreUnavailableError
from kitt_core.plugins import ImportCandidate
from kitt_core.rundir import IDENTITY, FoundRun, find_runs, noted_identity, read_attachments
from kitt_core.runs import Attachment, codec
from kitt_karr.attachments import available_attachments
from kitt_karr.git.repository import Repository
from kitt_karr.runs import RunTree, dated_runs

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
    noted = None
    try:
        document = run.read_document(repository)
        with suppress(ValueError):
            noted = None if run.identity is None else noted_identity(repository.blob(run.identity))
        # They are read after the search, when this repository is already closed.
        attachments = tuple(
            Attachment(file.name, file.size, partial(_reopened, repository.path, run.tree, file.name), file.sha256)
            for file in available_attachments(repository, run.tree, source)
        )
    except KittError as error:
        return ImportCandidate(source, partial(_refuse, error))
    # Without run.json the id is derived from the path, which means nothing in another store.
    identifier = noted.id if noted is not None and noted.sha256 == codec.digest(document) else None
    if run.identity is not None and identifier is None:
        logger.warning("the document of %s is not the one that %s names; it gets a new id", source, IDENTITY)
    return ImportCandidate(
        source, lambda: document, identifier, arrived if noted is None else noted.created_at, attachments
    )


def _reopened(path: Path, run_tree: str, name: str) -> BinaryIO:
    with closing(Repository(path)) as repository:
        for attachment in available_attachments(repository, run_tree):
            if attachment.name == name:
                return attachment.open()
    raise StoreUnavailableError(f"{path} no longer has the output {name}", hint="import it again")


def _refuse(error: KittError | OSError) -> bytes:
    raise error
