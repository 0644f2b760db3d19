"""What ``run.json`` says of a run's ``outputs/``, and whether the files are still those that were saved.

Directories of older KITTs say nothing of them. There, only a compressed file tells whether it is damaged.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from kitt_core.rundir.content import OUTPUTS, SavedFile
from kitt_core.rundir.reading import FoundRun, read_attachments
from kitt_core.runs.model import Attachment, Severity

__all__ = ["check_outputs"]

_CHUNK: Final = 1 << 20


def check_outputs(run: FoundRun) -> Iterator[tuple[Severity, str]]:
    """Yield what is wrong with the files of a run, as texts to append to its path.

    Raises:
        OSError: ``run.json`` or the directory can't be read.
    """
    try:
        saved = run.saved_files()
    except ValueError as error:
        yield Severity.DAMAGE, str(error)
        return
    there = {file.name: file for file in read_attachments(run)}
    if saved is None:
        yield from _unlisted(there.values())
        return
    for name, file in saved.items():
        what = _difference(there[name], file)
        if what is not None:
            yield Severity.DAMAGE, f"{OUTPUTS}/{name} {what}"
    for name in there.keys() - saved.keys():
        yield Severity.NOTICE, f"{OUTPUTS}/{name} was not saved with the run"


def _difference(found: Attachment, saved: SavedFile) -> str | None:
    if found.size != saved.size:
        return f"has {found.size} bytes, {saved.size} were saved"
    try:
        with found.open() as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # typeshed: BinaryIO lacks readinto
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    same = digest == saved.sha256
    return None if same else f"has the SHA-256 {digest[:16]}…, but {saved.sha256[:16]}… was saved"


def _unlisted(files: Iterable[Attachment]) -> Iterator[tuple[Severity, str]]:
    for file in files:
        try:
            with file.open() as stream:
                _read_through(stream if not file.name.endswith(".gz") else gzip.GzipFile(fileobj=stream))
        except (OSError, EOFError, zlib.error) as error:
            what = getattr(error, "strerror", None) or str(error)
            yield Severity.DAMAGE, f"{OUTPUTS}/{file.name} cannot be read: {what}"


def _read_through(stream: BinaryIO | gzip.GzipFile) -> None:
    while stream.read(_CHUNK):
        pass
