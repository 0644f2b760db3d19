"""How run directories are called: pure functions from texts that anyone may have written."""

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
"""Bytes of UTF-8 that `safe_name` returns at most."""

LEVELS: Final = 3
"""How many levels a path of `run_path` has."""

INTERNAL_PREFIX: Final = ".kitt-"
"""What begins like this in a tree is KITT's own: lock, unfinished and removed runs. No run is called so."""

_MARK: Final = 9  # bytes of "~" and eight digits
_MARKED: Final = re.compile(r"~[0-9a-f]{8}\Z")
_REFUSED: Final = frozenset('\\:<>"|?*')
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_DEVICES: Final = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])(?:\.|\Z)", re.IGNORECASE)
_REGULAR: Final = re.compile(r"\d{4}-\d\d-\d\d_\d{6}_.+")


def safe_name(text: str) -> str:
    """Return ``text`` as the name of one directory, the same on every system.

    ``/`` becomes ``_``. Where anything else has to change (names that a system reserves or cuts, control
    characters, more than `LONGEST_NAME` bytes, nothing at all), ``~`` and 8 hexadecimal digits of a hash of
    ``text`` follow, so that different texts keep different names. A text that ends so by itself gets the hash
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
        timestamp: When the run began, else when it was saved; in UTC.
        run_id: The run's id.
    """
    leaf = f"{timestamp_name(timestamp)}_{_id_tail(run_id)}"
    return PurePosixPath(safe_name(model), safe_name(engine), leaf)


def timestamp_name(timestamp: datetime) -> str:
    """Return a time as KITT writes it in names: ``2025-06-01_120000``."""
    return f"{timestamp.year:04}{timestamp:-%m-%d_%H%M%S}"  # the width of %Y depends on the platform


def alternative_name(name: str, run_id: str) -> str:
    """Return the name of a run whose usual name another run of the same second and id tail has."""
    return f"{name}~{_hash(run_id)}"


def id_suffixes(run_id: str) -> tuple[str, str]:
    """Return how the directory of a run may end: usually, and under its alternative name."""
    usual = f"_{_id_tail(run_id)}"
    return usual, alternative_name(usual, run_id)


def is_regular(name: str) -> bool:
    """Return whether a run's directory is called as `run_path` does it: then its end tells which run it may be."""
    return _REGULAR.fullmatch(name) is not None


def numbers_counted(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts names of files with the numbers in them counting as numbers."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(part), part) if part.isascii() and part.isdigit() else (1, 0, part) for part in parts]


def _id_tail(run_id: str) -> str:
    return safe_name(run_id[-8:])


def _safe_character(character: str) -> str:
    refused = character in _REFUSED or unicodedata.category(character) in _REFUSED_CATEGORIES
    return "_" if refused else character


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
