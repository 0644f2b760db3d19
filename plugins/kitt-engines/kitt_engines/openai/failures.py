"""What went wrong between here and the server, in words."""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

import aiohttp
from attrs import frozen

from kitt_core.errors import EngineError, EngineLostError
from kitt_engines.openai.wording import Wording, message_in

__all__ = ["Failures", "is_connection_failure"]

_OURS: Final = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
"""The system has nothing left for another connection: the server is not to blame and may well be there."""
_IS_IT_RUNNING: Final = "is the server running? --base-url names another"
_HINTS: Final = {
    401: "give the server's key in OPENAI_API_KEY",
    403: "give the server's key in OPENAI_API_KEY",
    404: "the URL usually ends in /v1; -m names the model",
}


def is_connection_failure(error: BaseException) -> bool:
    """Return whether the request may be sent again: the connection failed, not the answer.

    Silence is none: who waited a minute for a first byte would wait for minutes more. Nor is a certificate, which
    does not become better.
    """
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return True
    if isinstance(error, (aiohttp.ClientSSLError, TimeoutError)):
        return False
    return isinstance(error, (aiohttp.ClientConnectionError, OSError))


@frozen
class Failures:
    """Makes errors of what the HTTP library raises and what the server answers.

    Attributes:
        server: Scheme, host and port, for messages.
        wording: Makes the server's texts presentable.
        connect_timeout: In seconds.
        read_timeout: In seconds.
    """

    server: str
    wording: Wording
    connect_timeout: float
    read_timeout: float

    def of_connection(self, error: BaseException, *, answered: bool = False) -> EngineError:
        """Return what ``error`` means; `EngineLostError` if no connection can be had.

        Args:
            error: What the library raised.
            answered: Whether part of the answer had arrived.
        """
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return EngineLostError(
                f"{self.server} accepts no connection within {self.connect_timeout:g} s", hint=_IS_IT_RUNNING
            )
        if isinstance(error, TimeoutError):
            return EngineError(
                f"{self.server} was silent for {self.read_timeout:g} s",
                hint="--engine-option read_timeout=SECONDS waits longer",
            )
        if isinstance(error, aiohttp.ClientSSLError):
            return self._tls(error)
        if isinstance(error, aiohttp.ClientConnectorError):
            return self._connector(error)
        if isinstance(error, (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, OSError)):
            when = "in mid-stream" if answered else "before it answered"
            return EngineError(f"{self.server} broke the connection off {when}")
        if isinstance(error, aiohttp.ClientResponseError):
            return EngineError(f"{self.server} does not speak HTTP", hint="--base-url names another server")
        return EngineError(f"{self.server}: the request failed with {type(error).__name__}")

    def of_status(self, status: int, body: bytes) -> EngineError:
        """Return what an answer means that is no success."""
        said = self.wording(message_in(body))
        return EngineError(f"HTTP {status}" + (f": {said}" if said else ""), hint=_HINTS.get(status))

    def _connector(self, error: aiohttp.ClientConnectorError) -> EngineError:
        cause = error.os_error
        if isinstance(cause, socket.gaierror):
            return EngineLostError(
                f"{self.server}: no address is known for {error.host}", hint="check the name in --base-url"
            )
        if cause.errno in _OURS:
            return EngineError(
                f"this machine cannot open another connection: {os.strerror(cause.errno)}",
                hint="raise `ulimit -n` or measure with fewer requests in flight",
            )
        # Several addresses that failed in several ways have no number in common.
        if cause.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(cause):
            return EngineLostError(f"{self.server} refuses the connection", hint=_IS_IT_RUNNING)
        reason = f": {os.strerror(cause.errno)}" if cause.errno else ""
        return EngineLostError(f"{self.server} cannot be reached{reason}", hint=_IS_IT_RUNNING)

    def _tls(self, error: aiohttp.ClientSSLError) -> EngineError:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return EngineError(
                f"the certificate of {self.server} is not trusted",
                hint="the variable SSL_CERT_FILE can name a file with the authority's certificate",
            )
        return EngineError(
            f"no TLS connection to {self.server}", hint="a server without TLS has a URL that begins with http://"
        )
