"""How much an archive may make of itself, whoever wrote it: a few packed kilobytes can become gigabytes."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from kitt_core.errors import InvalidArchiveError

__all__ = ["BYTES_PER_PART", "MAX_DOCUMENT_MIB", "MAX_RATIO", "USUAL_LIMITS", "Limits"]

MAX_RATIO: Final = 250
"""Times of its size that an archive may unpack to; what benchmarks write packs to a fiftieth at most."""
MAX_DOCUMENT_MIB: Final = 64
"""MiB that one document may have: far more than a run's results take, and little enough to be parsed anywhere."""
BYTES_PER_PART: Final = 32
"""A document may hold one text, array or object per so many bytes of what it may have. Each takes up to 250 bytes
of memory when it is parsed, whereas two bytes are enough to write one."""

_ANY_RATIO: Final = 1100  # deflate makes at most 1032 bytes of one


@frozen
class Limits:
    """What is still read.

    Attributes:
        ratio: How many times its size the archive may unpack to, beyond what any archive may.
        document_mib: How many MiB a document may have; how many texts, arrays and objects follows from it.
    """

    ratio: int = MAX_RATIO
    document_mib: int = MAX_DOCUMENT_MIB

    @property
    def document_parts(self) -> int:
        """Texts, arrays and objects that a document may hold."""
        return (self.document_mib << 20) // BYTES_PER_PART

    def check_document_size(self, where: str, size: int) -> None:
        """Refuse a document that is announced to be too large.

        Raises:
            InvalidArchiveError: It is.
        """
        if size > self.document_mib << 20:
            raise InvalidArchiveError(
                f"{where}: a document of {size} bytes; at most {self.document_mib} MiB are read",
                hint=_document_hint(size),
            )

    def too_many_parts(self, where: str, possible: int) -> InvalidArchiveError:
        """Return what is said of a document with more parts than `document_parts`.

        Args:
            where: The run.
            possible: How many there are at most.
        """
        return InvalidArchiveError(
            f"{where}: its document holds more than {self.document_parts} texts, arrays and objects",
            hint=_document_hint(possible * BYTES_PER_PART),
        )

    def unpacks_to_too_much(self) -> InvalidArchiveError:
        """Return what is said of an archive that unpacks to more than it may."""
        return InvalidArchiveError(
            f"it unpacks to more than {self.ratio} times its size",
            hint=f"if you know where it comes from, give --max-ratio {_ANY_RATIO}, which is enough for any",
        )


USUAL_LIMITS: Final = Limits()


def _document_hint(size: int) -> str:
    # A power of two, so that a few documents that need more and more are no more than a few attempts.
    enough = 1 << (-(-size >> 20) - 1).bit_length()
    return f"if you know where it comes from, give --max-document {enough}"
