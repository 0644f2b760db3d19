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
from kitt_karr.runs import changed_runs


def verify_repository(repository: Repository, index: RunIndex, *, rebuild: bool) -> Iterator[Finding]:
    """Yield the findings of the index, then those of every run at the tip.

    With ``rebuild`` the index is rebuilt, and what was wrong with it is reported as a notice.
    """
    repository.head()  # what can't even be opened is unavailable, not damaged
    try:
        if (problem := index.at_tip(lambda: _index_problem(repository, index))) is not None:
            if rebuild:
                index.rebuild()
                yield Finding(None, Severity.NOTICE, f"the index was rebuilt: {problem}")
            else:
                yield Finding(None, Severity.DAMAGE, f"the index is wrong: {problem}")
        _, runs = index.contents()
    except StoreUnavailableError as error:
        yield Finding(None, Severity.DAMAGE, f"it cannot be read completely: {error.message}")
        return
    large_files = LargeFiles(repository)
    check = DocumentCheck()
    first: dict[str, IndexedRun] = {}
    for indexed in runs:
        run_id, path = indexed.identity.id, indexed.run.path
        for severity, what in _objects(repository, indexed):
            yield Finding(run_id, severity, f"{path}{what}")
        original = first.setdefault(run_id, indexed)
        if original is not indexed:
            severity = Severity.NOTICE if original.run.document == indexed.run.document else Severity.DAMAGE
            yield Finding(run_id, severity, f"{path} has the id of {original.run.path} and is not listed")
        else:
            yield from _document(repository, index, check, indexed, rebuild=rebuild)
        for severity, what in _outputs(repository, large_files, indexed):
            yield Finding(run_id, severity, f"{path}/{OUTPUTS}/{what}")


def _index_problem(repository: Repository, index: RunIndex) -> str | None:
    """Return how the index differs from the tree at its tip."""
    for finding in index.integrity_findings():
        return finding.what
    tip, places = index.contents()
    tree = None if tip is None else repository.commit(tip).tree
    known = {(found.run.place, found.run.tree) for found in places}
    there = {(place, run.tree) for place, run in changed_runs(repository, None, tree) if run is not None}
    if known != there:
        return f"runs of the commit that it lacks: {len(there - known)}, that are not in it: {len(known - there)}"
    listed, readable = index.count(), len({found.identity.id for found in places if found.readable})
    return None if listed == readable else f"it lists {listed} of {readable} runs"


def _objects(repository: Repository, indexed: IndexedRun) -> Iterator[tuple[Severity, str]]:
    """Yield what is wrong with the objects of a run's directory, to be appended to its path."""
    if indexed.identity.problem is not None:
        yield Severity.DAMAGE, f": {indexed.identity.problem}"
    try:
        entries = [(entry.name.decode(errors="replace"), entry) for entry in repository.listing(indexed.run.tree)]
        for name, entry in list(entries):
            if name == OUTPUTS and entry.is_directory:
                below = repository.listing(entry.id)
                entries += [(f"{name}/{child.name.decode(errors='replace')}", child) for child in below]
    except StoreUnavailableError as error:
        yield Severity.DAMAGE, f": {error.message}"
        return
    for name, entry in entries:
        try:
            if entry.is_directory:
                repository.listing(entry.id)
            elif entry.is_file:
                repository.blob(entry.id)
        except StoreUnavailableError as error:
            yield Severity.DAMAGE, f"/{name}: {error.message}"


def _document(
    repository: Repository, index: RunIndex, check: DocumentCheck, indexed: IndexedRun, *, rebuild: bool
) -> Iterator[Finding]:
    try:
        document = repository.blob(indexed.run.document)
    except StoreUnavailableError:
        return  # reported with the other objects
    identity = indexed.identity
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
                elif not files.holds(pointer):
                    yield Severity.DAMAGE, f"{name}: its LFS content has the wrong size"
                elif not pointer.is_content_of(files.path(pointer)):
                    yield Severity.DAMAGE, f"{name}: its LFS content does not match its SHA-256"
            except OSError as error:
                yield Severity.DAMAGE, f"{name}: its LFS content cannot be read: {error.strerror}"
