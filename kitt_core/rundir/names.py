"""The names of run directories: pure functions of untrusted text."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final

__all__ = [
    "INTERNAL_PREFIX",
    "LEVELS",
    "LONGEST_NAME",
    "alternative_name",
    "id_suffixes",
    "is_regular",
    "numbers_counted",
    "run_path",
    "safe_name",
    "timestamp_name",
]

LONGEST_NAME: Final = 100
"""The most bytes of UTF-8 that `safe_name` returns."""

LEVELS: Final = 3
"""How many levels a path from `run_path` has."""

INTERNAL_PREFIX: Final = ".kitt-"
"""The prefix of KITT's own files in a tree: the lock, unfinished and removed runs. No run's name begins so."""

_MARK: Final = 9  # bytes of "~" and eight digits
_MARKED: Final = re.compile(r"~[0-9a-f]{8}\Z")
_REFUSED: Final = frozenset('\\:<>"|?*')
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_DEVICES: Final = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])(?:\.|\Z)", re.IGNORECASE)
_REGULAR: Final = re.compile(r"\d{4}-\d\d-\d\d_\d{6}_.+")


def safe_name(text: str) -> str:
    """Return ``text`` as a directory name that is the same on every system.

    ``/`` becomes ``_``. If anything else has to change (names that a system reserves or truncates, control
    characters, more than `LONGEST_NAME` bytes, empty text), ``~`` and 8 hexadecimal digits of a hash of ``text``
    are appended, so that different texts keep different names. A text that already ends like this gets the hash
    as well.
    """
    flat = text.replace("/", "_")
    plain = unicodedata.normalize("NFC", "".join(map(_safe_character, flat)))
    plain = plain.strip(" .") if plain[:1] in " ." or plain[-1:] in " ." else plain
    if _DEVICES.match(plain):
        plain = f"_{plain}"
    if plain == flat and plain and len(plain.encode()) <= LONGEST_NAME and not _MARKED.search(plain):
        return plain
    short = plain.encode()[: LONGEST_NAME - _MARK].decode(errors="ignore").rstrip(" .")
    return f"{short or '_'}~{_hash(text)}"


def run_path(model: str, engine: str, timestamp: datetime, run_id: str) -> PurePosixPath:
    """Return where a run belongs, relative to the tree's root.

    Args:
        model: The document's ``model``; may be empty.
        engine: The document's ``engine``; may be empty.
        timestamp: When the run began, or else when it was saved; in UTC.
        run_id: The run's id.
    """
    leaf = f"{timestamp_name(timestamp)}_{_id_tail(run_id)}"
    return PurePosixPath(safe_name(model), safe_name(engine), leaf)


def timestamp_name(timestamp: datetime) -> str:
    """Return a time in the form that names use: ``2025-06-01_120000``."""
    return f"{timestamp.year:04}{timestamp:-%m-%d_%H%M%S}"  # the width of %Y depends on the platform


def alternative_name(name: str, run_id: str) -> str:
    """Return the name for a run whose usual name is taken by another run of the same second and id tail."""
    return f"{name}~{_hash(run_id)}"


def id_suffixes(run_id: str) -> tuple[str, str]:
    """Return the possible endings of a run's directory name: the usual one and that of the alternative name."""
    usual = f"_{_id_tail(run_id)}"
    return usual, alternative_name(usual, run_id)


def is_regular(name: str) -> bool:
    """Return whether a name has the form of `run_path`, so that its ending tells which run it may be."""
    return _REGULAR.fullmatch(name) is not None


def numbers_counted(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key for file names that compares the numbers in them numerically."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(part), part) if part.isascii() and part.isdigit() else (1, 0, part) for part in parts]


def _id_tail(run_id: str) -> str:
    return safe_name(run_id[-8:])


def _safe_character(character: str) -> str:
    refused = character in _REFUSED or unicodedata.category(character) in _REFUSED_CATEGORIES
    return "_" if refused else character


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
