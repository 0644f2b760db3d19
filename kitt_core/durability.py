"""Making names last: what a directory holds survives a power cut only once the directory itself was forced out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["sync_directory"]


def sync_directory(directory: Path) -> None:
    """Force to the disk which names a directory has; on Windows, where that can't be asked for, do nothing.

    Raises:
        OSError: It can't be opened or written.
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
