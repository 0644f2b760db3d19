"""HTTP connections: name resolution, reading a body, reuse."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from kitt_engines.openai.options import OpenAIOptions

__all__ = ["ConnectionReuse", "DaemonResolver", "capped_body", "open_connections", "redirection", "timeouts"]

_KEPT_ALIVE: Final = 4.0
"""Seconds for which an idle connection is kept. Many servers close theirs after five, and a request sent at that
moment would have to be repeated."""
_PORTS: Final = {"http": 80, "https": 443}
_END_OF_RESPONSE: Final = 0.05
"""Seconds that a server has after ``[DONE]`` to end the response, so that its connection can be reused."""

_LATE_KEPT: Final = 65_536
"""Bytes that are kept of what comes after the end of an answer."""


def open_connections(options: OpenAIOptions) -> aiohttp.ClientSession:
    """Return an HTTP client that measures the server and nothing else."""
    headers = {
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",  # compression in a proxy would hold tokens back
        "Content-Type": "application/json",
        "User-Agent": f"kitt-engines/{version('kitt-engines')}",
    }
    if options.api_key:
        headers["Authorization"] = f"Bearer {options.api_key}"
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,  # the benchmark decides how many requests run at once
            resolver=DaemonResolver(),
            ttl_dns_cache=None,  # no name resolution in the middle of a measurement
            keepalive_timeout=_KEPT_ALIVE,
        ),
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=timeouts(options.connect_timeout, options.read_timeout),
        trust_env=False,  # a proxy would be measured along with the server
        auto_decompress=True,
    )


def timeouts(connect: float, read: float) -> aiohttp.ClientTimeout:
    """Return limits, in seconds, for opening a connection and for silence on it; none for the whole request."""
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_read=read)


async def capped_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return at most ``limit`` bytes of the body; close the connection if there is more.

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


def redirection(response: aiohttp.ClientResponse) -> str | None:
    """Return where the response redirects to, None unless that is the same server (scheme, host and port)."""
    try:
        target = urlsplit(urljoin(str(response.url), response.headers.get("Location") or "http:"))
        same = target.username is None and _origin(target) == _origin(urlsplit(str(response.url)))
    except ValueError:
        return None
    return urlunsplit(target._replace(fragment="")) if same else None


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


class ConnectionReuse:
    """Decides whether the connection of a complete answer can serve another request.

    It waits a moment for the response to end. Once a server has kept a response open, there is no more waiting:
    it would slow down every request of a closed loop.
    """

    def __init__(self) -> None:
        self._worth_waiting = True

    async def possible(self, response: aiohttp.ClientResponse, late: bytearray) -> bool:
        """Return whether the response has ended, or ends within a moment; add what arrives until then to ``late``.

        Some servers send token counts after ``[DONE]``.
        """
        if response.content.at_eof():
            return True
        if not self._worth_waiting:
            return False
        try:
            async with asyncio.timeout(_END_OF_RESPONSE):
                while received := await response.content.readany():
                    if len(late) < _LATE_KEPT:
                        late += received
        except TimeoutError:
            self._worth_waiting = False
            return False
        except (aiohttp.ClientError, OSError):
            return False
        return True


_Found = list[tuple[Any, ...]]


class DaemonResolver(AbstractResolver):
    """Resolves names in a daemon thread.

    The event loop waits for its own threads when it ends, so a name server that does not answer would hold up the
    end of the command by half a minute.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``.

        Raises:
            socket.gaierror: It has none.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_Found] = loop.create_future()

        def deliver(found: _Found | OSError) -> None:
            if answer.done():
                return
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def look_up() -> None:
            found: _Found | OSError
            try:
                found = list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
            except OSError as error:
                found = error
            except UnicodeError:
                found = socket.gaierror(socket.EAI_NONAME, "the name cannot be encoded")
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(deliver, found)

        threading.Thread(target=look_up, name="kitt-resolver", daemon=True).start()
        return [_result(host, entry) for entry in await answer]

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _result(host: str, entry: tuple[Any, ...]) -> ResolveResult:
    family, _, protocol, _, address = entry
    numeric = address[0]
    if family == socket.AF_INET6 and address[3]:
        numeric = f"{numeric}%{address[3]}"
    return ResolveResult(
        hostname=host, host=numeric, port=address[1], family=family, proto=protocol, flags=socket.AI_NUMERICHOST
    )
