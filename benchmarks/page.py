"""A page whose tables are replaced between marks, ``<!-- figures: NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["marks_of", "write_page"]

_MARKED: Final = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def marks_of(text: str) -> list[str]:
    """Return the names of a page's marks, in order."""
    return [match[2] for match in _MARKED.finditer(text)]


def write_page(path: Path, tables: Mapping[str, str]) -> None:
    """Replace what is between the marks of the given names; everything else stays."""

    def replaced(match: re.Match[str]) -> str:
        return f"{match[1]}{tables[match[2]]}\n{match[3]}" if match[2] in tables else match[0]

    path.write_text(_MARKED.sub(replaced, path.read_text(encoding="utf-8")), encoding="utf-8")
