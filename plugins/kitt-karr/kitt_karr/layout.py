"""What lies where in a KARR repository. Pure functions: names, fixed texts, the files of a run.

The directory of a run and its files are those of `kitt_core.rundir`. Added for git are: other names where git
would take one for its own, and attributes that keep every byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kitt_core.rundir import IDENTITY, is_regular, path_of, render_files, safe_name

if TYPE_CHECKING:
    from kitt_core.runs import CheckedRun


OWN_DIRECTORY: Final = "kitt"
"""KITT's directory inside the git directory: its lock and the index; never part of what is pushed."""
ATTRIBUTES: Final = ".gitattributes"
FINGERPRINT: Final = "hardware_fingerprint.txt"
"""Its presence at the root marks a repository as KARR's."""

ROOT_ATTRIBUTES: Final = b"""\
# Results are kept byte for byte: git converts no line ending here, whatever core.autocrlf says.
# JSON and Markdown still show as text in `git diff`. Runs with large outputs name these in a file of their own.
* -text
*.json -text
*.md -text
"""
# An older KITT's attributes (`text`, `-diff`, lfs for every .gz) would apply to runs added to its repository.
_RUN_DEFAULTS: Final = b"* -text !diff !filter !merge\n"
_LFS: Final = b"filter=lfs diff=lfs merge=lfs -text"
README: Final = b"""\
# KARR: results of AI inference benchmarks

Each directory `{model}/{engine}/{timestamp}_{id}/` is a run: `metrics.json` is its document, `summary.md` a
summary for people.
Written by KITT; read it with `kitt --backend=karr:///path/of/this storage list`, or look at the files.

Large outputs are kept in Git LFS: `git lfs pull` fetches them.
"""
# Names that git, on one operating system or another, takes for its own files: it refuses them in a tree.
_HFS_IGNORES: Final = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_GITS_OWN: Final = re.compile(r"\.git|gi[a-z0-9]{0,6}~\d", re.IGNORECASE)


def recognises(path: Path) -> bool:
    """Whether ``path`` looks like a repository that KITT made, or a clone of one; judged by names alone."""
    try:
        bare = (path / "HEAD").is_file() and (path / "objects").is_dir()
        if bare and not (path / ".git").exists():
            return path.name.startswith("karr") or (path / OWN_DIRECTORY).is_dir()
        return (path / ".git").exists() and (path / FINGERPRINT).is_file()
    except OSError:
        return False


def is_gits_own(name: str) -> bool:
    """Whether git might take a name for ``.git``, ``.gitattributes`` and the like, or their short forms."""
    return _GITS_OWN.match(_HFS_IGNORES.sub("", name)) is not None


def place_of(run: CheckedRun) -> tuple[bytes, ...]:
    """Return where a run belongs, relative to the repository's root."""
    # Git reads "git~1" as a name of its own; with a hash at its end it does not. safe_name appends one to every
    # name that it has to change, which the NUL makes it do.
    names = (safe_name(f"{name}\0") if is_gits_own(name) else name for name in path_of(run).parts)
    return tuple(name.encode() for name in names)


def message_of(verb: str, places: Sequence[tuple[bytes, ...]]) -> str:
    """Return the message of a commit that adds (``Add``) or deletes (``Delete``) the runs at some places."""
    if len(places) == 1:
        return f"{verb} results: {_title(places[0])}"
    return "\n".join([f"{verb} results: {len(places)} runs", "", *map(_title, places)])


def _title(place: tuple[bytes, ...]) -> str:
    # {model}/{engine}/{timestamp}, as older KITTs write it: the id is in the path that the commit adds.
    *above, name = (part.decode(errors="replace") for part in place or (b".",))
    return "/".join([*above, "_".join(name.split("_")[:2]) if is_regular(name) else name])


def files_of(run: CheckedRun, notes: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Return the files of a run by name, without its outputs; ``notes`` are what ``run.json`` says of those."""
    files = render_files(run)
    if notes:
        identity = {**json.loads(files[IDENTITY]), "outputs": list(notes)}
        files[IDENTITY] = (json.dumps(identity, indent=2) + "\n").encode()
    return files


def run_attributes(large: Sequence[str], *, root_is_ours: bool) -> bytes | None:
    """Return the attributes of a run whose ``large`` outputs are LFS pointers, None if the root's are enough."""
    if not large and root_is_ours:
        return None
    lines = [_pattern(f"/outputs/{name}") + b" " + _LFS + b"\n" for name in large]
    return b"".join([_RUN_DEFAULTS, *lines])


def _pattern(path: str) -> bytes:
    """Return a pattern that matches one path and nothing else."""
    escaped = re.sub(r"([\\*?\[\]])", r"\\\1", path)
    if re.search(r'[\s"\\]', escaped) or not escaped.isascii():
        quoted = escaped.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}"'.encode()
    return escaped.encode()
