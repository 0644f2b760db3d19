"""Git's objects: their ids, and writing them so that they are on the disk before anything refers to them.

Reading, which involves packs and deltas, is left to dulwich. Its writer is not used: it takes a lock file per
object, and one that a killed process leaves behind would prevent every later run from storing the same object.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import zlib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from kitt_core.files import sync_directory, write_file

if TYPE_CHECKING:
    from dulwich.config import Config

BLOB: Final = b"blob"
TREE: Final = b"tree"
COMMIT: Final = b"commit"

_LATEST: Final = 253402300799  # seconds: the end of the year 9999
_COMPRESSION: Final = 1  # trees of hashes hardly compress, and `git gc` compresses everything again
_DEFAULTS: Final = {"NAME": b"KITT", "EMAIL": b"kitt@localhost"}
_NOT_IN_NAMES: Final = re.compile(rb"[<>\n\0]+")


@frozen
class Commit:
    """What KITT reads of a commit. Its time is when it was committed; 1970 if that cannot be read."""

    id: str
    tree: str
    parents: tuple[str, ...]
    time: datetime

    @classmethod
    def parse(cls, commit_id: str, content: bytes) -> Commit:
        """Read the content of a commit; raise `ValueError` if it is something else."""
        head = content.partition(b"\n\n")[0].decode("utf-8", "replace")
        tree = re.search(r"^tree ([0-9a-f]{40})$", head, re.MULTILINE)
        if tree is None:
            raise ValueError(f"object {commit_id} is not a commit")
        parents = re.findall(r"^parent ([0-9a-f]{40})$", head, re.MULTILINE)
        # Commits made by other tools may have any time, or none.
        stated = re.search(r"^committer .*> *(\d+)", head, re.MULTILINE)
        seconds = min(int(stated[1]), _LATEST) if stated else 0
        return cls(commit_id, tree[1], tuple(parents), datetime.fromtimestamp(seconds, UTC))


def object_id(kind: bytes, content: bytes) -> str:
    """Return the id that git gives an object."""
    return hashlib.sha1(b"%s %d\0" % (kind, len(content)) + content, usedforsecurity=False).hexdigest()


def person(config: Config, role: str, moment: datetime) -> bytes:
    """Return the text of a commit that says who made it (``AUTHOR`` or ``COMMITTER``) and when.

    Without a name in the environment or git's configuration, as far as dulwich follows it, it is KITT's own.
    """
    found = []
    for part, default in _DEFAULTS.items():
        given = os.fsencode(os.environ.get(f"GIT_{role}_{part}", ""))
        for section in (role.lower().encode(), b"user"):
            with suppress(KeyError):
                given = given or config.get((section,), part.lower().encode())
        found.append(_NOT_IN_NAMES.sub(b"", given).strip() or default)
    return b"%s <%s>" % tuple(found) + b" %d +0000" % int(moment.timestamp())


def write_object(objects: Path, kind: bytes, content: bytes) -> str:
    """Write one object of a kind into a repository's ``objects`` directory, durably, and return its id."""
    identity = object_id(kind, content)
    directory = objects / identity[:2]
    target = directory / identity[2:]
    with suppress(FileNotFoundError):
        with suppress(PermissionError):  # it is another user's, but it exists, which is enough
            os.utime(target)  # a `git gc` that runs now must see that it is in use
        return identity
    if not directory.is_dir():
        directory.mkdir(exist_ok=True)
        sync_directory(objects)
    # Git's own name for unfinished objects: fsck ignores it, gc removes it when it is old.
    unfinished = directory / f"tmp_obj_{secrets.token_hex(6)}"
    packed = zlib.compress(b"%s %d\0" % (kind, len(content)) + content, _COMPRESSION)
    try:
        write_file(unfinished, [packed], mode=0o444)
        unfinished.rename(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return identity
