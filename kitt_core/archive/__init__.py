"""The portable archive: one file that holds runs of any backend, whole and checkable with standard tools.

`ArchiveWriter` writes it to a stream, `ArchiveReader` reads it and believes nothing of it. docs/archive.md is the
format's description.
"""

from __future__ import annotations

from kitt_core.archive.members import Limits
from kitt_core.archive.reading import ArchivedRun, ArchiveReader
from kitt_core.archive.records import Manifest, Marker, RunRecord
from kitt_core.archive.spool import Spool
from kitt_core.archive.writing import ArchiveWriter

__all__ = ["ArchiveReader", "ArchiveWriter", "ArchivedRun", "Limits", "Manifest", "Marker", "RunRecord", "Spool"]
