"""The request that finds out which fields the server takes, before anything is measured."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import aiohttp
from attrs import frozen

from kitt_engines.openai.failures import message_in
from kitt_engines.openai.requests import RequestBodies

__all__ = ["find_fields"]

_LIMIT: Final = 65_536
_DRAIN: Final = 2.0
"""Seconds in which an answer that has begun may end, so that the server is idle when the measurement begins."""
_MOST_REQUESTS: Final = 16
_NOT_ABOUT_FIELDS: Final = (401, 403, 429, 502, 503, 504)
"""Whatever is left out, the answer will be the same."""

Post = Callable[[dict[str, Any]], Awaitable[aiohttp.ClientResponse]]


@frozen
class _Outcome:
    """What became of one body; ``status`` is None if nothing can be concluded from it."""

    body: dict[str, Any]
    accepted: bool
    status: int | None = None
    message: str = ""


async def find_fields(post: Post, bodies: RequestBodies) -> None:
    """Ask with every field, and again without those that a refusal names, whatever its status.

    If it names none, find out which it means: what is refused with the necessary fields alone is not about the
    others; otherwise the others are added one by one. What cannot be found out is left to the first requests.

    Args:
        post: Sends a body and returns the response; what it raises as a `KittError` passes.
        bodies: Makes the bodies, and remembers what was found.
    """
    without: frozenset[str] = frozenset()
    for _ in range(_MOST_REQUESTS):
        outcome = await _try(post, bodies.probing(without))
        if outcome.accepted:
            bodies.accept(outcome.body, without)
            return
        if outcome.status is None:
            return
        named = bodies.named(outcome.status, outcome.message, outcome.body)
        if not named:
            break
        without |= named
    found = without
    if outcome.status not in _NOT_ABOUT_FIELDS:
        found = await _one_by_one(post, bodies, outcome.body, without)
    bodies.leave_out(found)


async def _one_by_one(
    post: Post, bodies: RequestBodies, refused: dict[str, Any], without: frozenset[str]
) -> frozenset[str]:
    """Return the fields to leave out: ``without``, if that is not what the refusal is about."""
    rest = bodies.optional(refused)
    for least in _minima(rest):
        if not (await _try(post, bodies.probing(without | least))).accepted:
            continue
        left_out = without | least
        for name in sorted(least):
            outcome = await _try(post, bodies.probing(left_out - {name}))
            if outcome.accepted:
                left_out -= {name}
                bodies.accept(outcome.body, frozenset())
        return left_out
    return without


def _minima(fields: frozenset[str]) -> Iterator[frozenset[str]]:
    """Yield the sets to begin with: all fields but the length, which is only renamed, then with it."""
    yield fields - {"max_tokens"}
    if "max_tokens" in fields:
        yield fields


async def _try(post: Post, body: dict[str, Any]) -> _Outcome:
    try:
        response = await post(body)
        try:
            return await _read(response, body)
        finally:
            response.close()
    except (aiohttp.ClientError, OSError):
        return _Outcome(body, accepted=False)


async def _read(response: aiohttp.ClientResponse, body: dict[str, Any]) -> _Outcome:
    """Read until it is clear whether the server answers. Some refuse with status 200."""
    received = bytearray()
    while len(received) < _LIMIT and b'"choices"' not in received and b"[DONE]" not in received:
        part = await response.content.readany()
        if not part:
            break
        received += part
    accepted = response.status == 200 and b'"choices"' in received
    if not accepted:
        text = bytes(received).removeprefix(b"data:")
        return _Outcome(body, accepted=False, status=response.status, message=message_in(text))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN):
            while b"[DONE]" not in received[-64:] and len(received) < _LIMIT:
                part = await response.content.readany()
                if not part:
                    break
                received += part
    return _Outcome(body, accepted=True, status=response.status)
