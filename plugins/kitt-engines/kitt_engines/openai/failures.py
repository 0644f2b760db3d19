"""Errors of the server and the connection, in words that can be shown."""

from __future__ import annotations

import errno
import json
import os
import socket
from typing import Any, Final

import aiohttp
from attrs import field, frozen

from kitt_core.errors import EngineError, EngineLostError
from kitt_core.redaction import REDACTED, without_secrets

__all__ = ["Failures", "Sanitizer", "is_connection_failure", "is_error", "message_in"]

_LONGEST: Final = 180
_LEAST_STATUS: Final = 400
_READ: Final = 4096
"""Characters that are read: a server may send megabytes, and other requests are waiting."""
_OURS: Final = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
"""This machine has run out of something that a connection needs: the server is not to blame."""
_IS_IT_RUNNING: Final = "is the server running? use --base-url for another"
_OTHER_NAME: Final = "is for another host name", "give the host in --base-url as its certificate names it"
_CERTIFICATES: Final = {
    9: ("is not valid yet", "is the clock of this machine right?"),
    10: ("has expired", "renew it, unless the clock of this machine is wrong"),
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}
"""What is wrong with a certificate, and the cure, by OpenSSL's verification error."""
_HINTS: Final = {
    401: "give the server's key in OPENAI_API_KEY",
    403: "give the server's key in OPENAI_API_KEY",
    404: "check --base-url, it usually ends in /v1, and the model given with -m",
}


@frozen
class Sanitizer:
    """Makes a server's text fit to be shown: one line, short, without secrets.

    Attributes:
        api_key: Never shown; empty if there is none.
    """

    api_key: str = field(default="", repr=False)

    def __call__(self, text: str) -> str:
        """Return ``text`` as one line without secrets, of at most 180 characters."""
        if self.api_key:
            # Before anything is cut off: half a key is still a secret.
            text = text.replace(self.api_key, REDACTED).replace(json.dumps(self.api_key)[1:-1], REDACTED)
        shown = without_secrets(text[:_READ])
        line = " ".join("".join(c if c.isprintable() else " " for c in shown).split())
        return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def message_in(body: bytes) -> str:
    """Return the message in a server's error body: in OpenAI's form, in FastAPI's, or the text itself."""
    text = body.decode("utf-8", "replace")
    try:
        return _message(json.loads(text)) or text
    except (ValueError, RecursionError):
        return text


def _message(found: Any) -> str:
    if isinstance(found, str):
        return found
    if isinstance(found, list):  # FastAPI lists errors, each with its location in the body
        return "; ".join(filter(None, map(_message, found)))
    if not isinstance(found, dict):
        return ""
    for key in ("error", "errors", "message", "error_message", "detail", "msg"):
        message = _message(found.get(key))
        if message:
            place = found.get("loc") if key == "msg" else found.get("param") if key == "message" else None
            return _at(place, message)
    return ""


def _at(place: Any, message: str) -> str:
    name = ".".join(map(str, place)) if isinstance(place, list) else place
    return f"{name}: {message}" if isinstance(name, str) and name and name not in message else message


def is_error(found: dict[str, Any]) -> bool:
    """Return whether an event of a stream reports that the request failed, in any of the usual forms."""
    if any(found.get(name) for name in ("error", "errors", "error_message", "error_code")):
        return True
    kinds = [kind.lower() for name in ("object", "type", "status") if isinstance(kind := found.get(name), str)]
    if "error" in kinds:
        return True
    if found.get("choices") or not any(found.get(name) for name in ("message", "detail", "msg")):
        return False
    if any(kind.endswith("error") for kind in kinds):
        return True
    codes = (found.get(name) for name in ("code", "status", "status_code"))
    return bool(found.get("detail")) or any(type(code) is int and code >= _LEAST_STATUS for code in codes)


def is_connection_failure(error: BaseException) -> bool:
    """Return whether the request may be sent again: the connection failed, not the answer.

    Silence does not count: whoever waited a minute for a first byte would wait for minutes more. Nor does a
    certificate: it will be no better next time.
    """
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return True
    if isinstance(error, (aiohttp.ClientSSLError, TimeoutError)):
        return False
    return isinstance(error, (aiohttp.ClientConnectionError, OSError))


@frozen
class Failures:
    """Turns what the HTTP library raises and what the server answers into KITT's errors.

    Attributes:
        server: Scheme, host and port, for messages.
        sanitize: Makes the server's texts fit to be shown.
        connect_timeout: Seconds.
        read_timeout: Seconds.
    """

    server: str
    sanitize: Sanitizer
    connect_timeout: float
    read_timeout: float

    def of_connection(self, error: BaseException, *, answered: bool = False) -> EngineError:
        """Return what ``error`` means; `EngineLostError` if the server cannot be reached.

        Args:
            error: What the library raised.
            answered: Whether part of the answer had arrived.
        """
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return EngineLostError(
                f"{self.server} did not accept a connection within {self.connect_timeout:g} s", hint=_IS_IT_RUNNING
            )
        if isinstance(error, TimeoutError):
            return EngineError(
                f"{self.server} was silent for {self.read_timeout:g} s",
                hint="--engine-option read_timeout=SECONDS sets a longer limit",
            )
        if isinstance(error, aiohttp.ClientSSLError):
            return self._tls(error)
        if isinstance(error, aiohttp.ClientConnectorError):
            return self._connector(error)
        if isinstance(error, (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, OSError)):
            when = "in mid-stream" if answered else "before it answered"
            return EngineError(f"{self.server} dropped the connection {when}")
        if isinstance(error, aiohttp.ClientResponseError):
            return EngineError(f"{self.server} does not speak HTTP", hint="does --base-url name the right port?")
        return EngineError(f"{self.server}: the request failed with {type(error).__name__}")

    def of_status(self, status: int, body: bytes) -> EngineError:
        """Return what an unsuccessful answer means."""
        said = self.sanitize(message_in(body))
        return EngineError(f"HTTP {status}" + (f": {said}" if said else ""), hint=_HINTS.get(status))

    def of_redirection(self, response: aiohttp.ClientResponse, target: str | None) -> EngineError:
        """Return what a redirection means that is not followed; ``target`` is where to, if on the same server."""
        place = self.sanitize(target or response.headers.get("Location") or "an unknown place")
        if target is not None:
            return EngineError(
                f"{self.server} redirects to {place} with HTTP {response.status}, which is not followed",
                hint="give that URL with --base-url, without the endpoint",
            )
        return EngineError(
            f"{self.server} redirects to {place}, which is another server",
            hint="if that is the one to measure, give its URL with --base-url, without the endpoint",
        )

    def _connector(self, error: aiohttp.ClientConnectorError) -> EngineError:
        cause = error.os_error
        if isinstance(cause, socket.gaierror):
            return EngineLostError(
                f"{self.server}: the name {error.host} cannot be resolved", hint="check the name in --base-url"
            )
        if cause.errno in _OURS:
            return EngineError(
                f"this machine cannot open another connection: {os.strerror(cause.errno)}",
                hint="raise `ulimit -n` or measure with fewer requests in flight",
            )
        # When several addresses fail, only the text holds their error numbers.
        if cause.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(cause):
            return EngineLostError(f"{self.server} refuses the connection", hint=_IS_IT_RUNNING)
        reason = f": {os.strerror(cause.errno)}" if cause.errno else ""
        return EngineLostError(f"{self.server} cannot be reached{reason}", hint=_IS_IT_RUNNING)

    def _tls(self, error: aiohttp.ClientSSLError) -> EngineError:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            code = getattr(error.certificate_error, "verify_code", 0)
            if code in _CERTIFICATES:
                wrong, hint = _CERTIFICATES[code]
                return EngineError(f"the certificate of {self.server} {wrong}", hint=hint)
            return EngineError(
                f"the certificate of {self.server} is not trusted",
                hint="set SSL_CERT_FILE to a file with the certificate of its authority",
            )
        return EngineError(
            f"no TLS connection to {self.server}", hint="for a server without TLS, begin the URL with http://"
        )
