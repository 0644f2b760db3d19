"""Attachments: a run's ``outputs/``, from files to git's objects and back.

Small ones are files in the tree and travel with every clone. Larger ones are LFS pointers; beyond 50 MB they are
cut into chunks, which ``run.json`` lists in order.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, Final

from kitt_core.errors import InvalidDocumentError, StoreUnavailableError
from kitt_core.rundir import IDENTITY, OUTPUTS, numbers_counted
from kitt_core.runs import Attachment, codec
from kitt_karr.git.lfs import LONGEST_POINTER, LargeFiles, Pointer
from kitt_karr.git.repository import Repository
from kitt_karr.git.trees import FILE, Entry
from kitt_karr.layout import is_gits_own

logger = logging.getLogger(__name__)

CHUNK_BYTES: Final = 50 << 20
_LONGEST_NAME: Final = 240


Outputs = Mapping[str, Sequence[tuple[Entry, Pointer | None]]]
"""Attachments by name: the files that each consists of, with the pointer if a file is one."""


def store_outputs(
    repository: Repository, attachments: Sequence[Attachment], threshold: int
) -> tuple[list[Entry], list[str], list[Mapping[str, Any]]]:
    """Write attachments, durably; those of more than ``threshold`` bytes go to LFS.

    Return the files of ``outputs/``, the names of the pointers among them, and what ``run.json`` says of splits.
    """
    entries: list[Entry] = []
    large: list[str] = []
    notes: list[Mapping[str, Any]] = []
    large_files, taken = LargeFiles(repository), {attachment.name for attachment in attachments}
    for attachment in attachments:
        contents = list(_contents(repository, large_files, attachment, threshold))
        names = _file_names(attachment.name, len(contents), taken)
        for name, (blob, is_large) in zip(names, contents, strict=True):
            entries.append(Entry(name.encode(), FILE, blob))
            large += [name] if is_large else []
        if names != [attachment.name]:
            notes.append({"name": attachment.name, "files": names})
    return entries, large, notes


def _contents(
    repository: Repository, large_files: LargeFiles, attachment: Attachment, threshold: int
) -> Iterator[tuple[str, bool]]:
    """Yield the blobs that an attachment becomes, and whether they are pointers."""
    try:
        with attachment.open() as source:
            first = b""
            while len(first) <= threshold and (block := source.read(threshold + 1 - len(first))):
                first += block
            # Content that looks like a pointer would be read as one: it goes to LFS itself.
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


def read_outputs(repository: Repository, run_tree: str) -> Outputs:
    """Return the attachments of a run by name, whether or not their contents are there."""
    directory = repository.find(run_tree, (OUTPUTS.encode(),))
    if directory is None or not directory.is_directory:
        return {}
    listing = repository.listing(directory.id)
    files = {entry.name.decode("utf-8", "surrogateescape"): entry for entry in listing if entry.is_file}
    found: dict[str, list[str]] = {}
    with suppress(InvalidDocumentError):  # run.json may have been edited by hand
        noted = codec.parse(repository.file(run_tree, IDENTITY) or b"").get("outputs")
        for note in noted if isinstance(noted, list) else ():
            match note:
                case {"name": str(name), "files": [_, *_] as parts} if files.keys() >= set(map(str, parts)):
                    found[name] = [str(part) for part in parts]
    used = {file for names in found.values() for file in names}
    found |= {file: [file] for file in files if file not in used}
    return {
        name: [(files[part], Pointer.parse(repository.blob(files[part].id))) for part in found[name]]
        for name in sorted(found, key=numbers_counted)
    }


def available_attachments(repository: Repository, run_tree: str, run: str | None = None) -> Iterator[Attachment]:
    """Yield a run's attachments whose contents are here; warn of others if ``run`` says whose they are."""
    large_files = LargeFiles(repository)
    for name, parts in read_outputs(repository, run_tree).items():
        if not all(pointer is None or large_files.path(pointer).exists() for _, pointer in parts):
            if run is not None:
                logger.warning("%s: the content of outputs/%s is not here, only its LFS pointer", run, name)
            continue
        size = sum(len(repository.blob(entry.id)) if large is None else large.size for entry, large in parts)
        opens = [partial(_open, repository, large_files, *part) for part in parts]
        pointer = parts[0][1]
        digest = pointer.oid if pointer is not None and len(parts) == 1 else None
        yield Attachment(name, size, opens[0] if len(opens) == 1 else partial(_open_all, opens), digest)


def _open(repository: Repository, large_files: LargeFiles, entry: Entry, pointer: Pointer | None) -> BinaryIO:
    if pointer is not None and not large_files.holds(pointer):
        raise OSError("its LFS content has the wrong size")
    return io.BytesIO(repository.blob(entry.id)) if pointer is None else large_files.path(pointer).open("rb")


def _open_all(opens: Sequence[Callable[[], BinaryIO]]) -> BinaryIO:
    return io.BufferedReader(_Chain(opens))


class _Chain(io.RawIOBase):
    """Several files read as one; one of them is open at a time."""

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
