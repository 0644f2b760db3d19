"""Whether a text came twice, of millions."""

from __future__ import annotations

import hashlib
import os
from array import array

__all__ = ["Distinct"]


class Distinct:
    """Remembers 8 bytes of each text, salted, so that nobody can make two alike."""

    def __init__(self) -> None:
        self._salt = os.urandom(16)
        # In parts, because the question makes a set of each.
        self._seen = [array("Q") for _ in range(256)]

    def add(self, text: str) -> None:
        """Note one."""
        key = hashlib.blake2b(text.encode(), digest_size=8, key=self._salt).digest()
        self._seen[key[0]].append(int.from_bytes(key))

    def repeated(self) -> bool:
        """Return whether one was noted twice."""
        return any(len(set(keys)) != len(keys) for keys in self._seen)
