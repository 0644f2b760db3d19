"""The importer ``kitt``: documents in files, JSON lines and run directories, from any version of KITT."""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, NoReturn

from kitt_core._builtin.lines import from_line
from kitt_core.errors import InvalidDocumentError
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins.records import ImportCandidate, Importer, Registry
from kitt_core.rundir.content import DOCUMENT, IDENTITY, Identity, noted_identity
from kitt_core.rundir.reading import LINK, FoundRun, find_runs, read_attachments, read_regular
from kitt_core.runs import codec

logger = logging.getLogger(__name__)

_ONE: Final = ".json"
_LINES: Final = ".jsonl"
_SEVERAL: Final = re.compile(rb"}\s*{")
_MOST_BYTES: Final = 1 << 30
"""The size of the largest document that is read: no store takes more."""


@hookimpl
def kitt_register_importer(registry: Registry[Importer]) -> None:
    """Register the importer."""
    registry.add(
        Importer(
            name="kitt",
            recognises=recognises,
            find=find,
            read_stream=read_stream,
            summary="KITT's documents: .json and .jsonl files, run directories and trees of them.",
        )
    )


def recognises(path: Path) -> bool:
    """Whether ``path`` is a directory, or a file whose suffix is that of JSON or JSON lines."""
    return path.is_dir() or path.suffix.lower() in {_ONE, _LINES}


def find(path: Path) -> Iterator[ImportCandidate]:
    """Yield the documents of a file or directory; those of a directory are sorted by path."""
    if path.is_dir():
        yield from _in_directory(path)
    elif path.suffix.lower() == _LINES:
        yield from _in_lines_file(path)
    else:
        yield ImportCandidate(str(path), partial(_in_file, str(path)), portable=True)


def read_stream(stream: BinaryIO, source: str) -> Iterator[ImportCandidate]:
    """Yield the stream's only document, or each line if the first line is an object and more follow."""
    first = _line(stream)
    following = _to_next_text(stream) if _is_object(first) else []
    if following and following[-1].strip():
        yield from _lines(chain([first, *following], iter(partial(_line, stream), b"")), source)
        return
    document = _bounded(b"".join([first, *following, stream.read(_MOST_BYTES)]))
    yield ImportCandidate(source, lambda: _only_one(document))


def _in_directory(root: Path) -> Iterator[ImportCandidate]:
    skipped: list[ImportCandidate] = []
    is_tree = False

    def skip(path: PurePosixPath, reason: str) -> None:
        if reason == LINK:
            logger.info("%s %s", root / path, reason)
        else:
            skipped.append(_refused(str(root / path), InvalidDocumentError(f"it {reason}")))

    for run in find_runs(root, on_skip=skip):
        is_tree = True
        yield _of_run_directory(run)
    if not is_tree:
        files = (path for path in root.iterdir() if path.suffix.lower() == _ONE and path.is_file())
        for path in sorted(files):
            yield from find(path)
    yield from skipped


def _of_run_directory(run: FoundRun) -> ImportCandidate:
    source = run.place(DOCUMENT)
    identity: Identity | None = None
    try:
        attachments = tuple(read_attachments(run))
        if not run.has_identity():
            read = partial(read_regular, source)
        else:
            document = run.document()
            read = partial(_given, document)
            identity = _noted_identity(run, document)
    except OSError as error:
        return _refused(source, error)
    return ImportCandidate(
        source,
        read,
        run_id=identity.id if identity else None,
        created_at=identity.created_at if identity else None,
        attachments=attachments,
        portable=True,
    )


def _noted_identity(run: FoundRun, document: bytes) -> Identity | None:
    """Return the identity in ``run.json`` if it is that of the document.

    Without ``run.json`` the id is derived from the path, which means nothing in another store.
    """
    try:
        identity = noted_identity(Path(run.place(IDENTITY)).read_bytes())
    except ValueError:
        identity = None
    if identity is None or identity.sha256 != codec.digest(document):
        logger.warning("%s is not the document that %s describes; it gets a new id", run.directory, IDENTITY)
        return None
    return identity


def _in_lines_file(path: Path) -> Iterator[ImportCandidate]:
    try:
        file = path.open("rb")
    except OSError as error:
        yield _refused(str(path), error)
        return
    with file:
        yield from _lines(iter(partial(_line, file), b""), str(path), portable=True)


def _lines(lines: Iterator[bytes], source: str, *, portable: bool = False) -> Iterator[ImportCandidate]:
    for number, line in enumerate(lines, 1):
        # Neither the byte-order mark nor the line ending is part of the document.
        document = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).rstrip(b"\r\n")
        if document.strip():
            yield ImportCandidate(f"{source}:{number}", partial(_given, from_line(document)), portable=portable)


def _to_next_text(stream: BinaryIO) -> list[bytes]:
    """Return the lines up to and including the next one that is not blank."""
    lines: list[bytes] = []
    while line := _line(stream):
        lines.append(line)
        if line.strip():
            break
    return lines


def _in_file(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return from_line(_bounded(file.read(_MOST_BYTES + 1)))


def _line(stream: BinaryIO) -> bytes:
    return _bounded(stream.readline(_MOST_BYTES + 1))


def _bounded(document: bytes) -> bytes:
    """Refuse a document that never ends, or might as well not."""
    if len(document) > _MOST_BYTES:
        raise InvalidDocumentError(f"it has more than {_MOST_BYTES >> 30} GiB, which no store takes")
    return document


def _only_one(document: bytes) -> bytes:
    if _SEVERAL.search(document) and not _is_object(document):
        raise InvalidDocumentError(
            "it seems to contain several documents, expected a single one, or one document per line",
            hint="pass the files as arguments, or convert them to lines with `jq -c .`",
        )
    return from_line(document)


def _is_object(line: bytes) -> bool:
    try:
        codec.parse(line)
    except InvalidDocumentError:
        return False
    return True


def _given(document: bytes) -> bytes:
    return document


def _refused(source: str, error: Exception) -> ImportCandidate:
    def read() -> NoReturn:
        raise error

    return ImportCandidate(source, read)
