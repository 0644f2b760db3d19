"""The script of the test server: times, tokens, refusals and faults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

import attrs
from attrs import field, frozen, validators

__all__ = ["SERVERS", "Behaviour", "Fault", "ServerKind", "fault_for"]


@frozen
class ServerKind:
    """How a real server shows what it is.

    Attributes:
        owned_by: What its list of models says.
        path: Where it reports its version; empty if nowhere.
        key: The key of the version.
        further: What else that answer has.
    """

    owned_by: str
    path: str = ""
    key: str = "version"
    further: Mapping[str, Any] = field(factory=dict)


SERVERS: Final = {
    "vllm": ServerKind("vllm", "/version"),
    "sglang": ServerKind("sglang", "/get_server_info", further={"mem_fraction_static": 0.9, "tp_size": 1}),
    "llama.cpp": ServerKind("llamacpp", "/props", key="build_info"),
    "ollama": ServerKind("library", "/api/version"),
    "tgi": ServerKind("nobody", "/info", further={"model_id": "a/b", "max_input_tokens": 4095}),
    "lmstudio": ServerKind("organization_owner"),
    "trtllm": ServerKind("tensorrt_llm", "/version"),
    "lmdeploy": ServerKind("lmdeploy"),
    "koboldcpp": ServerKind("koboldcpp", "/api/extra/version", further={"result": "KoboldCpp"}),
}
"""By the name of `Behaviour.identity`."""


class Fault(StrEnum):
    """A way to fail. Those whose name begins with ``mid-`` come after some chunks of the answer."""

    UNAUTHORIZED = "401"
    NO_MODEL = "404"
    BUSY = "429"
    ERROR = "500"
    UNAVAILABLE = "503"
    RESET = "reset"
    """The connection is reset before anything is answered."""
    NEVER = "never"
    """There is never an answer."""
    NOT_STREAMED = "not-streamed"
    """The whole answer as one JSON object."""
    NOT_STREAMED_ERROR = "not-streamed-error"
    """Status 200 with an error as one JSON object."""
    WEB_PAGE = "web-page"
    EMPTY = "empty"
    """A stream without any event."""
    DONE_ONLY = "done-only"
    """A stream with nothing but ``[DONE]``."""
    MID_ERROR = "mid-error"
    """An event that reports an error."""
    MID_500 = "mid-500"
    """The plain text of a failing web framework, then the end of the response."""
    MID_MALFORMED = "mid-malformed"
    """An event that is not JSON."""
    MID_RESET = "mid-reset"
    MID_SILENCE = "mid-silence"
    MID_COMMENTS = "mid-comments"
    """No further event, but endless comments, as proxies send them."""
    MID_ENDLESS = "mid-endless"
    """The same token, endlessly."""
    MID_CUT = "mid-cut"
    """The response ends properly, but before the answer does."""


def _as_tuple(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


def _options(help_text: str) -> dict[str, str]:
    return {"help": help_text}


@frozen(kw_only=True)
class Behaviour:
    """What the server does.

    Attributes:
        ttft: Seconds from the arrival of a request to the first token.
        gap: Seconds between two chunks. The schedule is fixed when the request arrives: a late chunk does not
            delay later ones, and chunks that are overdue are sent together.
        tokens: Length of an answer in tokens, unless ``max_tokens`` is less or ``ignore_eos`` is set.
        tokens_per_chunk: Tokens in each chunk.
        usage: Where the token counts are, if requested: ``final`` (in a chunk of their own at the end), ``every``
            (in every chunk) or ``none``.
        reasoning: Number of tokens at the beginning that are reasoning.
        models: The models that the server has.
        no_model_list: Whether ``/v1/models`` is missing.
        api_key: The key that requests must carry; empty for none.
        refuse: Request fields that are refused.
        refusal: How they are refused: ``openai`` (400 that names the field), ``fastapi`` (422), ``plain`` (400
            without a reason), or a status with which the field is named: ``200``, ``404`` or ``500``.
        redirect: Where requests for answers are redirected to; a path or a URL. ``/moved/…`` is served as well.
        redirect_status: The status of that.
        list_answer: The body of ``/v1/models`` instead of the models.
        list_status: The status of that.
        content_type: What streams are labelled as.
        faults: Each is ``WHEN=WHAT``: a request's number (from 1), a text in its prompt or ``*``; and a `Fault`.
        fault_after: Number of chunks before a fault in mid-stream.
        retry_after: Seconds in the header ``Retry-After`` of 429 and 503.
        body: Parts of a response body that is sent in place of an answer, as it is, each ``gap`` after the one
            before; for the forms of other servers.
        linger: Seconds for which a response stays open after ``[DONE]``.
        identity: The server that it claims to be: ``vllm``, ``sglang``, ``llama.cpp``, ``ollama``, ``tgi``,
            ``lmstudio``, ``trtllm``, ``lmdeploy``, ``koboldcpp``.
        owned_by: What its list of models says in ``owned_by``; by default what this server says.
        header: The header ``Server`` of its answers; by default aiohttp's.
        version: The version that it claims to have.
        line_end: ``lf``, ``cr`` or ``crlf``.
        record: Whether requests are kept for ``/control/requests``.
    """

    ttft: float = field(default=0.0, validator=validators.ge(0), metadata=_options("seconds to the first token"))
    gap: float = field(default=0.0, validator=validators.ge(0), metadata=_options("seconds between two chunks"))
    tokens: int = field(default=64, validator=validators.ge(1), metadata=_options("length of an answer"))
    tokens_per_chunk: int = field(default=1, validator=validators.ge(1), metadata=_options("tokens in each chunk"))
    usage: str = field(
        default="final",
        validator=validators.in_({"final", "every", "none"}),
        metadata=_options("where the token counts are: final, every or none"),
    )
    reasoning: int = field(
        default=0, validator=validators.ge(0), metadata=_options("tokens at the beginning that are reasoning")
    )
    models: tuple[str, ...] = field(
        default=("test-model",), converter=_as_tuple, metadata=_options("a model that the server has; repeatable")
    )
    no_model_list: bool = field(default=False, metadata=_options("/v1/models is missing"))
    api_key: str = field(default="", metadata=_options("the key that requests must carry"))
    refuse: tuple[str, ...] = field(
        default=(), converter=_as_tuple, metadata=_options("a request field to refuse; repeatable")
    )
    refusal: str = field(
        default="openai",
        validator=validators.in_({"openai", "fastapi", "plain", "200", "404", "500"}),
        metadata=_options("how fields are refused: openai, fastapi, plain, 200, 404 or 500"),
    )
    redirect: str = field(default="", metadata=_options("where requests are redirected to"))
    redirect_status: int = field(default=307, metadata=_options("the status of redirections"))
    list_answer: str = field(default="", metadata=_options("the body of /v1/models"))
    list_status: int = field(default=200, metadata=_options("the status of /v1/models"))
    content_type: str = field(
        default="text/event-stream; charset=utf-8", metadata=_options("what streams are labelled as")
    )
    faults: tuple[str, ...] = field(
        default=(),
        converter=_as_tuple,
        metadata=_options("WHEN=WHAT: a request's number, a text in its prompt or *; and a fault; repeatable"),
    )
    fault_after: int = field(
        default=3, validator=validators.ge(0), metadata=_options("chunks before a fault in mid-stream")
    )
    retry_after: float = field(
        default=0.05, validator=validators.ge(0), metadata=_options("seconds in Retry-After of 429 and 503")
    )
    body: tuple[str, ...] = field(
        default=(),
        converter=_as_tuple,
        metadata=_options("a part of a response body to send in place of an answer; repeatable"),
    )
    linger: float = field(
        default=0.0,
        validator=validators.ge(0),
        metadata=_options("seconds that a response stays open after [DONE]"),
    )
    identity: str = field(
        default="",
        validator=validators.in_({"", *SERVERS}),
        metadata=_options("the server that it claims to be"),
    )
    owned_by: str = field(default="", metadata=_options("what the list of models says in owned_by"))
    header: str = field(default="", metadata=_options("the header Server of the answers"))
    version: str = field(default="1.2.3", metadata=_options("the version that it claims to have"))
    line_end: str = field(
        default="lf", validator=validators.in_({"lf", "cr", "crlf"}), metadata=_options("lf, cr or crlf")
    )
    record: bool = field(default=True, metadata=_options("keep requests for /control/requests"))

    @faults.validator
    def _check_faults(self, _: object, value: tuple[str, ...]) -> None:
        for fault in value:
            when, _, what = fault.rpartition("=")
            if not when or what not in set(Fault):
                raise ValueError(f"fault {fault!r}, expected WHEN=WHAT with one of: {', '.join(Fault)}")

    def changed(self, changes: Mapping[str, Any]) -> Behaviour:
        """Return a copy with some fields changed.

        Raises:
            TypeError: There is no such field.
            ValueError: A value is not allowed.
        """
        return attrs.evolve(self, **changes)


def fault_for(behaviour: Behaviour, number: int, prompt: str) -> Fault | None:
    """Return the first fault that applies to the request with this number and prompt, if any."""
    for fault in behaviour.faults:
        when, _, what = fault.rpartition("=")
        if when == "*" or (when.isdigit() and int(when) == number) or (not when.isdigit() and when in prompt):
            return Fault(what)
    return None
