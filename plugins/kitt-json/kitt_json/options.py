"""What the backend ``json`` can do and how it is opened: known without loading its store."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from attrs import field, frozen

from kitt_core.config import TREE_NAME
from kitt_core.storage import Capability

__all__ = ["CAPABILITIES", "JSONOptions", "is_tree", "tree_of"]

CAPABILITIES: Final = frozenset({Capability.DELETE, Capability.CONCURRENT, Capability.ATTACHMENTS})


@frozen
class JSONOptions:
    """Options of the backend ``json``.

    Attributes:
        path: The directory that holds ``kitt-results/``, or the tree itself if it has that name.
    """

    path: Path = field(
        default=Path(),
        converter=Path,
        metadata={"help": "Directory that holds kitt-results/, or the tree itself.", "target": "path"},
    )


def tree_of(path: Path) -> Path:
    """Return the tree that ``path`` means; absolute, so that changing the directory does not move the store."""
    whole = path.absolute()
    return whole if whole.name == TREE_NAME else whole / TREE_NAME


def is_tree(path: Path) -> bool:
    """Return whether ``path`` is a tree or a directory that holds one; False if that can't be found out."""
    try:
        return tree_of(path).is_dir()
    except OSError:
        return False
