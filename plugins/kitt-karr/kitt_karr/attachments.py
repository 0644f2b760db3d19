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
from pathlib import Path
from typing import Any, BinaryIO, Final

from attrs import Factory, define, frozen

from kitt_core import codec
from kitt_core.errors import InvalidDocumentError, StoreUnavailableError
from kitt_core.model import Attachment
from kitt_core.rundir.content import IDENTITY, OUTPUTS
from kitt_core.rundir.names import numbers_counted
from kitt_karr.git.lfs import LONGEST_POINTER, LargeFiles, Pointer
from kitt_karr.git.repository import Repository
from kitt_karr.git.trees import FILE, Entry
from kitt_karr.layout import is_gits_own

__all__ = ["CHUNK_BYTES", "Output", "StoredOutputs", "attachments_at_hand", "read_outputs", "store_outputs"]

logger = logging.getLogger(__name__)

CHUNK_BYTES: Final = 50 << 20
_LONGEST_NAME: Final = 240


@define
class StoredOutputs:
    """The attachments of one run, as they go into its tree.

    Attributes:
        entries: The files of ``outputs/``.
        large: Names of those that are pointers.
        notes: What ``run.json`` says of attachments that are not one file of their own name.
    """

    entries: list[Entry] = Factory(list)
    large: list[str] = Factory(list)
    notes: list[Mapping[str, Any]] = Factory(list)


@frozen
class Output:
    """An attachment as it is found in a tree: the files that make it, with the pointers that some of them are."""

    name: str
    parts: Sequence[tuple[Entry, Pointer | None]]


def store_outputs(repository: Repository, attachments: Sequence[Attachment], threshold: int) -> StoredOutputs:
    """Write attachments, durably; nothing refers to them yet. Those of more than ``threshold`` bytes go to LFS.

    Raises:
        StoreUnavailableError: One can't be read, or the disk is full.
    """
    stored, large_files = StoredOutputs(), LargeFiles(repository)
    taken = {attachment.name for attachment in attachments}
    for attachment in attachments:
        contents = list(_contents(repository, large_files, attachment, threshold))
        names = _file_names(attachment.name, len(contents), taken)
        for name, (blob, is_large) in zip(names, contents, strict=True):
            stored.entries.append(Entry(name.encode(), FILE, blob))
            stored.large += [name] if is_large else []
        if names != [attachment.name]:
            stored.notes.append({"name": attachment.name, "files": names})
    return stored


def _contents(
    repository: Repository, large_files: LargeFiles, attachment: Attachment, threshold: int
) -> Iterator[tuple[str, bool]]:
    """Yield the blobs that an attachment becomes, and whether they are pointers."""
    try:
        with attachment.open() as source:
            first = b""
            while len(first) <= threshold and (block := source.read(threshold + 1 - len(first))):
                first += block
            # What looks like a pointer would be taken for one: it goes where pointers point to.
            if len(first) <= threshold and Pointer.parse(first[: LONGEST_POINTER + 1]) is None:
                yield repository.add_blob(first), False
                return
            while first:
                yield repository.add_blob(large_files.add(first, source, CHUNK_BYTES).encode()), True
                first = source.read(1)
    except OSError as error:
        what = f"attachment {attachment.name} cannot be stored: {error.strerror or error}"
        raise StoreUnavailableError(what, hint="check that it can be read, and free space") from error


def _file_names(name: str, number: int, taken: Collection[str]) -> list[str]:
    """Return the names of an attachment's files, none of them git's own or another attachment's."""
    stem, mark = name, f"~{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    if is_gits_own(name) or len(name.encode()) > _LONGEST_NAME:
        short = name.encode()[:_LONGEST_NAME].decode(errors="ignore")
        stem = f"_{short.lstrip('.')[:200]}{mark}"
    while True:
        names = [stem] if number == 1 else [f"{stem}.part-{part:04}" for part in range(number)]
        if names == [name] or not set(names) & set(taken):
            return names
        stem += mark


def read_outputs(repository: Repository, run_tree: str) -> list[Output]:
    """Return the attachments of a run by name, whether or not their contents are there."""
    directory = repository.find(run_tree, (OUTPUTS.encode(),))
    if directory is None or not directory.is_directory:
        return []
    listing = repository.listing(directory.id)
    files = {entry.name.decode("utf-8", "surrogateescape"): entry for entry in listing if entry.is_file}
    notes = _notes(repository.file(run_tree, IDENTITY) or b"")
    found = {name: names for name, names in notes if names and files.keys() >= set(names)}
    used = {file for names in found.values() for file in names}
    found |= {file: [file] for file in files if file not in used}
    return [
        Output(name, [(files[file], Pointer.parse(repository.blob(files[file].id))) for file in found[name]])
        for name in sorted(found, key=numbers_counted)
    ]


def _notes(identity: bytes) -> Iterator[tuple[str, list[str]]]:
    """Yield what ``run.json`` notes of attachments; anyone may have written it."""
    with suppress(InvalidDocumentError):
        noted = codec.parse(identity).get("outputs")
        for note in noted if isinstance(noted, list) else ():
            match note:
                case {"name": str(name), "files": list(files)}:
                    yield name, [str(file) for file in files]


def attachments_at_hand(repository: Repository, run_tree: str, run: str) -> Iterator[Attachment]:
    """Yield the attachments of a run whose contents are on this machine, and warn of the others.

    Args:
        repository: The repository; it must be open when they are read.
        run_tree: The id of the run's directory.
        run: What the warning calls the run.
    """
    large_files = LargeFiles(repository)
    for output in read_outputs(repository, run_tree):
        size = 0
        opens: list[Callable[[], BinaryIO]] = []
        for entry, pointer in output.parts:
            if pointer is None:
                size += len(repository.blob(entry.id))
                opens.append(partial(_open_blob, repository, entry.id))
            elif large_files.holds(pointer):
                size += pointer.size
                opens.append(partial(_open_file, large_files.path(pointer)))
        if len(opens) == len(output.parts):
            yield Attachment(output.name, size, opens[0] if len(opens) == 1 else partial(_open_all, opens))
        else:
            logger.warning("%s: the content of outputs/%s is not here, only its LFS pointer", run, output.name)


def _open_blob(repository: Repository, identity: str) -> BinaryIO:
    return io.BytesIO(repository.blob(identity))


def _open_file(path: Path) -> BinaryIO:
    return path.open("rb")


def _open_all(opens: Sequence[Callable[[], BinaryIO]]) -> BinaryIO:
    return io.BufferedReader(_Chain(opens))


class _Chain(io.RawIOBase):
    """Several files, one after the other, of which one is open."""

    def __init__(self, opens: Sequence[Callable[[], BinaryIO]]) -> None:
        self._pending = list(reversed(opens))
        self._open: BinaryIO = io.BytesIO()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not (content := self._open.read(len(buffer))) and self._pending:
            self._open.close()
            self._open = self._pending.pop()()
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._open.close()
        super().close()
