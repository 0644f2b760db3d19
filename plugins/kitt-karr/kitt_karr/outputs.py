"""Attachments: a run's ``outputs/``, from files to git's objects and back.

Small ones are files in the tree and travel with every clone. Larger ones are LFS pointers; beyond 50 MB they are
cut into chunks, which ``run.json`` lists in their order.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, Final

from attrs import frozen

from kitt_core.errors import InvalidDocumentError, StoreUnavailableError
from kitt_core.rundir import IDENTITY, OUTPUTS, numbers_counted
from kitt_core.runs import Attachment, codec
from kitt_karr.layout import is_gits_own
from kitt_karr.lfs import LONGEST_POINTER, LargeFiles, Pointer
from kitt_karr.repository import Repository
from kitt_karr.trees import FILE, Entry

__all__ = [
    "CHUNK_BYTES",
    "Output",
    "StoredOutputs",
    "attachment_of",
    "attachments_at_hand",
    "large_files_of",
    "read_outputs",
    "store_outputs",
]

logger = logging.getLogger(__name__)

CHUNK_BYTES: Final = 50 << 20
_LONGEST_NAME: Final = 240


@frozen
class StoredOutputs:
    """The attachments of one run, as they go into its tree.

    Attributes:
        entries: The files of ``outputs/``.
        large: Names of those that are pointers.
        notes: What ``run.json`` says of attachments that are not one file of their own name.
    """

    entries: Sequence[Entry] = ()
    large: Sequence[str] = ()
    notes: Sequence[Mapping[str, Any]] = ()


@frozen
class Output:
    """An attachment as it is found in a tree: the parts that make it.

    Attributes:
        name: Its name.
        parts: Their contents in order: an object of git's, or a pointer.
    """

    name: str
    parts: Sequence[tuple[Entry, Pointer | None]]


def store_outputs(
    repository: Repository, large_files: LargeFiles, attachments: Sequence[Attachment], threshold: int
) -> StoredOutputs:
    """Write attachments into the repository; nothing refers to them yet.

    Args:
        repository: For the small ones.
        large_files: For the others.
        attachments: Their names differ.
        threshold: How many bytes are small.

    Raises:
        StoreUnavailableError: One can't be read, or the disk is full.
    """
    entries: list[Entry] = []
    large: list[str] = []
    notes: list[Mapping[str, Any]] = []
    taken = {attachment.name for attachment in attachments}
    for attachment in attachments:
        contents = list(_contents(repository, large_files, attachment, threshold))
        names = _file_names(attachment.name, len(contents), taken)
        for name, (identity, is_large) in zip(names, contents, strict=True):
            entries.append(Entry(name.encode(), FILE, identity))
            if is_large:
                large.append(name)
        if names != [attachment.name]:
            notes.append({"name": attachment.name, "files": names})
    return StoredOutputs(entries, large, notes)


def _contents(
    repository: Repository, large_files: LargeFiles, attachment: Attachment, threshold: int
) -> Iterator[tuple[str, bool]]:
    """Yield the blobs that an attachment becomes, and whether they are pointers."""
    try:
        with attachment.open() as source:
            first = _read_fully(source, threshold + 1)
            # What looks like a pointer would be taken for one: it goes where pointers point to.
            if len(first) <= threshold and Pointer.parse(first[: LONGEST_POINTER + 1]) is None:
                yield repository.add_blob(first), False
                return
            while first:
                yield repository.add_blob(large_files.add(first, source, CHUNK_BYTES).encode()), True
                first = source.read(1)
    except OSError as error:
        raise StoreUnavailableError(
            f"attachment {attachment.name} cannot be stored: {error.strerror or error}",
            hint="check that it can be read, and free space",
        ) from error


def _read_fully(source: BinaryIO, most: int) -> bytes:
    blocks, missing = [], most
    while missing and (block := source.read(missing)):
        blocks.append(block)
        missing -= len(block)
    return b"".join(blocks)


def _file_names(name: str, number: int, taken: Collection[str]) -> list[str]:
    """Return the names of an attachment's files, none of them git's own or another attachment's."""
    stem = name
    if is_gits_own(name) or len(name.encode()) > _LONGEST_NAME:
        short = name.encode()[:_LONGEST_NAME].decode(errors="ignore")
        stem = f"_{short.lstrip('.')[:200]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    names = [stem] if number == 1 else [f"{stem}.part-{part:04}" for part in range(number)]
    if names == [name] or not set(names) & set(taken):
        return names
    return _file_names(f"{stem}~{hashlib.sha256(name.encode()).hexdigest()[:8]}", number, taken)


def read_outputs(repository: Repository, run_tree: str) -> list[Output]:
    """Return the attachments of a run by name, whether or not their contents are there."""
    listing = repository.listing(run_tree)
    directory = listing.find(OUTPUTS.encode())
    if directory is None or not directory.is_directory:
        return []
    files = {
        entry.name.decode("utf-8", "surrogateescape"): entry
        for entry in repository.listing(directory.id)
        if entry.is_file
    }
    noted = listing.find(IDENTITY.encode())
    notes = _notes(b"" if noted is None or not noted.is_file else repository.blob(noted.id))
    found = {name: names for name, names in notes if names and files.keys() >= set(names)}
    used = {file for names in found.values() for file in names}
    found |= {file: [file] for file in files if file not in used}
    return [
        Output(name, [(files[file], _pointer(repository, files[file])) for file in found[name]])
        for name in sorted(found, key=numbers_counted)
    ]


def _notes(identity: bytes) -> Iterator[tuple[str, list[str]]]:
    """Yield what ``run.json`` notes of attachments; anyone may have written it."""
    with suppress(InvalidDocumentError):
        noted = codec.parse(identity).get("outputs")
        for note in noted if isinstance(noted, list) else ():
            if (
                isinstance(note, dict)
                and isinstance(note.get("name"), str)
                and isinstance(note.get("files"), list)
            ):
                yield note["name"], [str(file) for file in note["files"]]


def _pointer(repository: Repository, entry: Entry) -> Pointer | None:
    return Pointer.parse(repository.blob(entry.id))


def attachment_of(repository: Repository, large_files: LargeFiles, output: Output) -> Attachment:
    """Return an output for reading; contents that are missing are an error when it is opened."""
    size = sum(
        len(repository.blob(entry.id)) if pointer is None else pointer.size for entry, pointer in output.parts
    )
    opens = [_opener(repository, large_files, entry, pointer) for entry, pointer in output.parts]
    return Attachment(output.name, size, opens[0] if len(opens) == 1 else partial(_open_all, opens))


def attachments_at_hand(
    repository: Repository, large_files: LargeFiles, run_tree: str, run: str
) -> Iterator[Attachment]:
    """Yield the attachments of a run whose contents are on this machine, and warn of the others.

    Args:
        repository: The repository.
        large_files: Its LFS contents.
        run_tree: The id of the run's directory.
        run: What the warning calls the run.
    """
    for output in read_outputs(repository, run_tree):
        if all(pointer is None or large_files.holds(pointer) for _, pointer in output.parts):
            yield attachment_of(repository, large_files, output)
        else:
            logger.warning("%s: the content of outputs/%s is not here, only its LFS pointer", run, output.name)


def large_files_of(repository: Repository) -> LargeFiles:
    """Return where LFS keeps the contents of a repository; git's configuration may have moved it."""
    return LargeFiles(repository.directory / (repository.setting("lfs", "storage") or "lfs"))


def _opener(
    repository: Repository, large_files: LargeFiles, entry: Entry, pointer: Pointer | None
) -> Callable[[], BinaryIO]:
    if pointer is None:
        return lambda: io.BytesIO(repository.blob(entry.id))
    return lambda: large_files.path(pointer).open("rb")


def _open_all(opens: Sequence[Callable[[], BinaryIO]]) -> BinaryIO:
    return io.BufferedReader(_Chain(opens))


class _Chain(io.RawIOBase):
    """Several files, one after the other, of which one is open."""

    def __init__(self, opens: Sequence[Callable[[], BinaryIO]]) -> None:
        self._pending = list(reversed(opens))
        self._open: BinaryIO | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._open is None:
                if not self._pending:
                    return 0
                self._open = self._pending.pop()()
            content = self._open.read(len(buffer))
            if content:
                buffer[: len(content)] = content
                return len(content)
            self._open.close()
            self._open = None

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
        super().close()
