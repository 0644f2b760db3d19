"""Texts without the secrets that connection strings and URLs carry."""

from __future__ import annotations

import re
from typing import Final

from kitt_core.options import REDACTED

__all__ = ["without_secrets"]

_USER_INFO: Final = re.compile(r"(?<=://)(?P<user>[^/?#@:\s]*):[^/?#\s]*@")
_PARAMETER: Final = re.compile(
    r"(?P<key>\b(?:[a-z_]*(?:password|passwd|secret|token)|api[_-]?key)\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s&;]+)",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """Return ``text`` with the passwords of URLs and of ``key=value`` pairs hidden."""
    hidden = _USER_INFO.sub(rf"\g<user>:{REDACTED}@", text)
    return _PARAMETER.sub(rf"\g<key>{REDACTED}", hidden)
