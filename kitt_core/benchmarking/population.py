"""Which of the counted tokens were seen, so that the time between them can be given."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from kitt_core.engine import Usage

__all__ = ["FEWER_THAN_TWO", "ONE_READ", "SeenTokens", "most_shared"]

FEWER_THAN_TWO: Final = "no request produced two output tokens in two chunks"
ONE_READ: Final = "most chunks arrived together with others in one read, so they have no times of their own"
_BYTES_PER_CHARACTER: Final = 4
"""A token is at least one byte, and a character at most four."""
_WITHOUT_TEXT: Final = 16
"""Tokens without text that any answer may have: its end, a template's marks."""


@frozen
class SeenTokens:
    """The tokens of an answer that arrived, which TPOT is about.

    Attributes:
        count: How many there are: fewer than the output tokens if the server counts reasoning that it hides.
        reason: Why there is no time per token, None if there is one.
    """

    count: int
    reason: str | None = None

    @classmethod
    def of(
        cls,
        tokens: int,
        usage: Usage | None,
        *,
        chunks: int,
        reasoning_chunks: int,
        shared_reads: int,
        length: int,
    ) -> SeenTokens:
        """Return the tokens that were seen.

        Args:
            tokens: Output tokens, whoever counted them.
            usage: The engine's count, None if it gave none.
            chunks: Chunks of text that arrived.
            reasoning_chunks: How many of them were reasoning.
            shared_reads: How many of them were delivered together with the chunk before.
            length: Characters that arrived.
        """
        seen = tokens
        if usage is not None and usage.reasoning_tokens and not reasoning_chunks:
            seen -= usage.reasoning_tokens
        if seen < 2 or chunks < 2:  # one chunk says nothing about the time between its tokens
            return cls(seen, FEWER_THAN_TWO)
        if most_shared(chunks, shared_reads):
            return cls(seen, ONE_READ)
        if usage is not None and reasoning_chunks and not usage.reasoning_tokens and seen < chunks:
            return cls(seen, "the server streams reasoning tokens, but does not count them")
        if usage is not None and seen > _BYTES_PER_CHARACTER * length + _WITHOUT_TEXT:
            return cls(seen, "the server counts more tokens than the text that arrived can have")
        return cls(seen)


def most_shared(chunks: int, shared_reads: int) -> bool:
    """Return whether most gaps between chunks are between two that one read delivered."""
    return 2 * shared_reads > chunks - 1
