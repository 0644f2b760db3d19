"""The portable archive: one file with complete runs of any backend, which standard tools can check.

`ArchiveWriter` writes it to a stream, `ArchiveReader` reads it and trusts nothing in it. docs/archive.md describes
the format.
"""

from __future__ import annotations

from kitt_core.archive.members import Limits
from kitt_core.archive.reading import ArchivedRun, ArchiveReader
from kitt_core.archive.records import Manifest, Marker, RunRecord
from kitt_core.archive.spool import Spool
from kitt_core.archive.writing import ArchiveWriter

__all__ = ["ArchiveReader", "ArchiveWriter", "ArchivedRun", "Limits", "Manifest", "Marker", "RunRecord", "Spool"]
