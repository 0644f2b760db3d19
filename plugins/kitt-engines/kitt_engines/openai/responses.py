"""The body of a response, and whether its connection can serve another request."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

__all__ = ["Goodbyes", "capped_body"]

_GOODBYE: Final = 0.05
"""Seconds in which a server that has sent ``[DONE]`` ends the response, so that its connection can be kept."""


async def capped_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return at most ``limit`` bytes of the body and give the connection up if there is more.

    Raises:
        aiohttp.ClientError: The connection failed.
    """
    parts: list[bytes] = []
    missing = limit
    try:
        while missing > 0 and (part := await response.content.read(missing)):
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)
    finally:
        if response.content.at_eof():
            response.release()
        else:
            response.close()


class Goodbyes:
    """Waits a moment for the end of responses whose answer is complete, as long as the server ends them.

    A server that has once kept a response open is not waited for any more: a closed loop would be slowed down by
    the same wait on every request.
    """

    def __init__(self) -> None:
        self._worth_waiting = True

    async def ended(self, response: aiohttp.ClientResponse) -> bool:
        """Return whether the response has ended, or ends within a moment."""
        if response.content.at_eof():
            return True
        if not self._worth_waiting:
            return False
        try:
            async with asyncio.timeout(_GOODBYE):
                while await response.content.readany():
                    pass
        except TimeoutError:
            self._worth_waiting = False
            return False
        except (aiohttp.ClientError, OSError):
            return False
        return True
