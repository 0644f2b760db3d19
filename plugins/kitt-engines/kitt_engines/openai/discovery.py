"""Finding the server and the model before anything is measured."""

from __future__ import annotations

import asyncio
import difflib
import json
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from attrs import evolve, frozen

from kitt_core.errors import ConfigurationError, EngineError, EngineLostError
from kitt_engines.openai.client_tokenizer import load_tokenizer
from kitt_engines.openai.connections import capped_body, open_connections, redirection, timeouts
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
_STARTING: Final = (502, 503, 504)
_POLL: Final = 1.0
"""Seconds between two attempts while a server is starting."""
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
        listed = await _find(http, options, first_failures)
        model = _choose(options, listed, failures)
        server = await identify(http, options.base_url, _identity(listed, model), failures.sanitize)
        session = OpenAISession(http, options, model, server=server, failures=failures, tokenizer=tokenizer)
        await session.prepare()
        return session
    except BaseException:
        await http.close()
        raise


class _NotYetError(EngineError):
    """The server may still be starting."""


async def _find(http: aiohttp.ClientSession, options: OpenAIOptions, failures: Failures) -> _Listed:
    """Return the list of models, once the server is there."""
    clock = asyncio.get_running_loop().time
    end = clock() + options.wait_for_server
    while True:
        try:
            return await _list_models(http, options, failures)
        except _NotYetError as error:
            if clock() >= end:
                raise EngineError(error.message, hint=error.hint) from error
        await asyncio.sleep(_POLL)


async def _list_models(http: aiohttp.ClientSession, options: OpenAIOptions, failures: Failures) -> _Listed:
    needed = options.check_model or not options.model
    patience = max(_PATIENCE, options.wait_for_server)
    silence = max(failures.read_timeout, options.wait_for_server)
    try:
        async with asyncio.timeout(patience):
            response = await _get_models(http, options.base_url, timeouts(failures.connect_timeout, silence))
            body = await capped_body(response, _LIST_LIMIT)
    except aiohttp.ConnectionTimeoutError as error:
        raise _unreachable(failures.of_connection(error), error) from error
    except TimeoutError as error:
        if not needed:
            return _Listed(None, "")
        raise _silent(failures, min(patience, silence)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise _unreachable(failures.of_connection(error), error) from error
    header = response.headers.get("Server", "")
    if response.status in _NO_LIST or (response.status != 200 and not needed):
        return _Listed(None, header)
    if response.status != 200:
        raise _not_ready(response, body, failures)
    models = _models_in(body)
    if models is None and needed:
        raise EngineError(
            f"{failures.server} is not an OpenAI-compatible server: /models is not a list of models",
            hint="check --base-url, it usually ends in /v1",
        )
    return _Listed(models, header)


async def _get_models(
    http: aiohttp.ClientSession, base_url: str, limits: aiohttp.ClientTimeout
) -> aiohttp.ClientResponse:
    response = await http.get(f"{base_url}/models", allow_redirects=False, timeout=limits)
    if 300 <= response.status < 400 and (target := redirection(response)) is not None:
        response.close()
        response = await http.get(target, allow_redirects=False, timeout=limits)
    return response


def _models_in(body: bytes) -> tuple[dict[str, Any], ...] | None:
    """Return the models in the answer, None if it is no list of models. Entries without an id are left out."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    bare = isinstance(found, list)
    data = found if bare else found.get("data", 0) if isinstance(found, dict) else 0
    if data is None:  # some have no empty list
        return ()
    if not isinstance(data, list):
        return None
    models = tuple(entry for entry in data if isinstance(entry, dict) and isinstance(entry.get("id"), str))
    # An empty list in the usual place is one; what else has no model in it may be anything.
    return models if models or not (bare or data) else None


def _silent(failures: Failures, seconds: float) -> EngineError:
    return EngineError(
        f"{failures.server} accepts a connection but does not answer within {seconds:g} s",
        hint="is it an idle inference server? --engine-option wait_for_server=SECONDS waits longer for it",
    )


def _unreachable(found: EngineError, error: BaseException) -> EngineError:
    """Return ``found`` as a plain error: before the first request there is no result to keep."""
    hint = found.hint
    if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)) and type(found) is EngineError:
        hint = hint or "does the server speak HTTP, or HTTPS?"
    kind = _NotYetError if isinstance(found, EngineLostError) else EngineError
    return kind(found.message, hint=hint)


def _not_ready(response: aiohttp.ClientResponse, body: bytes, failures: Failures) -> EngineError:
    found = failures.of_status(response.status, body)
    hint = found.hint
    if 300 <= response.status < 400:
        return failures.of_redirection(response, redirection(response))
    if response.status in {429, 503}:
        hint = "if the server is still loading its model, wait for it: --engine-option wait_for_server=300"
    elif response.status != 401:
        without = "name the model with -m, and do without the list with --engine-option check_model=false"
        hint = f"{hint}, or {without}" if response.status == 403 else without
    kind = _NotYetError if response.status in _STARTING else EngineError
    return kind(f"{failures.server} does not list its models: {found.message}", hint=hint)


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
