"""Writing objects into a repository so that they are whole and on the disk before anything refers to them.

Not dulwich's writer: it takes a lock file per object, and a killed process leaves it there. From then on nobody
could save a run that shares the object (the same ``hardware.json``), and ``git fsck`` calls it an error.
"""

from __future__ import annotations

import os
import secrets
import zlib
from pathlib import Path
from typing import Final

from kitt_core.files import sync_directory
from kitt_karr.objects import object_id

__all__ = ["write_file", "write_object"]

# Trees of hashes do not compress, and `git gc` compresses everything anew.
_LEVEL: Final = 1


def write_object(objects: Path, kind: bytes, content: bytes) -> str:
    """Write one object, durably, and return its id.

    Args:
        objects: The repository's ``objects`` directory.
        kind: ``blob``, ``tree`` or ``commit``.
        content: Its content.
    """
    identity = object_id(kind, content)
    directory = objects / identity[:2]
    target = directory / identity[2:]
    try:
        os.utime(target)  # a `git gc` at this moment must see that it is wanted
    except FileNotFoundError:
        pass
    except PermissionError:  # another user's: it is there, and that is all
        return identity
    else:
        return identity
    if not directory.is_dir():
        directory.mkdir(exist_ok=True)
        sync_directory(objects)
    # Git's own name for unfinished objects: fsck passes it over, gc removes it when it is old.
    unfinished = directory / f"tmp_obj_{secrets.token_hex(6)}"
    packed = zlib.compress(b"%s %d\0" % (kind, len(content)) + content, _LEVEL)
    try:
        write_file(unfinished, packed, mode=0o444)
        unfinished.rename(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return identity


def write_file(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a new file and force it to the disk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    with open(os.open(path, flags, mode), "wb") as file:  # noqa: PTH123 - Path.open takes no flags
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
