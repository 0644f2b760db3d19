"""The options of the engine ``openai``."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit, urlunsplit

from attrs import Attribute, field, frozen

from kitt_core.redaction import without_secrets

__all__ = ["OpenAIOptions"]

_ENDPOINTS: Final = ("/chat/completions", "/completions", "/models")
_URL_SHOWN: Final = 100
_LONGEST_WAIT: Final = 86_400
_FIXED: Final = ("model", "stream", "messages", "prompt", "max_tokens", "max_completion_tokens", "n")
"""The measurement depends on these, so ``extra_body`` may not change them."""


def _seconds(_: object, attribute: Attribute[float], value: float) -> None:
    if not 0 < value <= _LONGEST_WAIT:
        raise ValueError(f"{attribute.name} is {value}, expected seconds between 0 and {_LONGEST_WAIT}")


def _seconds_or_none(_: object, attribute: Attribute[float], value: float) -> None:
    if not 0 <= value <= _LONGEST_WAIT:
        raise ValueError(
            f"{attribute.name} is {value}, expected seconds up to {_LONGEST_WAIT}, 0 to wait for nothing"
        )


def _stripped(text: str | None) -> str | None:
    # A key read from a file ends with a line feed.
    return None if text is None else text.strip() or None


def _normal_base_url(given: str) -> str:
    """Return the URL to which ``/chat/completions`` is appended.

    ``http://localhost:8000`` and ``http://localhost:8000/v1`` are the same server; any other path is kept.

    Raises:
        ValueError: It is not the URL of a server; the message contains no secret.
    """
    shown = repr(without_secrets(given)[:_URL_SHOWN])
    if re.search(r"[\s\x00-\x1f\x7f]", given):
        raise ValueError(f"base_url {shown} contains a space or a control character")
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"base_url {shown} is not a URL, expected one like http://localhost:8000/v1") from error
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise ValueError(f"base_url {shown} is not a server's URL, expected one like http://localhost:8000/v1")
    if "@" in parts.netloc:
        raise ValueError(f"base_url {shown} contains a user or password: use api_key instead")
    if parts.query or parts.fragment:
        raise ValueError(f"base_url {shown} has a query or fragment, expected a URL like http://localhost:8000/v1")
    path = parts.path.rstrip("/")
    for endpoint in _ENDPOINTS:
        if path.endswith(endpoint):
            raise ValueError(f"base_url {shown} is a single endpoint, expected the URL without {endpoint}")
    return urlunsplit((parts.scheme, parts.netloc, path or "/v1", "", ""))


@frozen
class OpenAIOptions:
    """Options of the engine ``openai``."""

    base_url: str = field(
        default="http://localhost:8000/v1",
        converter=_normal_base_url,
        metadata={"help": "The server; /v1 is added to a URL without a path."},
    )
    model: str = field(default="", metadata={"help": "The model; by default the only one that the server has."})
    api: Literal["chat", "completions"] = field(
        default="chat", metadata={"help": "The endpoint to use: chat or completions."}
    )
    api_key: str | None = field(
        default=None,
        repr=False,
        converter=_stripped,
        metadata={"help": "Sent as a bearer token.", "env": "OPENAI_API_KEY", "secret": True},
    )
    connect_timeout: float = field(
        default=5.0,
        validator=_seconds,
        metadata={"help": "Seconds to open a connection, including name resolution and TLS."},
    )
    read_timeout: float = field(
        default=60.0,
        validator=_seconds,
        metadata={"help": "Seconds of silence after which a request fails, also before the first byte."},
    )
    temperature: float = field(default=0.0, metadata={"help": "Sampling temperature, sent with each request."})
    ignore_eos: bool = field(
        default=True, metadata={"help": "Ask for answers of full length; needs vLLM, SGLang or llama.cpp."}
    )
    extra_body: str = field(default="", metadata={"help": "A JSON object added to the body of each request."})
    tokenizer: str = field(
        default="",
        metadata={"help": "A tokenizer.json to count tokens with where the server does not."},
    )
    check_model: bool = field(
        default=True,
        metadata={"help": "Refuse a model that the server does not list; false needs no list at all."},
    )
    wait_for_server: float = field(
        default=0.0,
        validator=_seconds_or_none,
        metadata={"help": "Seconds in which a server may start: one that loads its model or scales from zero."},
    )

    @api_key.validator
    def _check_api_key(self, _: object, value: str | None) -> None:
        if value is not None and not (value.isascii() and value.isprintable()):
            raise ValueError("api_key has characters that cannot be sent, expected printable ASCII")

    @temperature.validator
    def _check_temperature(self, _: object, value: float) -> None:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"temperature is {value}, expected 0 or more")

    @extra_body.validator
    def _check_extra_body(self, _: object, value: str) -> None:
        fixed = [name for name in _FIXED if name in self.extra]
        if fixed:
            raise ValueError(f"extra_body sets {', '.join(fixed)}, which KITT sets itself")

    @property
    def extra(self) -> dict[str, Any]:
        """The parsed ``extra_body``.

        Raises:
            ValueError: It is not a JSON object.
        """
        try:
            found = json.loads(self.extra_body) if self.extra_body.strip() else {}
        except (ValueError, RecursionError) as error:
            raise ValueError('extra_body is not JSON, expected an object like {"top_k": 1}') from error
        if not isinstance(found, dict):
            raise ValueError('extra_body is not a JSON object, expected one like {"top_k": 1}')  # noqa: TRY004 - read by `build_options`
        return cast("dict[str, Any]", found)
