"""The options of the engine ``openai``."""

from __future__ import annotations

import json
import math
from typing import Any, Final, Literal, cast

from attrs import Attribute, field, frozen

from kitt_engines.openai.address import normal_base_url

__all__ = ["OpenAIOptions"]

_LONGEST_WAIT: Final = 86_400
_FIXED: Final = ("model", "stream", "messages", "prompt", "max_tokens", "n")
"""What KITT measures depends on these, so that ``extra_body`` may not change them."""


def _seconds(instance: object, attribute: Attribute[float], value: float) -> None:
    del instance
    if not 0 < value <= _LONGEST_WAIT:
        raise ValueError(f"{attribute.name} is {value}, expected seconds between 0 and {_LONGEST_WAIT}")


def _stripped(text: str | None) -> str | None:
    # A key that is read from a file has a line feed at its end.
    return None if text is None else text.strip() or None


@frozen
class OpenAIOptions:
    """Options of the engine ``openai``."""

    base_url: str = field(
        default="http://localhost:8000/v1",
        converter=normal_base_url,
        metadata={"help": "The server; /v1 is added to a URL without a path."},
    )
    model: str = field(default="", metadata={"help": "The model; without it the only one that the server has."})
    api: Literal["chat", "completions"] = field(
        default="chat", metadata={"help": "Which endpoint is asked: chat or completions."}
    )
    api_key: str | None = field(
        default=None,
        repr=False,
        converter=_stripped,
        metadata={"help": "Sent as a bearer token, if there is one.", "env": "OPENAI_API_KEY", "secret": True},
    )
    connect_timeout: float = field(
        default=5.0,
        validator=_seconds,
        metadata={"help": "Seconds for a connection, name look-up and TLS included."},
    )
    read_timeout: float = field(
        default=60.0,
        validator=_seconds,
        metadata={"help": "Seconds of silence after which a request has failed, also before the first byte."},
    )
    temperature: float = field(default=0.0, metadata={"help": "Sent with each request."})
    ignore_eos: bool = field(
        default=True, metadata={"help": "Ask for answers of full length; needs vLLM, SGLang or llama.cpp."}
    )
    extra_body: str = field(default="", metadata={"help": "A JSON object that is added to each request's body."})
    tokenizer: str = field(
        default="",
        metadata={"help": "A file tokenizer.json that counts tokens where the server does not."},
    )
    check_model: bool = field(default=True, metadata={"help": "Refuse a model that the server does not list."})

    @api_key.validator
    def _check_api_key(self, attribute: object, value: str | None) -> None:
        del attribute
        if value is not None and not (value.isascii() and value.isprintable()):
            raise ValueError("api_key has characters that cannot be sent, expected printable ASCII")

    @temperature.validator
    def _check_temperature(self, attribute: object, value: float) -> None:
        del attribute
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"temperature is {value}, expected 0 or more")

    @extra_body.validator
    def _check_extra_body(self, attribute: object, value: str) -> None:
        del attribute, value
        fixed = [name for name in _FIXED if name in self.extra]
        if fixed:
            raise ValueError(f"extra_body sets {', '.join(fixed)}, which KITT sets itself")

    @property
    def extra(self) -> dict[str, Any]:
        """What ``extra_body`` holds.

        Raises:
            ValueError: It is no JSON object.
        """
        try:
            found = json.loads(self.extra_body) if self.extra_body.strip() else {}
        except (ValueError, RecursionError) as error:
            raise ValueError('extra_body is no JSON, expected an object like {"top_k": 1}') from error
        if not isinstance(found, dict):
            raise ValueError('extra_body is no JSON object, expected one like {"top_k": 1}')  # noqa: TRY004 - read by `build_options`
        return cast("dict[str, Any]", found)
