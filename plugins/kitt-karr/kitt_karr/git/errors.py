"""What git, its files and dulwich refuse, as KITT's errors: one line, the culprit, the cure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kitt_core.errors import KittError, StoreUnavailableError

__all__ = ["bad_object", "file_in_the_way", "translated"]


@contextmanager
def translated(place: Path, what: str = "cannot be used") -> Iterator[None]:
    """Raise `StoreUnavailableError` for whatever goes wrong in the repository at ``place``.

    Args:
        place: The repository.
        what: What could not be done with it.
    """
    try:
        yield
    except KittError:
        raise
    except OSError as error:
        raise StoreUnavailableError(
            f"{place} {what}: {error.strerror or type(error).__name__}",
            hint="check free space, permissions and that the path is a git repository",
        ) from error
    except Exception as error:  # dulwich's errors have no root, zlib and struct raise their own
        raise StoreUnavailableError(
            f"{place} {what}: git data that cannot be read ({type(error).__name__})",
            hint=f"see what is wrong with `git -C {place} fsck`",
        ) from error


def bad_object(place: Path, identity: str, what: str) -> StoreUnavailableError:
    """Return the error for an object that is missing or damaged."""
    return StoreUnavailableError(
        f"object {identity[:12]} of {place} is {what}",
        hint=f"see `git -C {place} fsck`; a clone or a pushed copy has it still",
    )


def file_in_the_way(place: Path, name: str) -> StoreUnavailableError:
    """Return the error for a file that has the name of a directory that is needed."""
    return StoreUnavailableError(
        f"{place} has a file {name}, a directory is needed to write runs into", hint="move it away with `git mv`"
    )
