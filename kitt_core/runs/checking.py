"""The checks that every run passes on its way into a store: made once, here, for all backends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from kitt_core.errors import InvalidDocumentError, RunExistsError
from kitt_core.runs import codec
from kitt_core.runs.ids import check_run_id, new_run_id
from kitt_core.runs.model import Attachment, CheckedRun
from kitt_core.runs.rows import derive_rows
from kitt_core.runs.timestamps import to_utc

__all__ = ["check_names", "check_run", "once_each"]

_LONGEST_FILE_NAME: Final = 255


def check_run(
    document: bytes | str | Mapping[str, Any],
    *,
    run_id: str | None = None,
    created_at: datetime | None = None,
    attachments: Iterable[Attachment] = (),
    strict: bool = True,
) -> CheckedRun:
    """Return the run as a store takes it: encoded, checked, identified and derived.

    Args:
        document: The bytes that are the document, or what `codec.encode` makes bytes of.
        run_id: The run's id; a new UUIDv7 without it.
        created_at: When the run was first saved; now without it. Naive is UTC.
        attachments: Files that belong to the run.
        strict: Refuse what DESIGN §3 refuses; otherwise take any JSON object.

    Raises:
        InvalidDocumentError: The document, its id or the name of an attachment cannot be taken.
    """
    data, parsed = codec.encode_and_parse(document)
    files = tuple(attachments)
    check_names(file.name for file in files)
    return CheckedRun(
        id=new_run_id() if run_id is None else check_run_id(run_id),
        document=data,
        created_at=datetime.now(UTC) if created_at is None else _in_utc(created_at),
        sha256=codec.digest(data),
        rows=derive_rows(parsed, strict=strict),
        attachments=files,
    )


def check_names(names: Iterable[str]) -> None:
    """Refuse what cannot be a file's name somewhere: a run that one store took can be copied into any other.

    Raises:
        InvalidDocumentError: One of the names, or one that is given twice.
    """
    seen: set[str] = set()
    for name in names:
        plain = name not in {"", ".", ".."} and name.isprintable() and not {"/", "\\"} & set(name)
        if not plain or len(name.encode()) > _LONGEST_FILE_NAME:
            raise InvalidDocumentError(
                f"attachment {name!r} cannot be a file's name, expected 1 to {_LONGEST_FILE_NAME} bytes without"
                " directory and control characters"
            )
        if name in seen:
            raise InvalidDocumentError(f"attachment {name!r} is given twice, expected names that differ")
        seen.add(name)


def _in_utc(created_at: datetime) -> datetime:
    try:
        return to_utc(created_at)
    except ValueError as error:
        raise InvalidDocumentError(f"created_at: {error}") from error


def once_each(runs: Sequence[CheckedRun]) -> list[CheckedRun]:
    """Return the runs without repetitions; no store has to expect an id twice in a batch."""
    first: dict[str, CheckedRun] = {}
    for run in runs:
        if first.setdefault(run.id, run).sha256 != run.sha256:
            raise RunExistsError(
                f"run {run.id} is given twice, with different content"
                f" (SHA-256 {first[run.id].sha256[:12]}… and {run.sha256[:12]}…)",
                hint="give each document an id of its own",
            )
    return list(first.values())
