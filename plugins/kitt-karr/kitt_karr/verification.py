"""Checks that a repository is intact: git's objects, documents, LFS contents, and the index derived from them."""

from __future__ import annotations

from collections.abc import Iterator

from kitt_core.errors import StoreUnavailableError
from kitt_core.rundir import DOCUMENT, OUTPUTS
from kitt_core.runs import Finding, Severity, StoredRun, codec
from kitt_core.storage import DocumentCheck
from kitt_karr.attachments import read_outputs
from kitt_karr.git.lfs import LargeFiles
from kitt_karr.git.repository import Repository
from kitt_karr.index import IndexedRun, RunIndex
from kitt_karr.runs import RunTree


def verify_repository(repository: Repository, index: RunIndex, *, rebuild: bool) -> Iterator[Finding]:
    """Yield the findings of every run at the tip, read from git, then those of the index.

    With ``rebuild`` the index is rebuilt, whether or not anything seems wrong with it, and what was is a notice.
    """
    repository.head()  # what can't even be opened is unavailable, not damaged
    try:
        tip, known, listed = index.at_tip(lambda: (*index.contents(), index.count()))
        runs = [] if tip is None else list(index.fresh(tip))
    except StoreUnavailableError as error:
        yield Finding(None, Severity.DAMAGE, f"it cannot be read completely: {error.message}")
        return
    large_files = LargeFiles(repository)
    check = DocumentCheck()
    first: dict[str, IndexedRun] = {}
    for indexed in runs:
        run_id, path = indexed.identity.id or None, indexed.run.path
        found = list(_objects(repository, indexed.run))
        if indexed.unread and not found:
            found = [f": {indexed.problem}"]
        yield from (Finding(run_id, Severity.DAMAGE, f"{path}{what}") for what in found)
        if run_id is None or indexed.unread:
            continue
        original = first.setdefault(run_id, indexed)
        if original is not indexed:
            severity = Severity.NOTICE if original.run.document == indexed.run.document else Severity.DAMAGE
            yield Finding(run_id, severity, f"{path} has the id of {original.run.path} and is not listed")
        else:
            yield from _document(repository, index, check, indexed, rebuild=rebuild)
        for severity, what in _outputs(repository, large_files, indexed):
            yield Finding(run_id, severity, f"{path}/{OUTPUTS}/{what}")
    readable = len({indexed.identity.id for indexed in first.values() if indexed.problem is None})
    problem = _index_problem(index, known, runs) or (
        None if listed == readable else f"it lists {listed} of {readable} runs"
    )
    if rebuild:
        index.rebuild()
    if problem is not None:
        what = f"the index {'was rebuilt' if rebuild else 'is wrong'}: {problem}"
        yield Finding(None, Severity.NOTICE if rebuild else Severity.DAMAGE, what)


def _index_problem(index: RunIndex, known: list[IndexedRun], runs: list[IndexedRun]) -> str | None:
    """Return how the index, which knows some runs, differs from those that git has."""
    for finding in index.integrity_findings():
        return finding.what
    noted, real = ({indexed for indexed in each if not indexed.unread} for each in (known, runs))
    same = len(noted & real)
    return (
        None
        if noted == real
        else f"runs that it knows: {len(noted)}, as the commit has them: {same} of {len(real)}"
    )


def _objects(repository: Repository, run: RunTree) -> Iterator[str]:
    """Yield what is wrong with the objects of a run's directory, to be appended to its path."""
    try:
        entries = [(entry.name.decode(errors="replace"), entry) for entry in repository.listing(run.tree)]
        for name, entry in list(entries):
            if name == OUTPUTS and entry.is_directory:
                below = repository.listing(entry.id)
                entries += [(f"{name}/{child.name.decode(errors='replace')}", child) for child in below]
    except StoreUnavailableError as error:
        yield f": {error.message}"
        return
    for name, entry in entries:
        try:
            if entry.is_directory:
                repository.listing(entry.id)
            elif entry.is_file:
                repository.blob(entry.id)
        except StoreUnavailableError as error:
            yield f"/{name}: {error.message}"


def _document(
    repository: Repository, index: RunIndex, check: DocumentCheck, indexed: IndexedRun, *, rebuild: bool
) -> Iterator[Finding]:
    identity, document = indexed.identity, indexed.run.read_document(repository)
    run = StoredRun(identity.id, document, identity.created_at, identity.sha256)
    for finding in check(run):
        yield Finding(finding.run_id, finding.severity, f"{indexed.run.path}/{DOCUMENT}: {finding.what}")
    if check.rows is not None and identity.sha256 == codec.digest(document):
        yield from index.compare_rows(run, check.rows, rebuild=rebuild)


def _outputs(repository: Repository, files: LargeFiles, indexed: IndexedRun) -> Iterator[tuple[Severity, str]]:
    try:
        outputs = read_outputs(repository, indexed.run.tree)
    except StoreUnavailableError:
        return  # reported with the other objects
    for name, parts in outputs.items():
        for pointer in (pointer for _, pointer in parts if pointer is not None):
            try:
                if not files.path(pointer).exists():
                    yield Severity.NOTICE, f"{name}: its LFS content is not here: `git lfs pull` fetches it"
                elif not pointer.is_content_of(files.path(pointer)):
                    yield Severity.DAMAGE, f"{name}: its LFS content does not match its SHA-256"
            except OSError as error:
                yield Severity.DAMAGE, f"{name}: its LFS content cannot be read: {error.strerror}"
