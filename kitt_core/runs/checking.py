"""The checks that every run passes on its way into a store, in one place for all backends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from attrs import field, frozen

from kitt_core.errors import InvalidDocumentError, RunExistsError
from kitt_core.runs import codec
from kitt_core.runs.ids import check_run_id, new_run_id
from kitt_core.runs.model import Attachment, CheckedRun, RunRows
from kitt_core.runs.rows import derive_rows
from kitt_core.runs.timestamps import to_utc

__all__ = ["CheckedDocument", "check_document", "check_names", "check_run", "once_each"]

_LONGEST_FILE_NAME: Final = 255


@frozen
class CheckedDocument:
    """What `check_run` makes of a document alone; a run is this with an id, a time and attachments."""

    document: bytes = field(repr=False)
    sha256: str
    rows: RunRows = field(repr=False)

    def as_run(
        self,
        *,
        run_id: str | None = None,
        created_at: datetime | None = None,
        attachments: Iterable[Attachment] = (),
    ) -> CheckedRun:
        """Return the run of this document; the arguments are those of `check_run`.

        Raises:
            InvalidDocumentError: The id or the name of an attachment is refused.
        """
        files = tuple(attachments)
        check_names(file.name for file in files)
        return CheckedRun(
            id=new_run_id() if run_id is None else check_run_id(run_id),
            document=self.document,
            created_at=datetime.now(UTC) if created_at is None else _in_utc(created_at),
            sha256=self.sha256,
            rows=self.rows,
            attachments=files,
        )


def check_document(document: bytes | str | Mapping[str, Any], *, strict: bool = True) -> CheckedDocument:
    """Return what `check_run` makes of a document alone, which takes nearly all of its time.

    Raises:
        InvalidDocumentError: The document is refused.
    """
    data, parsed = codec.encode_and_parse(document, strict=strict)
    return CheckedDocument(data, codec.digest(data), derive_rows(parsed, strict=strict))


def check_run(
    document: bytes | str | Mapping[str, Any],
    *,
    run_id: str | None = None,
    created_at: datetime | None = None,
    attachments: Iterable[Attachment] = (),
    strict: bool = True,
) -> CheckedRun:
    """Return the run in the form that stores accept: encoded and checked, with its id and its derived rows.

    Args:
        document: The document's bytes, or anything that `codec.encode` turns into bytes.
        run_id: The run's id; a new UUIDv7 by default.
        created_at: When the run was first saved; now by default. A naive time is read as UTC.
        attachments: Files that belong to the run.
        strict: Refuse fields of wrong types; otherwise accept any JSON object.

    Raises:
        InvalidDocumentError: The document, its id or the name of an attachment is refused.
    """
    checked = check_document(document, strict=strict)
    return checked.as_run(run_id=run_id, created_at=created_at, attachments=attachments)


def check_names(names: Iterable[str]) -> None:
    """Refuse names that are not valid file names on every system, so that any store can copy from any other.

    Raises:
        InvalidDocumentError: A name is not valid, or is given twice.
    """
    seen: set[str] = set()
    for name in names:
        plain = name not in {"", ".", ".."} and name.isprintable() and not {"/", "\\"} & set(name)
        if not plain or len(name.encode()) > _LONGEST_FILE_NAME:
            raise InvalidDocumentError(
                f"attachment {name!r} is not a valid file name, expected 1 to {_LONGEST_FILE_NAME} bytes without"
                " a directory or control characters"
            )
        if name in seen:
            raise InvalidDocumentError(f"attachment {name!r} is given twice, expected distinct names")
        seen.add(name)


def _in_utc(created_at: datetime) -> datetime:
    try:
        return to_utc(created_at)
    except ValueError as error:
        raise InvalidDocumentError(f"created_at: {error}") from error


def once_each(runs: Sequence[CheckedRun]) -> list[CheckedRun]:
    """Return the runs without repetitions, so that no store gets the same id twice in one batch.

    Raises:
        RunExistsError: Two runs have the same id and different content.
    """
    first: dict[str, CheckedRun] = {}
    for run in runs:
        if first.setdefault(run.id, run).sha256 != run.sha256:
            raise RunExistsError(
                f"run {run.id} is given twice, with different content"
                f" (SHA-256 {first[run.id].sha256[:12]}… and {run.sha256[:12]}…)",
                hint="give each document its own id",
            )
    return list(first.values())
