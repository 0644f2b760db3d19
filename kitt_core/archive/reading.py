"""Reading an archive that anyone may have written: every member must be exactly what was announced.

Names in the archive are compared but never used: nothing is unpacked to a path that an archive chooses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Final

from attrs import field, frozen

from kitt_core.archive import records
from kitt_core.archive.members import (
    BLOCK,
    END_BLOCKS,
    RECORD_BLOCKS,
    USUAL_LIMITS,
    Distinct,
    Limits,
    Member,
    Unpacked,
    padding,
    read_header,
    shown,
)
from kitt_core.archive.records import ArchivedFile, Manifest, Marker, RunRecord
from kitt_core.archive.spool import Spool, no_room
from kitt_core.errors import InvalidArchiveError, InvalidDocumentError
from kitt_core.runs.checking import check_names
from kitt_core.runs.model import Attachment

__all__ = ["ArchiveReader", "ArchivedRun"]

_A_RUN: Final = f"a run ({records.ROOT}/…/{records.RECORD}) or {records.SUMS}"


@frozen
class ArchivedRun:
    """One run of an archive.

    Attributes:
        record: What the archive says about it.
        document: Its bytes, which match their digest.
        key: Identifies the run when the archive is read again.
        attachments: Its files; only those in a spool can be opened.
    """

    record: RunRecord
    document: bytes = field(repr=False)
    key: int
    attachments: tuple[Attachment, ...] = ()


SpoolFor = Callable[[RunRecord], Spool | None]
"""Returns where to keep the files of a run; None if they are only checked."""


class ArchiveReader:
    """Reads one archive once. Its memory use grows by only 16 bytes per run.

    Args:
        stream: The file, from its beginning.
        size: Its length.
        limits: How much it may unpack to, and how large a document may be.

    Attributes:
        marker: What the archive is; available with the first run.
        manifest: How much it contains; available after the last run.
    """

    marker: Marker
    manifest: Manifest

    def __init__(self, stream: BinaryIO, *, size: int, limits: Limits = USUAL_LIMITS) -> None:
        self._limits = limits
        self._unpacked = Unpacked(stream, size=size, limits=limits)
        self._sums, self._sums_size = hashlib.sha256(), 0
        self._directories, self._ids = Distinct(), Distinct()
        self._runs = self._files = self._document_bytes = self._file_bytes = 0

    def runs(self, spool_for: SpoolFor = lambda record: None) -> Iterator[ArchivedRun]:  # noqa: ARG005 - a default
        """Yield the runs in order; after the last one, the archive has been checked to its last byte.

        Raises:
            InvalidArchiveError: It is not as `ArchiveWriter` writes it.
            StoreUnavailableError: There is no room for its files.
        """
        member = self._next(records.MARKER)
        if member.path != records.MARKER:
            raise InvalidArchiveError(
                f"it is not an archive of KITT: its first member is not {records.MARKER}",
                hint="restore reads what `kitt storage backup` wrote",
            )
        self.marker = Marker.from_bytes(self._small(member, records.MOST_DESCRIPTION_BYTES))
        while (member := self._next(_A_RUN)).path != records.SUMS:
            yield self._run(member, spool_for)
        self._finish(member)

    def _run(self, member: Member, spool_for: SpoolFor) -> ArchivedRun:
        directory = _directory_of(member.path)
        content = self._small(member, records.MOST_RECORD_BYTES)
        record = RunRecord.from_bytes(member.path, content)
        try:
            check_names(file.name for file in record.attachments)
        except InvalidDocumentError as error:
            raise InvalidArchiveError(f"{member.path}: {error.message}") from error
        self._limits.check_document_size(member.path, record.size)
        self._directories.add(directory.lower())
        self._ids.add(record.id)
        document = b"".join(self._announced(f"{directory}/{records.DOCUMENT}", record.size, record.sha256))
        spool = spool_for(record)
        attachments = tuple(self._file(directory, file, spool) for file in record.attachments)
        self._runs += 1
        self._document_bytes += record.size
        key = int.from_bytes(hashlib.sha256(content).digest()[:8])
        return ArchivedRun(record, document, key, attachments)

    def _file(self, directory: str, file: ArchivedFile, spool: Spool | None) -> Attachment:
        chunks = self._announced(f"{directory}/{file.file}", file.size, file.sha256)
        self._files += 1
        self._file_bytes += file.size
        if spool is None:
            for _ in chunks:
                pass
            return Attachment(file.name, file.size, _not_kept)
        try:
            held = spool.take(chunks)
        except OSError as error:  # not the archive's fault, whose errors are InvalidArchiveError
            raise no_room(error) from error
        return Attachment(file.name, file.size, held.open)

    def _announced(self, path: str, size: int, digest: str) -> Iterator[bytes]:
        """Yield the content of the member that must come next; the digest is checked after the last part."""
        member = self._next(path)
        if member.path != path:
            raise InvalidArchiveError(f"member {shown(member.path)} was not announced, expected {path}")
        if member.size != size:
            raise InvalidArchiveError(f"{path} has {member.size} bytes, announced as {size}")
        found = hashlib.sha256()
        for chunk in self._content(member):
            found.update(chunk)
            yield chunk
        if found.hexdigest() != digest:
            raise InvalidArchiveError(
                f"{path} has the SHA-256 {found.hexdigest()[:12]}…, announced as {digest[:12]}…",
                hint="use another copy of the archive",
            )
        self._sum(path, digest)

    def _small(self, member: Member, most: int) -> bytes:
        if member.size > most:
            raise InvalidArchiveError(f"{shown(member.path)} has {member.size} bytes, expected at most {most}")
        content = b"".join(self._content(member))
        self._sum(member.path, hashlib.sha256(content).hexdigest())
        return content

    def _sum(self, path: str, digest: str) -> None:
        line = records.sum_line(digest, path)
        self._sums.update(line)
        self._sums_size += len(line)

    def _next(self, expected: str) -> Member:
        member = read_header(self._unpacked.take(BLOCK), expected)
        if member is None:
            raise InvalidArchiveError(f"it is truncated: it ends where {expected} should follow")
        self._unpacked.check_room(member.size)
        return member

    def _content(self, member: Member) -> Iterator[bytes]:
        yield from self._unpacked.chunks(member.size)
        if any(self._unpacked.take(padding(member.size))):
            raise InvalidArchiveError(f"there is data between {shown(member.path)} and the next member")

    def _finish(self, member: Member) -> None:
        expected, size = self._sums.hexdigest(), self._sums_size
        found = _digest(self._content(member))
        if member.size != size or found != expected:
            raise InvalidArchiveError(f"{records.SUMS} does not list the members and their digests")
        member = self._next(records.MANIFEST)
        if member.path != records.MANIFEST:
            raise InvalidArchiveError(f"member {shown(member.path)} follows the last run, not {records.MANIFEST}")
        self.manifest = Manifest.from_bytes(self._small(member, records.MOST_DESCRIPTION_BYTES))
        counted = (self._runs, self._files, self._document_bytes, self._file_bytes)
        noted = self.manifest
        if (noted.runs, noted.attachments, noted.document_bytes, noted.attachment_bytes) != counted:
            raise InvalidArchiveError(f"the counts in {records.MANIFEST} are wrong (runs read: {self._runs})")
        if noted.sums != expected:
            raise InvalidArchiveError(f"{records.MANIFEST} does not have the SHA-256 of {records.SUMS}")
        self._check_end()
        for what, keys in (("id", self._ids), ("directory", self._directories)):
            if keys.repeated():
                raise InvalidArchiveError(
                    f"two of its runs have the same {what}",
                    hint="`tar tzf FILE | sort | uniq -d` shows members that occur twice",
                )

    def _check_end(self) -> None:
        if any(self._unpacked.take(END_BLOCKS * BLOCK)):
            raise InvalidArchiveError(f"there is data after {records.MANIFEST}, which is an archive's last member")
        left = 0
        for chunk in self._unpacked.rest():
            left += len(chunk)
            if left >= RECORD_BLOCKS * BLOCK or any(chunk):
                raise InvalidArchiveError("there is data after the end of the tar file in the archive")


def _directory_of(path: str) -> str:
    root, _, rest = path.partition("/")
    name, _, leaf = rest.partition("/")
    if root != records.ROOT or leaf != records.RECORD or not records.is_safe_name(name):
        raise InvalidArchiveError(f"member {shown(path)} does not belong in an archive, expected {_A_RUN}")
    return f"{root}/{name}"


def _digest(chunks: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()


def _not_kept() -> BinaryIO:
    raise OSError("the store had the run when the archive was checked, so its files were skipped")
