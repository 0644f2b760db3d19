"""Counting tokens on the client, for servers that do not count them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kitt_core.engine import Usage
from kitt_core.errors import ConfigurationError, EngineError
from kitt_engines.openai.failures import Sanitizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["ClientTokenizer", "load_tokenizer"]

_IN_ONE_LINE: Final = Sanitizer()


class ClientTokenizer:
    """Counts the tokens of a text with a model's tokenizer, without special tokens.

    Args:
        tokenizer: A tokenizer that neither truncates nor pads.
        identity: What identifies it in the document.
    """

    def __init__(self, tokenizer: Tokenizer, identity: Mapping[str, str]) -> None:
        self.identity = dict(identity)
        self._tokenizer = tokenizer

    async def count(self, prompt: str, answer: str) -> Usage | None:
        """Return the counts; None for an answer without tokens. Other requests go on in the meantime.

        Raises:
            EngineError: The tokenizer cannot read the text.
        """
        prompt_tokens, completion_tokens = await asyncio.to_thread(self._lengths, [prompt, answer])
        if not completion_tokens:
            return None
        return Usage(prompt_tokens, completion_tokens, source="client_tokenizer")

    def _lengths(self, texts: list[str]) -> list[int]:
        # Some servers split a UTF-16 surrogate pair over two events, and a lone half cannot be encoded.
        whole = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
        try:
            # Only the batch call releases the interpreter lock, which the measurement needs.
            return [len(found) for found in self._tokenizer.encode_batch(whole, add_special_tokens=False)]
        except Exception as error:  # the library raises plain exceptions
            raise EngineError(f"the tokenizer cannot read the text: {_IN_ONE_LINE(str(error))}") from error


def load_tokenizer(given: str) -> ClientTokenizer:
    """Read a file ``tokenizer.json``.

    Raises:
        ConfigurationError: The package ``tokenizers`` or the file is missing, or it does not hold a tokenizer.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ConfigurationError(
            "the option tokenizer needs the package tokenizers", hint="pip install 'kitt-engines[tokenizer]'"
        ) from error
    path = Path(given).expanduser() if given.startswith("~") else Path(given)  # which drops a leading "./"
    if path.exists() and not path.is_file():
        raise _unusable(given, "it is not a regular file")
    try:
        content = path.read_bytes()
        tokenizer = Tokenizer.from_str(content.decode())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise _unusable(given, str(reason)) from error
    except Exception as error:  # the library raises plain exceptions
        raise _unusable(given, str(error)) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return ClientTokenizer(tokenizer, {"file": path.name, "sha256": hashlib.sha256(content).hexdigest()})


def _unusable(given: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"the tokenizer {given!r} cannot be used: {_IN_ONE_LINE(reason)}",
        hint="give the tokenizer.json of the model that is measured",
    )
