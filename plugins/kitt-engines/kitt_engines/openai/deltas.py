"""The text in a piece of an answer, wherever a server puts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

__all__ = ["Piece", "read_choice"]

_REASONING: Final = (
    "reasoning_content",
    "reasoning",
    "thinking",
    "thinking_content",
    "reasoning_text",
    "thought",
    "reasoning_details",
)
_ANSWER: Final = ("content", "refusal")
_CALLS: Final = ("tool_calls", "function_call")
_WITHOUT_TEXT: Final = frozenset(
    {
        "annotations",
        "content_filter_results",
        "error",
        "finish_reason",
        "id",
        "index",
        "logprobs",
        "matched_stop",
        "name",
        "native_finish_reason",
        "prompt_token_ids",
        "provider_specific_fields",
        "role",
        "stop_reason",
        "token_ids",
        "tool_call_id",
        "type",
        "usage",
    }
)
_DEEPEST: Final = 4


class Piece(NamedTuple):
    """What one event adds to the answer.

    Attributes:
        text: Reasoning, content and tool calls; empty if there is none.
        reasoning: Whether all of it is reasoning.
        unknown: Names of the fields with content that are not understood.
    """

    text: str
    reasoning: bool = False
    unknown: tuple[str, ...] = ()


def read_choice(choice: Mapping[str, Any]) -> Piece:
    """Return what a choice of a streamed answer contains."""
    delta = choice.get("delta")
    if isinstance(delta, Mapping):
        return _delta(delta)
    text = choice.get("text")
    if isinstance(text, str):
        return Piece(text)
    return Piece("", unknown=tuple(_unknown(choice, {"delta", "text"})))


def _delta(delta: Mapping[str, Any]) -> Piece:
    content = delta.get("content")
    if type(content) is str and content and len(delta) == 1:  # nearly all events
        return Piece(content)
    thought, said = _parts(content) if isinstance(content, list) else ("", _text(content))
    # Where a server uses several names, all hold the same text.
    thought = next(filter(None, (_text(delta.get(name)) for name in _REASONING)), "") or thought
    said += _text(delta.get("refusal")) + "".join(_call(delta.get(name)) for name in _CALLS)
    return Piece(thought + said, not said and bool(thought), tuple(_unknown(delta)))


def _parts(content: list[Any]) -> tuple[str, str]:
    """Return the reasoning and the text in a list of parts, each an object with a ``type``."""
    thought, said = "", ""
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if isinstance(kind, str) and kind.startswith(("thinking", "reasoning")):
            thought += _text(part)
        else:
            said += _text(part)
    return thought, said


def _text(value: Any, depth: int = 0) -> str:
    if isinstance(value, str):
        return value
    if depth == _DEEPEST:
        return ""
    if isinstance(value, list):
        return "".join(_text(part, depth + 1) for part in value)
    if isinstance(value, Mapping):
        names = ("text", "content", "thinking", "reasoning", "summary", "refusal")
        return next(filter(None, (_text(value.get(name), depth + 1) for name in names)), "")
    return ""


def _call(value: Any) -> str:
    if isinstance(value, list):
        return "".join(map(_call, value))
    if not isinstance(value, Mapping):
        return ""
    function = value.get("function")
    called = function if isinstance(function, Mapping) else value
    return _text(called.get("name")) + _text(called.get("arguments"))


def _unknown(holder: Mapping[str, Any], known: set[str] | frozenset[str] = frozenset()) -> Iterator[str]:
    for name, value in holder.items():
        if name in _WITHOUT_TEXT or name in known or name in _REASONING or name in _ANSWER or name in _CALLS:
            continue
        if value and isinstance(value, (str, list, Mapping)):
            yield name
