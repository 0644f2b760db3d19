"""What git, its files and dulwich refuse, as KITT's errors: one line, the culprit, the cure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kitt_core.errors import KittError, StoreUnavailableError

__all__ = ["bad_object", "file_in_the_way", "translated"]


@contextmanager
def translated(place: Path, what: str = "cannot be used") -> Iterator[None]:
    """Raise `StoreUnavailableError` for whatever goes wrong at ``place``; ``what`` says what could not be done."""
    try:
        yield
    except KittError:
        raise
    except OSError as error:
        text = f"{place} {what}: {error.strerror or type(error).__name__}"
        hint = "check free space, permissions and that the path is a git repository"
        raise StoreUnavailableError(text, hint=hint) from error
    except Exception as error:  # dulwich's errors have no root, zlib and struct raise their own
        text = f"{place} {what}: git data that cannot be read ({type(error).__name__})"
        raise StoreUnavailableError(text, hint=f"see what is wrong with `git -C {place} fsck`") from error


def bad_object(place: Path, identity: str, what: str) -> StoreUnavailableError:
    """Return the error for an object that is missing or damaged."""
    hint = f"see `git -C {place} fsck`; a clone or a pushed copy has it still"
    return StoreUnavailableError(f"object {identity[:12]} of {place} is {what}", hint=hint)


def file_in_the_way(place: Path, names: tuple[bytes, ...]) -> StoreUnavailableError:
    """Return the error for a file that has the name of a directory that is needed."""
    name = b"/".join(names).decode(errors="replace")
    text = f"{place} has a file {name}, a directory is needed to write runs into"
    return StoreUnavailableError(text, hint="move it away with `git mv`")
