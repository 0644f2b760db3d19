"""The server's address, as the user gives it and as it is used."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from kitt_core.redaction import without_secrets

__all__ = ["normal_base_url"]

_ENDPOINTS: Final = ("/chat/completions", "/completions", "/models")
_SHOWN: Final = 100


def normal_base_url(given: str) -> str:
    """Return the URL that ``/chat/completions`` is added to.

    ``http://localhost:8000`` and ``http://localhost:8000/v1`` are the same server; another path is taken as it is.

    Raises:
        ValueError: It is no URL of a server; the message shows no secret.
    """
    shown = repr(without_secrets(given)[:_SHOWN])
    if re.search(r"[\s\x00-\x1f\x7f]", given):
        raise ValueError(f"base_url {shown} has a space or a control character in it")
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"base_url {shown} is no URL, expected one like http://localhost:8000/v1") from error
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise ValueError(f"base_url {shown} is no URL of a server, expected one like http://localhost:8000/v1")
    if "@" in parts.netloc:
        raise ValueError(f"base_url {shown} has a user or password in it, expected none: give api_key instead")
    if parts.query or parts.fragment:
        raise ValueError(f"base_url {shown} has a query or fragment, expected a URL like http://localhost:8000/v1")
    path = parts.path.rstrip("/")
    for endpoint in _ENDPOINTS:
        if path.endswith(endpoint):
            raise ValueError(f"base_url {shown} is one endpoint, expected the URL without {endpoint}")
    return urlunsplit((parts.scheme, parts.netloc, path or "/v1", "", ""))
