"""What happened to the requests that has an influence on the figures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Final

from attrs import define, field

from kitt_core.engine import GenerationRequest
from kitt_engines.openai.answer import Answer

__all__ = ["BROKEN", "Happenings"]

_log = logging.getLogger(__name__)

BROKEN: Final = "a broken connection"
"""The reason for a retry that is no HTTP status."""


@define
class _Counts:
    again: int = 0
    reasons: set[str] = field(factory=set)
    without: Counter[tuple[str, ...]] = field(factory=Counter)
    ended_early: int = 0


class Happenings:
    """Counts them, for the whole session and since they were last told.

    Attributes:
        retries: How often a request was sent again.
    """

    def __init__(self) -> None:
        self.retries = 0
        self._ended_early = 0
        self._unknown_ends = 0
        self._untold = _Counts()

    @property
    def ended_early(self) -> int | None:
        """Answers shorter than was asked for; None if an answer did not tell."""
        return None if self._unknown_ends else self._ended_early

    def sent_again(self, reasons: Iterable[str]) -> None:
        """Note that a request was answered after one or more retries for ``reasons``."""
        self._untold.again += 1
        self._untold.reasons.update(reasons)

    def asked_without(self, fields: Iterable[str]) -> None:
        """Note that a request was answered after the server had refused ``fields`` of it."""
        self._untold.without[tuple(sorted(fields))] += 1

    def ended(self, request: GenerationRequest, answer: Answer) -> None:
        """Note how an answer ended: by the server's count, or without one by the reason that it gives."""
        if not request.ignore_eos:
            return
        if answer.usage is not None:
            early = answer.usage.completion_tokens < request.max_tokens
        elif answer.finish_reason is not None:
            early = answer.finish_reason == "stop"
        else:
            self._unknown_ends += 1
            return
        if not early:
            return
        if not self._ended_early:
            _log.warning("answers end before %d tokens; the server decides their length", request.max_tokens)
        self._ended_early += 1
        self._untold.ended_early += 1

    def told(self) -> list[str]:
        """Return a line for each kind of thing since the last call."""
        counts, self._untold = self._untold, _Counts()
        lines = []
        if counts.again:
            why = _or(sorted(counts.reasons))
            whose = _their(counts.again)
            lines.append(f"{_were(counts.again)} sent again after {why}; {whose} pauses are in TTFT")
        for fields, times in sorted(counts.without.items()):
            lines.append(
                f"{_were(times)} asked again without {', '.join(fields)}; that is in {_their(times)} TTFT"
            )
        if counts.ended_early:
            answers = "1 answer" if counts.ended_early == 1 else f"{counts.ended_early} answers"
            lines.append(f"{answers} ended before the length that was asked for")
        return lines


def _or(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _were(count: int) -> str:
    return "1 request was" if count == 1 else f"{count} requests were"


def _their(count: int) -> str:
    return "its" if count == 1 else "their"
