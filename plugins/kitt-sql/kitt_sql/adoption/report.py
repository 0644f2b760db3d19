"""What an adoption did and what it could not keep as it was: a line each, however many runs there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["Report"]

_NAMED: Final = 3


class Report:
    """Counts remarks by their kind and remembers the first few culprits of each."""

    def __init__(self) -> None:
        self._kinds: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def remark(self, kind: str, culprit: object) -> None:
        """Note that ``culprit`` is one of those that ``kind`` describes."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        named = self._kinds.setdefault(kind, [])
        if len(named) < _NAMED:
            named.append(str(culprit))

    def lines(self) -> Iterator[str]:
        """Yield a line per kind: what they are, how many, and the first of them."""
        for kind, named in self._kinds.items():
            count = self._counts[kind]
            yield f"{kind}: {count} ({', '.join(named)}{', …' if count > len(named) else ''})"
