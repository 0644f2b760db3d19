"""Archives as somebody might write them: ours, taken apart and put together again with something wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from attrs import evolve, frozen

from kitt_core.archive import ArchiveWriter, Marker
from kitt_core.archive.members import USUAL_LIMITS, Limits
from kitt_core.archive.reading import ArchiveReader
from kitt_core.runs import Attachment, StoredRun
from kitt_core.runs.codec import digest
from kitt_core.service.transfer.backup import back_up
from kitt_core.service.transfer.copying import CopyReport
from kitt_core.service.transfer.restoring import OnConflict, check_archive, restore_runs
from kitt_core.storage import ResultStore
from kitt_core.storage.memory import MemoryStore

from .contents import filled

CREATED = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)
MARKER = Marker(CREATED, "0.1.0", "memory")


@frozen
class Part:
    """A member of a tar file, with what else its header may say."""

    path: str
    content: bytes
    type: bytes = tarfile.REGTYPE
    link: str = ""
    size: int | None = None


def stored(run_id: str, document: bytes) -> StoredRun:
    return StoredRun(run_id, document, CREATED, digest(document))


def written(*runs: tuple[StoredRun, list[Attachment]]) -> bytes:
    """Return the archive of these runs."""
    stream = io.BytesIO()
    with ArchiveWriter(stream, MARKER) as archive:
        for run, files in runs:
            archive.add(run, files)
        archive.finish()
    return stream.getvalue()


def read(data: bytes, limits: Limits = USUAL_LIMITS) -> list[StoredRun]:
    """Return the runs of an archive, which is read to its end."""
    reader = ArchiveReader(io.BytesIO(data), size=len(data), limits=limits)
    found = [
        StoredRun(run.record.id, run.document, run.record.created_at, run.record.sha256) for run in reader.runs()
    ]
    assert reader.manifest.runs == len(found)
    return found


def parts_of(data: bytes) -> list[Part]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [Part(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


def tar_of(parts: Iterable[Part]) -> bytes:
    blocks = []
    for part in parts:
        info = tarfile.TarInfo(part.path)
        info.type, info.linkname = part.type, part.link
        info.size = len(part.content) if part.size is None else part.size
        blocks += [info.tobuf(tarfile.USTAR_FORMAT), part.content, bytes(-len(part.content) % 512)]
    return b"".join([*blocks, bytes(1024)])


def packed(parts: Iterable[Part]) -> bytes:
    return gzip.compress(tar_of(parts))


def summed(parts: Iterable[Part]) -> list[Part]:
    """Return the parts with sums and manifest made to fit them: only what was changed on purpose is wrong."""
    kept = [part for part in parts if part.path not in {"SHA256SUMS", "manifest.json"}]
    sums = "".join(f"{hashlib.sha256(part.content).hexdigest()}  {part.path}\n" for part in kept).encode()
    documents = [part for part in kept if part.path.endswith("/metrics.json")]
    files = [part for part in kept if "/outputs/" in part.path]
    manifest = {
        "runs": sum(part.path.endswith("/run.json") for part in kept),
        "attachments": len(files),
        "document_bytes": sum(len(part.content) for part in documents),
        "attachment_bytes": sum(len(part.content) for part in files),
        "left_out": 0,
        "sha256sums": hashlib.sha256(sums).hexdigest(),
    }
    return [*kept, Part("SHA256SUMS", sums), Part("manifest.json", json.dumps(manifest).encode())]


def changed(parts: Iterable[Part], ending: str, change: Callable[[Part], Part | list[Part]]) -> list[Part]:
    """Return the parts, those whose path ends so changed."""
    result: list[Part] = []
    for part in parts:
        new = change(part) if part.path.endswith(ending) else part
        result += new if isinstance(new, list) else [new]
    return result


def with_json(part: Part, **fields: Any) -> Part:
    """Return a part whose JSON object has other values; None removes one."""
    values = json.loads(part.content) | fields
    return evolve(
        part, content=json.dumps({name: value for name, value in values.items() if value is not None}).encode()
    )


def archive_of(store: ResultStore) -> io.BytesIO:
    """Return the backup of a store."""
    stream = io.BytesIO()
    back_up(store, stream)
    return stream


def five() -> io.BytesIO:
    """Return the backup of five small runs."""
    with MemoryStore() as source:
        return archive_of(filled(source))


def restore(
    stream: io.BytesIO,
    target: ResultStore,
    on_conflict: OnConflict = OnConflict.ERROR,
    limits: Limits = USUAL_LIMITS,
) -> CopyReport:
    archive = check_archive(stream, target, on_conflict=on_conflict, limits=limits)
    return restore_runs(stream, archive, target, on_conflict=on_conflict, limits=limits)
