"""Whether a repository is whole: git's objects, documents, LFS contents, and the index that is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kitt_core.errors import StoreUnavailableError
from kitt_core.rundir import DOCUMENT, OUTPUTS
from kitt_core.runs import Finding, Severity, StoredRun, codec
from kitt_core.storage import DocumentCheck
from kitt_karr.index import IndexedRun, RunIndex
from kitt_karr.lfs import LargeFiles
from kitt_karr.outputs import Output, read_outputs
from kitt_karr.repository import Repository
from kitt_karr.runs import runs_below

__all__ = ["verify_repository"]

Ask = Callable[[Callable[[RunIndex], Any]], Any]


def verify_repository(
    repository: Repository, large_files: LargeFiles, ask: Ask, *, rebuild: bool
) -> Iterator[Finding]:
    """Yield the findings of the index, then those of every run at the tip.

    Args:
        repository: The repository.
        large_files: Its LFS contents.
        ask: Asks the index.
        rebuild: Make the index anew, and report what was wrong with it as a notice.
    """
    repository.head()  # what can't even be opened is unavailable, not damaged
    try:
        ask(RunIndex.follow)
        if (problem := _index_problem(repository, ask)) is not None:
            if rebuild:
                ask(RunIndex.rebuild)
                yield Finding(None, Severity.NOTICE, f"the index was made anew: {problem}")
            else:
                yield Finding(None, Severity.DAMAGE, f"the index is wrong: {problem}")
        runs = ask(lambda index: list(index.all_places()))
    except StoreUnavailableError as error:
        yield Finding(None, Severity.DAMAGE, f"not all of it can be read: {error.message}")
        return
    check = DocumentCheck()
    first: dict[str, IndexedRun] = {}
    for indexed in runs:
        yield from _objects(repository, indexed)
        yield from _document(repository, ask, check, indexed, first, rebuild=rebuild)
        yield from _outputs(repository, large_files, indexed)


def _index_problem(repository: Repository, ask: Ask) -> str | None:
    """Return how the index differs from the tree at its tip."""
    findings = ask(lambda index: list(index.integrity_findings()))
    if findings:
        return str(findings[0].what)
    tip = ask(lambda index: index.tip())
    known = {(found.run.place, found.run.tree) for found in ask(lambda index: list(index.all_places()))}
    tree = None if tip is None else repository.commit(tip).tree
    there = {(run.place, run.tree) for run in runs_below(repository, tree)}
    if known != there:
        return f"{len(there - known)} runs of the commit are not in it, {len(known - there)} others are"
    listed = ask(lambda index: index.count())
    readable = ask(lambda index: len({found.identity.id for found in index.all_places() if found.readable}))
    return None if listed == readable else f"it lists {listed} runs of {readable}"


def _objects(repository: Repository, indexed: IndexedRun) -> Iterator[Finding]:
    """Yield what is wrong with the objects of a run's directory, its document excepted."""
    try:
        listing = repository.listing(indexed.run.tree)
        outputs = listing.find(OUTPUTS.encode())
        entries = [(entry.name.decode(errors="replace"), entry) for entry in listing]
        if outputs is not None and outputs.is_directory:
            below = repository.listing(outputs.id)
            entries += [(f"{OUTPUTS}/{entry.name.decode(errors='replace')}", entry) for entry in below]
    except StoreUnavailableError as error:
        yield Finding(indexed.identity.id, Severity.DAMAGE, f"{indexed.run.path}: {error.message}")
        return
    for name, entry in entries:
        if (entry.is_file or entry.is_directory) and (problem := repository.problem(entry)) is not None:
            yield Finding(indexed.identity.id, Severity.DAMAGE, f"{indexed.run.path}/{name}: {problem}")


def _document(
    repository: Repository,
    ask: Ask,
    check: DocumentCheck,
    indexed: IndexedRun,
    first: dict[str, IndexedRun],
    *,
    rebuild: bool,
) -> Iterator[Finding]:
    identity, path = indexed.identity, indexed.run.path
    if identity.problem is not None:
        yield Finding(identity.id, Severity.DAMAGE, f"{path}: {identity.problem}")
    original = first.setdefault(identity.id, indexed)
    if original is not indexed:
        same = original.run.document == indexed.run.document
        what = f"{path} has the id of {original.run.path} and is not listed"
        yield Finding(identity.id, Severity.NOTICE if same else Severity.DAMAGE, what)
        return
    try:
        document = repository.blob(indexed.run.document)
    except StoreUnavailableError:
        return  # named with the other objects
    run = StoredRun(identity.id, document, identity.created_at, identity.sha256)
    for finding in check(run):
        yield Finding(finding.run_id, finding.severity, f"{path}/{DOCUMENT}: {finding.what}")
    rows = check.rows
    if rows is not None and identity.sha256 == codec.digest(document):
        yield from ask(lambda index: list(index.compare_rows(run, rows, rebuild=rebuild)))


def _outputs(repository: Repository, large_files: LargeFiles, indexed: IndexedRun) -> Iterator[Finding]:
    try:
        outputs = read_outputs(repository, indexed.run.tree)
    except StoreUnavailableError:
        return  # named with the other objects
    for output in outputs:
        for severity, what in _contents(large_files, output):
            yield Finding(indexed.identity.id, severity, f"{indexed.run.path}/{OUTPUTS}/{output.name}: {what}")


def _contents(large_files: LargeFiles, output: Output) -> Iterator[tuple[Severity, str]]:
    for _, pointer in output.parts:
        if pointer is None:
            continue
        if not large_files.path(pointer).exists():
            yield Severity.NOTICE, "its LFS content is not here: `git lfs pull` fetches it"
        elif not large_files.holds(pointer):
            yield Severity.DAMAGE, "its LFS content has another size than its pointer says"
        else:
            try:
                problem = large_files.problem(pointer)
            except OSError as error:
                problem = f"cannot be read: {error.strerror}"
            if problem is not None:
                yield Severity.DAMAGE, f"its LFS content {problem}"
