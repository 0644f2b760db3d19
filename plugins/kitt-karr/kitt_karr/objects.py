"""Git's objects as bytes: what is hashed and written. Pure functions, without a repository.

Reading, which has to understand packs and deltas, is dulwich's; writing is so little that it stands here, where
it can be made durable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from attrs import frozen

__all__ = ["BLOB", "COMMIT", "TREE", "Commit", "encode_commit", "object_id", "parse_commit"]

BLOB: Final = b"blob"
TREE: Final = b"tree"
COMMIT: Final = b"commit"

_LATEST: Final = 253402300799  # seconds: the end of the year 9999


@frozen
class Commit:
    """What KITT reads of a commit.

    Attributes:
        id: Its object id.
        tree: The id of its root tree.
        parents: The ids of the commits before it.
        time: When it was committed.
    """

    id: str
    tree: str
    parents: tuple[str, ...]
    time: datetime


def object_id(kind: bytes, content: bytes) -> str:
    """Return the id that git gives an object."""
    head = b"%s %d\0" % (kind, len(content))
    return hashlib.sha1(head + content, usedforsecurity=False).hexdigest()


def encode_commit(
    tree: str, parents: Sequence[str], author: bytes, committer: bytes, moment: datetime, message: str
) -> bytes:
    """Return the content of a commit.

    Args:
        tree: The id of the root tree.
        parents: The ids of the commits before it.
        author: ``Name <address>``.
        committer: The same.
        moment: When it is made; written in UTC.
        message: Its first line, and more after an empty one.
    """
    seconds = int(moment.timestamp())
    lines = [b"tree " + tree.encode()]
    lines += [b"parent " + parent.encode() for parent in parents]
    lines += [b"author %s %d +0000" % (author, seconds), b"committer %s %d +0000" % (committer, seconds)]
    return b"\n".join([*lines, b"", message.rstrip("\n").encode("utf-8", "replace") + b"\n"])


def parse_commit(commit_id: str, content: bytes) -> Commit:
    """Return what KITT needs of a commit's content.

    Raises:
        ValueError: It is no commit.
    """
    tree, parents, time = "", [], 0
    for line in content.partition(b"\n\n")[0].split(b"\n"):
        key, _, value = line.partition(b" ")
        if key == b"tree" and not tree:
            tree = value.decode("ascii")
        elif key == b"parent":
            parents.append(value.decode("ascii"))
        elif key == b"committer":
            time = _seconds(value)
    if not tree:
        raise ValueError(f"object {commit_id} is no commit")
    return Commit(commit_id, tree, tuple(parents), datetime.fromtimestamp(min(max(0, time), _LATEST), UTC))


def _seconds(identity: bytes) -> int:
    try:
        return int(identity.rpartition(b">")[2].split()[0])
    except (ValueError, IndexError):  # commits of strange tools: when it was made is not known
        return 0
