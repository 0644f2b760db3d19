"""Which directory is the tree that a path means."""

from __future__ import annotations

from pathlib import Path

from kitt_core.config import TREE_NAME

__all__ = ["is_tree", "tree_of"]


def tree_of(path: Path) -> Path:
    """Return the tree that ``path`` means, as an absolute path: a later change of directory moves no store."""
    whole = path.absolute()
    return whole if whole.name == TREE_NAME else whole / TREE_NAME


def is_tree(path: Path) -> bool:
    """Whether ``path`` is a tree or a directory that holds one; false where that can't be looked at."""
    try:
        return tree_of(path).is_dir()
    except OSError:
        return False
