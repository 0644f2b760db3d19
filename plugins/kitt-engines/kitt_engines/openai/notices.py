"""Notices: what happened to requests and affects the figures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Final

from attrs import define, field

from kitt_core.engine import GenerationRequest
from kitt_engines.openai.stream import Answer

__all__ = ["BROKEN_CONNECTION", "Notices"]

_log = logging.getLogger(__name__)

BROKEN_CONNECTION: Final = "a broken connection"
"""The reason for a retry without an HTTP status."""
_LEFT_OUT: Final = "latencies leave out such requests, throughput does not"


@define
class _Counts:
    answers: int = 0
    retried: int = 0
    reasons: set[str] = field(factory=set)
    without: Counter[tuple[str, ...]] = field(factory=Counter)
    ended_early: int = 0


class Notices:
    """Counts what happens, for the whole session and since the last notices.

    Attributes:
        retries: How often a request was sent again.
        count_places: Where in an answer the server's token counts were found.
    """

    def __init__(self) -> None:
        self.retries = 0
        self.count_places: list[str] = []
        self._ended_early = 0
        self._unknown_ends = 0
        self._since_last = _Counts()

    @property
    def ended_early(self) -> int | None:
        """Number of answers shorter than requested; None if that is unknown of any answer."""
        return None if self._unknown_ends else self._ended_early

    def retried(self, reasons: Iterable[str]) -> None:
        """Count a request that was answered after one or more retries for ``reasons``."""
        self._since_last.retried += 1
        self._since_last.reasons.update(reasons)

    def fields_refused(self, fields: Iterable[str]) -> None:
        """Count a request that was answered after the server had refused some of its ``fields``."""
        self._since_last.without[tuple(sorted(fields))] += 1

    def answered(self, request: GenerationRequest, answer: Answer) -> None:
        """Count an answer, and whether it ended early: by the server's token counts, or else its finish reason."""
        self._since_last.answers += 1
        if answer.counts is not None and answer.counts.place not in self.count_places:
            self.count_places.append(answer.counts.place)
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
            _log.warning("answers end before %d tokens: the server decides their length", request.max_tokens)
        self._ended_early += 1
        self._since_last.ended_early += 1

    def take(self, lasting: Iterable[str] = ()) -> list[str]:
        """Return one line for each kind of event since the last call.

        Args:
            lasting: What holds for every answer; given if there were any.
        """
        counts, self._since_last = self._since_last, _Counts()
        lines = [*lasting] if counts.answers else []
        if counts.retried:
            lines.append(f"{_were(counts.retried)} sent again after {_or(sorted(counts.reasons))}; {_LEFT_OUT}")
        for fields, times in sorted(counts.without.items()):
            lines.append(f"{_were(times)} sent again without {', '.join(fields)}; {_LEFT_OUT}")
        if counts.ended_early:
            answers = "1 answer" if counts.ended_early == 1 else f"{counts.ended_early} answers"
            lines.append(f"{answers} ended before the requested length")
        return lines


def _or(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _were(count: int) -> str:
    return "1 request was" if count == 1 else f"{count} requests were"
