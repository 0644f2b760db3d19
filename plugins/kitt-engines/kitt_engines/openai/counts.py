"""The token counts of an answer, wherever a server puts them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from kitt_core.engine import Usage

__all__ = ["TIMINGS", "USAGE", "Counts", "counts_in"]

USAGE: Final = "server_usage"
"""The source of counts in an object ``usage``."""
TIMINGS: Final = "server_timings"
"""The source of counts in llama.cpp's ``timings``, which servers send whether asked for counts or not."""

_MOST_TOKENS: Final = 1 << 31
_PROMPT: Final = ("prompt_tokens", "input_tokens")
_COMPLETION: Final = ("completion_tokens", "output_tokens")
_DETAILS: Final = ("completion_tokens_details", "output_tokens_details")


class Counts(NamedTuple):
    """Token counts and where they were found.

    Attributes:
        usage: The counts.
        place: A path into the event, such as ``x_groq.usage``.
    """

    usage: Usage
    place: str


def counts_in(event: Mapping[str, Any]) -> Counts | None:
    """Return the counts in an event of a stream; None if there are none, or only unusable ones.

    Unusable are the zeros of servers that do not count, for example.
    """
    for place, found in _usages(event):
        if isinstance(found, Mapping) and (usage := _usage(found)) is not None:
            return Counts(usage, place)
    timings = event.get("timings")
    if isinstance(timings, Mapping) and (completion := _count(timings.get("predicted_n"))):
        processed, cached = _count(timings.get("prompt_n")), _count(timings.get("cache_n"))
        prompt = None if processed is None else processed + (cached or 0)
        return Counts(Usage(prompt, completion, source=TIMINGS), "timings")
    return None


def _usages(event: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "usage", event.get("usage")
    for name, found in event.items():
        if name.startswith("x_") and isinstance(found, Mapping):  # x_groq
            yield f"{name}.usage", found.get("usage")
    choices = event.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(choice, Mapping):
        yield "choices[0].usage", choice.get("usage")
        delta = choice.get("delta")
        if isinstance(delta, Mapping):
            yield "choices[0].delta.usage", delta.get("usage")


def _usage(found: Mapping[str, Any]) -> Usage | None:
    completion = _first(found, _COMPLETION)
    if not completion:
        return None
    prompt, total = _first(found, _PROMPT), _count(found.get("total_tokens"))
    details = next((each for name in _DETAILS if isinstance(each := found.get(name), Mapping)), found)
    reasoning = _count(details.get("reasoning_tokens"))
    if reasoning and _is_apart(reasoning, prompt, completion, total):
        completion += reasoning
    elif prompt is None and total is not None and total > completion:
        prompt = total - completion
    return Usage(prompt, completion, source=USAGE, reasoning_tokens=reasoning)


def _is_apart(reasoning: int, prompt: int | None, completion: int, total: int | None) -> bool:
    """Return whether the reasoning tokens are not among the ``completion`` tokens, as they are at most servers."""
    return reasoning > completion or (
        prompt is not None and total is not None and total == prompt + completion + reasoning
    )


def _first(found: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((count for name in names if (count := _count(found.get(name))) is not None), None)


def _count(value: Any) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < _MOST_TOKENS else None
