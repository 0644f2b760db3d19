"""The vocabulary of the archive: its members' names, and the three JSON objects that describe its content.

Writing and reading are defined side by side: ``from_bytes`` reads what ``as_bytes`` writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Self

from attrs import frozen

from kitt_core.errors import InvalidArchiveError, InvalidDocumentError
from kitt_core.runs import codec
from kitt_core.runs.ids import check_run_id
from kitt_core.runs.timestamps import format_utc, parse_timestamp

__all__ = [
    "DOCUMENT",
    "FORMAT",
    "MANIFEST",
    "MARKER",
    "MOST_DESCRIPTION_BYTES",
    "MOST_DOCUMENT_BYTES",
    "MOST_RECORD_BYTES",
    "OUTPUTS",
    "RECORD",
    "ROOT",
    "SUMS",
    "VERSION",
    "ArchivedFile",
    "Manifest",
    "Marker",
    "RunRecord",
    "is_safe_name",
    "member_name",
    "sum_line",
]

FORMAT: Final = "kitt-archive"
VERSION: Final = 1

MARKER: Final = "kitt-archive.json"
MANIFEST: Final = "manifest.json"
SUMS: Final = "SHA256SUMS"
# A run is laid out as in a directory of the json backend, so an unpacked archive is such a store.
ROOT: Final = "kitt-results"
RECORD: Final = "run.json"
DOCUMENT: Final = "metrics.json"
OUTPUTS: Final = "outputs"

MOST_DESCRIPTION_BYTES: Final = 64 << 10
"""The size limit of the marker and of the manifest."""
MOST_RECORD_BYTES: Final = 16 << 20
"""The size limit of a run's record: a hundred thousand attachments."""
MOST_DOCUMENT_BYTES: Final = 1 << 30
"""The size limit of a document, which is read as a whole; SQLite and PostgreSQL take nothing larger."""

_MOST_PARTS: Final = 1 << 20
"""How many texts, arrays and objects a description may contain; a record has eight for each attachment."""
_LONGEST_PLAIN: Final = 80
_LONGEST_KEPT: Final = 40
# Lower case only, because some file systems do not distinguish case; no Windows device, no dot at either end.
_PLAIN: Final = re.compile(r"(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|\Z))[a-z0-9](?:[a-z0-9._-]*[a-z0-9_-])?")
_SAFE: Final = re.compile(r"(?!\.)[A-Za-z0-9._~-]{1,100}(?<!\.)")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def member_name(text: str, position: int) -> str:
    """Return the name of a run's directory or of a file in the archive: ``text``, if that is safe everywhere.

    Args:
        text: The run's id, or the attachment's name.
        position: Its number in the archive, or in the run; it keeps substituted names distinct.
    """
    if len(text) <= _LONGEST_PLAIN and _PLAIN.fullmatch(text):
        return text
    kept = re.sub(r"[^a-z0-9_-]+", "_", text[:_LONGEST_KEPT].lower()).strip("_-")
    return f"{kept or 'x'}~{position}"


def is_safe_name(name: str) -> bool:
    """Return whether a directory or file in an archive may have this name, whoever wrote the archive."""
    return _SAFE.fullmatch(name) is not None


def sum_line(digest: str, path: str) -> bytes:
    """Return a member's line in `SUMS`, as ``sha256sum`` writes it."""
    return f"{digest}  {path}\n".encode()


@frozen
class Marker:
    """The archive's first member: what this is.

    Attributes:
        created_at: When the backup began.
        kitt_version: The version of kitt-core that wrote it.
        backend: The name of the backend that the runs come from, for people.
        version: The version of the format.
    """

    created_at: datetime
    kitt_version: str
    backend: str
    version: int = VERSION

    def as_bytes(self) -> bytes:
        """Return the member's content."""
        return _json(
            {
                "format": FORMAT,
                "version": self.version,
                "created_at": format_utc(self.created_at),
                "kitt_version": self.kitt_version,
                "backend": self.backend,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the member.

        Raises:
            InvalidArchiveError: It belongs to another format, or to a newer KITT.
        """
        fields = _Fields(MARKER, data)
        if fields.get("format", str) != FORMAT:
            raise InvalidArchiveError(f"{MARKER}: the format is not {FORMAT!r}")
        version = fields.number("version")
        if version != VERSION:
            raise InvalidArchiveError(
                f"the archive has version {version} of the format, this KITT reads {VERSION}",
                hint="restore it with the KITT that wrote it, or a newer one",
            )
        return cls(fields.time("created_at"), fields.get("kitt_version", str), fields.get("backend", str))


@frozen
class ArchivedFile:
    """An attachment: its own name, where it is (relative to the run's directory), and what it holds."""

    name: str
    file: str
    size: int
    sha256: str


@frozen
class RunRecord:
    """A run's first member: it announces what follows, so that nothing else can follow.

    ``size`` and ``sha256`` are the document's.
    """

    id: str
    created_at: datetime
    sha256: str
    size: int
    attachments: tuple[ArchivedFile, ...] = ()

    def as_bytes(self) -> bytes:
        """Return the member's content."""
        files = [
            {"name": file.name, "file": file.file, "size": file.size, "sha256": file.sha256}
            for file in self.attachments
        ]
        return _json(
            {
                "id": self.id,
                "created_at": format_utc(self.created_at),
                "sha256": self.sha256,
                "size": self.size,
                "attachments": files,
            }
        )

    @classmethod
    def from_bytes(cls, path: str, data: bytes) -> Self:
        """Read the member at ``path``.

        Raises:
            InvalidArchiveError: It announces something impossible.
        """
        fields = _Fields(path, data)
        try:
            run_id = check_run_id(fields.get("id", str))
        except InvalidDocumentError as error:
            raise InvalidArchiveError(f"{path}: {error.message}") from error
        size = fields.number("size")
        if size > MOST_DOCUMENT_BYTES:
            raise InvalidArchiveError(f"{path}: its document has {size} bytes, expected at most 1 GiB")
        files = tuple(_file(path, value) for value in fields.get("attachments", list))
        for names in ([file.name for file in files], [file.file.lower() for file in files]):
            if len(set(names)) != len(names):
                raise InvalidArchiveError(f"{path}: two attachments have the same name")
        return cls(run_id, fields.time("created_at"), fields.digest("sha256"), size, files)


@frozen
class Manifest:
    """The archive's last member: how much there is. An archive without it was cut off.

    Attributes:
        runs: How many runs there are.
        attachments: How many attachments they have together.
        document_bytes: The size of all documents.
        attachment_bytes: The size of all attachments.
        left_out: How many runs were damaged when the backup was made, and are not in it.
        sums: The SHA-256 of `SUMS`.
    """

    runs: int
    attachments: int
    document_bytes: int
    attachment_bytes: int
    left_out: int
    sums: str

    def as_bytes(self) -> bytes:
        """Return the member's content."""
        return _json(
            {
                "runs": self.runs,
                "attachments": self.attachments,
                "document_bytes": self.document_bytes,
                "attachment_bytes": self.attachment_bytes,
                "left_out": self.left_out,
                "sha256sums": self.sums,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the member.

        Raises:
            InvalidArchiveError: It is not a manifest.
        """
        fields = _Fields(MANIFEST, data)
        return cls(
            fields.number("runs"),
            fields.number("attachments"),
            fields.number("document_bytes"),
            fields.number("attachment_bytes"),
            fields.number("left_out"),
            fields.digest("sha256sums"),
        )


def _file(path: str, value: object) -> ArchivedFile:
    fields = _Fields(f"{path}: an attachment", value)
    file = fields.get("file", str)
    directory, _, name = file.partition("/")
    if directory != OUTPUTS or not is_safe_name(name):
        raise InvalidArchiveError(f"{path}: {file!r} is not a path for an attachment, expected {OUTPUTS}/NAME")
    return ArchivedFile(fields.get("name", str), file, fields.number("size"), fields.digest("sha256"))


class _Fields:
    """A JSON object whose fields are checked as they are read; unknown ones are ignored."""

    def __init__(self, where: str, content: object) -> None:
        self._where = where
        if isinstance(content, bytes):
            try:
                content = codec.parse(content, most_parts=_MOST_PARTS)
            except InvalidDocumentError as error:
                raise InvalidArchiveError(f"{where}: {error.message}") from error
        if not isinstance(content, Mapping):
            raise InvalidArchiveError(f"{where} is not a JSON object")
        self._values: Mapping[str, Any] = content

    def get(self, name: str, kind: type[Any]) -> Any:
        value = self._values.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self._wrong(name, value)
        return value

    def number(self, name: str) -> int:
        value = self.get(name, int)
        if not 0 <= value < 1 << 63:
            raise self._wrong(name, value)
        return int(value)

    def digest(self, name: str) -> str:
        value = self.get(name, str)
        if not _DIGEST.fullmatch(value):
            raise self._wrong(name, value)
        return str(value)

    def time(self, name: str) -> datetime:
        try:
            return parse_timestamp(str(self.get(name, str)))
        except ValueError as error:
            raise self._wrong(name, self._values.get(name)) from error

    def _wrong(self, name: str, value: object) -> InvalidArchiveError:
        return InvalidArchiveError(f"{self._where}: {name} is missing or wrong ({codec.shown(value)})")


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
