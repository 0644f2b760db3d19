"""What ``verify`` looks for in any store: changed documents, duplicates, contradictory counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kitt_core.errors import InvalidDocumentError
from kitt_core.runs import codec
from kitt_core.runs.model import Finding, RunRows, Severity, StoredRun
from kitt_core.runs.rows import counts_of, derive_rows

__all__ = ["DocumentCheck", "verify_documents"]


def verify_documents(runs: Iterable[StoredRun]) -> Iterator[Finding]:
    """Yield findings for runs whose document is damaged, a duplicate, or contradicts itself."""
    check = DocumentCheck()
    for run in runs:
        yield from check(run)


class DocumentCheck:
    """Checks documents one after another and remembers their digests to find duplicates.

    Attributes:
        rows: The rows of the document that was checked last, None if it is damaged. A store that keeps rows
            compares them with its own.
    """

    def __init__(self) -> None:
        self.rows: RunRows | None = None
        self._seen: dict[str, str] = {}

    def __call__(self, run: StoredRun) -> Iterator[Finding]:
        """Yield the findings of one run."""
        self.rows = None
        found = codec.digest(run.document)
        if run.sha256 and found != run.sha256:
            what = f"the document's SHA-256 is {found[:16]}…, but {run.sha256[:16]}… was saved"
            yield Finding(run.id, Severity.DAMAGE, what)
            return
        try:
            document = codec.parse(run.document)
            self.rows = derive_rows(document, strict=False)
        except InvalidDocumentError as error:
            yield Finding(run.id, Severity.DAMAGE, f"the document cannot be read: {error.message}")
            return
        first = self._seen.setdefault(found, run.id)
        if first != run.id:
            yield Finding(run.id, Severity.NOTICE, f"the document is the same as that of run {first}")
        yield from _contradictions(run.id, document, self.rows)


def _contradictions(run_id: str, document: Mapping[str, Any], rows: RunRows) -> Iterator[Finding]:
    wrong = [
        f"{name} is {codec.shown(document[name])}, but the results give {count}"
        for name, count in counts_of(document, rows.benchmarks).items()
        if document.get(name) is not None and document[name] != count
    ]
    if wrong:
        yield Finding(run_id, Severity.NOTICE, "; ".join(wrong))
    for problem in rows.problems:
        yield Finding(run_id, Severity.NOTICE, problem)
