"""The bytes of answers, as OpenAI-compatible servers send them.

They are made once per request rather than per token: the client is measured, and the server shares its machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from kitt_engines.testing.behaviour import Behaviour

__all__ = ["AnswerBytes", "error_body", "refusal_body", "whole_answer"]

_WORDS: Final = (
    " the",
    " model",
    " has",
    " no",
    " weights",
    " and",
    " says",
    " what",
    " it",
    " was",
    " told",
    " to",
)
_LINE_ENDS: Final = {"lf": b"\n", "cr": b"\r", "crlf": b"\r\n"}
_MARK: Final = "\x00text\x00"
_CREATED: Final = 1_700_000_000


@frozen
class AnswerBytes:
    """The events of one streamed answer.

    Attributes:
        opening: Sent at once: the role, without text.
        chunks: One for each chunk of tokens.
        closing: Sent with the last chunk: the finish reason, the token counts and ``[DONE]``.
    """

    opening: bytes
    chunks: tuple[bytes, ...] = field(repr=False)
    closing: bytes

    @classmethod
    def of(cls, behaviour: Behaviour, body: Mapping[str, Any], *, number: int, chat: bool) -> AnswerBytes:
        """Return the events of the answer to ``body``."""
        length, reason = answer_length(behaviour, body)
        wanted = bool((body.get("stream_options") or {}).get("include_usage"))
        usage = behaviour.usage if wanted else "none"
        prompt_tokens = count_words(prompt_of(body))
        made = _Events(_LINE_ENDS[behaviour.line_end], str(body.get("model")), number, chat)
        starts = range(0, length, behaviour.tokens_per_chunk)
        chunks = []
        for start in starts:
            end = min(start + behaviour.tokens_per_chunk, length)
            text = "".join(_WORDS[i % len(_WORDS)] for i in range(start, end))
            count = _usage(prompt_tokens, end) if usage == "every" else None
            chunks.append(made.text(text, reasoning=chat and start < behaviour.reasoning, usage=count))
        closing = made.end(reason)
        if usage != "none":
            closing += made.usage(_usage(prompt_tokens, length))
        return cls(made.opening(), tuple(chunks), closing + made.event("[DONE]"))


class _Events:
    def __init__(self, line_end: bytes, model: str, number: int, chat: bool) -> None:
        self._line_end = line_end
        self._chat = chat
        self._frame = {
            "id": f"test-{number}",
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": _CREATED,
            "model": model,
        }
        self._templates = {reasoning: self._template(reasoning) for reasoning in (False, True)}

    def event(self, data: str) -> bytes:
        return b"data: " + data.encode() + self._line_end * 2

    def opening(self) -> bytes:
        return self._choice({"role": "assistant", "content": ""}) if self._chat else b""

    def text(self, text: str, *, reasoning: bool, usage: Mapping[str, int] | None) -> bytes:
        if usage is not None:
            return self._choice(self._delta(text, reasoning), usage=usage)
        before, after = self._templates[reasoning]
        return before + text.encode() + after

    def end(self, reason: str) -> bytes:
        return self._choice({} if self._chat else "", reason=reason)

    def usage(self, usage: Mapping[str, int]) -> bytes:
        return self.event(json.dumps(self._frame | {"choices": [], "usage": usage}))

    def _template(self, reasoning: bool) -> tuple[bytes, bytes]:
        mark = json.dumps(_MARK)[1:-1].encode()
        before, _, after = self._choice(self._delta(_MARK, reasoning)).partition(mark)
        return before, after

    def _delta(self, text: str, reasoning: bool) -> Any:
        if not self._chat:
            return text
        return {"reasoning_content": text} if reasoning else {"content": text}

    def _choice(self, said: Any, *, reason: str | None = None, usage: Mapping[str, int] | None = None) -> bytes:
        choice = {"index": 0, "delta" if self._chat else "text": said, "finish_reason": reason}
        counted = {} if usage is None else {"usage": usage}
        return self.event(json.dumps(self._frame | {"choices": [choice]} | counted))


def answer_length(behaviour: Behaviour, body: Mapping[str, Any]) -> tuple[int, str]:
    """Return the length of the answer in tokens and its finish reason."""
    most = int(body.get("max_tokens") or body.get("max_completion_tokens") or behaviour.tokens)
    if body.get("ignore_eos") or most <= behaviour.tokens:
        return most, "length"
    return behaviour.tokens, "stop"


def prompt_of(body: Mapping[str, Any]) -> str:
    """Return the prompt of a request."""
    messages = body.get("messages")
    if isinstance(messages, list):
        return "\n".join(str(message.get("content", "")) for message in messages)
    return str(body.get("prompt", ""))


def count_words(text: str) -> int:
    """Return the number of tokens that the server counts in ``text``: its words, at least one."""
    return max(1, len(text.split()))


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def whole_answer(behaviour: Behaviour, body: Mapping[str, Any], *, chat: bool) -> dict[str, Any]:
    """Return the answer to a request that does not stream."""
    length, reason = answer_length(behaviour, body)
    text = "".join(_WORDS[i % len(_WORDS)] for i in range(length))
    said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    return {
        "id": "test",
        "object": "chat.completion" if chat else "text_completion",
        "created": _CREATED,
        "model": body.get("model"),
        "choices": [{"index": 0, **said, "finish_reason": reason}],
        "usage": _usage(count_words(prompt_of(body)), length),
    }


def error_body(message: str, status: int) -> dict[str, Any]:
    """Return an error in OpenAI's form."""
    return {"error": {"message": message, "type": "test_error", "param": None, "code": status}}


def refusal_body(behaviour: Behaviour, name: str) -> tuple[int, dict[str, Any]]:
    """Return the status and body that refuse the field ``name``."""
    if behaviour.refusal == "fastapi":
        found = {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}
        return 422, {"detail": [found]}
    if behaviour.refusal == "plain":
        return 400, error_body("bad request", 400)
    if behaviour.refusal.isdigit():
        return int(behaviour.refusal), error_body(f"unexpected keyword argument '{name}'", int(behaviour.refusal))
    if name == "max_tokens":
        message = "Unsupported parameter: 'max_tokens' is not supported with this model."
        return 400, error_body(f"{message} Use 'max_completion_tokens' instead.", 400)
    return 400, error_body(f"Unrecognized request argument supplied: {name}", 400)
