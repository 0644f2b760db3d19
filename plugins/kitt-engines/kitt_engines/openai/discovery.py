"""Finding the server and the model before anything is measured."""

from __future__ import annotations

import asyncio
import difflib
import json
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from attrs import evolve, frozen

from kitt_core.errors import ConfigurationError, EngineError
from kitt_engines.openai.client_tokenizer import load_tokenizer
from kitt_engines.openai.connections import capped_body, open_connections, timeouts
from kitt_engines.openai.failures import Failures, Sanitizer
from kitt_engines.openai.identity import ServerIdentity, identify
from kitt_engines.openai.options import OpenAIOptions
from kitt_engines.openai.session import OpenAISession

__all__ = ["open_session"]

_PATIENCE: Final = 9.0
"""Seconds in which a server must be found: the documentation promises a message within ten."""
_LONGEST_CONNECT: Final = _PATIENCE - 1
"""Seconds for the first connection, below the limit for everything: its error names the cause."""
_LIST_LIMIT: Final = 4_194_304
_NO_LIST: Final = (404, 405, 501)
_NAMES_SHOWN: Final = 5
_NAME_SHOWN: Final = 60


@frozen
class _Listed:
    """The answer to ``/models``; ``models`` is None if the server has no such list."""

    models: tuple[dict[str, Any], ...] | None
    header: str


async def open_session(options: OpenAIOptions) -> OpenAISession:
    """Find the server and the model.

    Raises:
        EngineError: The server cannot be reached, refuses the key, does not have the model, or is not
            an inference server.
        ConfigurationError: No model is named, and the server does not have exactly one; or the named tokenizer
            cannot be used.
    """
    tokenizer = load_tokenizer(options.tokenizer) if options.tokenizer else None
    parts = urlsplit(options.base_url)
    failures = Failures(
        server=f"{parts.scheme}://{parts.netloc}",
        sanitize=Sanitizer(options.api_key or ""),
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
    )
    first_failures = evolve(failures, connect_timeout=min(options.connect_timeout, _LONGEST_CONNECT))
    http = open_connections(options)
    try:
        try:
            async with asyncio.timeout(_PATIENCE):
                listed = await _list_models(http, options, first_failures)
                model = _choose(options, listed, failures)
        except TimeoutError as error:
            raise _silent(failures, _PATIENCE) from error
        server = await identify(http, options.base_url, _identity(listed, model), failures.sanitize)
        return OpenAISession(http, options, model, server=server, failures=failures, tokenizer=tokenizer)
    except BaseException:
        await http.close()
        raise


async def _list_models(http: aiohttp.ClientSession, options: OpenAIOptions, failures: Failures) -> _Listed:
    try:
        response = await http.get(
            f"{options.base_url}/models",
            allow_redirects=False,
            timeout=timeouts(failures.connect_timeout, failures.read_timeout),
        )
        body = await capped_body(response, _LIST_LIMIT)
    except aiohttp.SocketTimeoutError as error:  # read_timeout is below _PATIENCE
        raise _silent(failures, failures.read_timeout) from error
    except (aiohttp.ClientError, OSError) as error:
        raise _unreachable(failures.of_connection(error), error) from error
    header = response.headers.get("Server", "")
    needed = options.check_model or not options.model
    if response.status in _NO_LIST or (response.status >= 500 and not needed):
        return _Listed(None, header)
    if response.status != 200:
        raise _not_ready(response, body, failures)
    try:
        found = json.loads(body)
        models = [entry for entry in found["data"] if isinstance(entry["id"], str)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EngineError(
            f"{failures.server} is not an OpenAI-compatible server: /models is not a list of models",
            hint="check --base-url, it usually ends in /v1",
        ) from error
    return _Listed(tuple(models), header)


def _silent(failures: Failures, seconds: float) -> EngineError:
    return EngineError(
        f"{failures.server} accepts a connection but does not answer within {seconds:g} s",
        hint="is --base-url an inference server, and is it idle?",
    )


def _unreachable(found: EngineError, error: BaseException) -> EngineError:
    """Return ``found`` as a plain error: before the first request there is no result to keep."""
    if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)) and type(found) is EngineError:
        return EngineError(found.message, hint=found.hint or "does the server speak HTTP, or HTTPS?")
    return EngineError(found.message, hint=found.hint)


def _not_ready(response: aiohttp.ClientResponse, body: bytes, failures: Failures) -> EngineError:
    found = failures.of_status(response.status, body)
    hint = found.hint
    if 300 <= response.status < 400:
        target = failures.sanitize(response.headers.get("Location", "elsewhere"))
        return EngineError(f"{failures.server} redirects to {target}", hint="give that URL with --base-url")
    if response.status in {429, 503}:
        hint = "if the server is still loading its model, try again later"
    elif response.status >= 500:
        hint = "name the model with -m, and do without the list with --engine-option check_model=false"
    return EngineError(f"{failures.server} does not list its models: {found.message}", hint=hint)


def _choose(options: OpenAIOptions, listed: _Listed, failures: Failures) -> str:
    names = [] if listed.models is None else [model["id"] for model in listed.models]
    if options.model:
        # A server with an empty list loads a model on request.
        if options.check_model and listed.models:
            _check(options.model, listed.models, failures)
        return options.model
    if len(names) == 1:
        return str(names[0])
    if not names:
        if listed.models is None:
            raise ConfigurationError(
                f"{failures.server} has no list of models at this URL",
                hint="check --base-url, it usually ends in /v1; if it is right, name the model with -m",
            )
        raise ConfigurationError(f"{failures.server} has no model", hint="name the model with -m")
    raise ConfigurationError(
        f"{failures.server} has {len(names)} models: {_shown(names, failures.sanitize)}",
        hint="name one of them with -m",
    )


def _check(model: str, models: tuple[dict[str, Any], ...], failures: Failures) -> None:
    names = [str(entry["id"]) for entry in models]
    known = {*names, *(alias for entry in models for alias in _aliases(entry))}
    # Ollama reads a name without a tag as the latest one.
    if model in known or f"{model}:latest" in known:
        return
    nearest = difflib.get_close_matches(model, names, n=1)
    raise EngineError(
        f"{failures.server} has no model {failures.sanitize(model)[:_NAME_SHOWN]!r}; it has: "
        f"{_shown(names, failures.sanitize)}",
        hint=(f"did you mean {failures.sanitize(nearest[0])}? " if nearest else "")
        + "--engine-option check_model=false uses it anyway",
    )


def _aliases(entry: dict[str, Any]) -> list[str]:
    found = entry.get("aliases")
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def _shown(names: list[str], sanitize: Sanitizer) -> str:
    shown = ", ".join(sanitize(name)[:_NAME_SHOWN] for name in names[:_NAMES_SHOWN])
    return f"{shown} and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else shown


def _identity(listed: _Listed, model: str) -> ServerIdentity:
    models = listed.models or ()
    entry = next((entry for entry in models if entry["id"] == model), models[0] if models else {})
    return ServerIdentity(header=listed.header, entry=entry)
