"""Names to addresses, without waiting at the end for an answer that nobody needs any more."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["DaemonResolver"]

_Found = list[tuple[Any, ...]]


class DaemonResolver(AbstractResolver):
    """Asks the system in a thread that dies with the process.

    The event loop's own threads are waited for when it ends, and a name server that does not answer would keep
    the command from ending for half a minute.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``.

        Raises:
            socket.gaierror: There are none.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_Found] = loop.create_future()

        def tell(found: _Found | OSError) -> None:
            if answer.done():
                return
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def ask() -> None:
            found: _Found | OSError
            try:
                found = list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
            except OSError as error:
                found = error
            except UnicodeError:
                found = socket.gaierror(socket.EAI_NONAME, "the name cannot be encoded")
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(tell, found)

        threading.Thread(target=ask, name="kitt-resolver", daemon=True).start()
        return [_result(host, entry) for entry in await answer]

    async def close(self) -> None:
        """Release nothing: there is nothing to release."""


def _result(host: str, entry: tuple[Any, ...]) -> ResolveResult:
    family, _, protocol, _, address = entry
    numeric = address[0]
    if family == socket.AF_INET6 and address[3]:
        numeric = f"{numeric}%{address[3]}"
    return ResolveResult(
        hostname=host, host=numeric, port=address[1], family=family, proto=protocol, flags=socket.AI_NUMERICHOST
    )
