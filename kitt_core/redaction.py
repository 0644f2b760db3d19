"""Hiding the secrets that connection strings and URLs carry.

Where it is unclear what belongs to a secret, more is hidden than necessary: a password may contain ``/ ? # @`` and
spaces, although a URL would have to encode them.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["REDACTED", "without_secrets"]

REDACTED: Final = "***"
"""What replaces a secret."""

_NAME: Final = r"[\w.-]*(?:password|passphrase|passwd|pwd|secret|token|credentials?|signature)"
_KEY: Final = r"(?:[\w.-]*[_.-])?(?:api|access|auth)?(?:key|sig|auth)"
_VALUE: Final = r"""(?:'(?:\\.|[^'\\])*(?:'|$)|"(?:\\.|[^"\\])*(?:"|$)|(?:\\.|\S)+)"""
_NEXT_URL: Final = re.compile(r"(?=\n|\s[a-z][\w+.-]*://)", re.IGNORECASE)
_USER: Final = re.compile(r"://[^/?#:\s]*:")
_SUBSTITUTIONS: Final = tuple(
    (re.compile(expression, re.IGNORECASE), replacement)
    for expression, replacement in (
        # A URL that lost its scheme or a slash.
        (r"(?<![\w/:@.+%-])([\w.+-]+:/?)?[\w.+%-]+:(?!//)[^\s@]+@", f"{REDACTED}@"),
        # A single word before the @ of a URL is more often a token than a user name.
        (r"(?<=://)[^/?#:\s]+@", f"{REDACTED}@"),
        (rf"([?&](?:{_NAME}|{_KEY})=)[^&\s]*", rf"\1{REDACTED}"),
        (rf"((?<![?&\w.-])(?:{_NAME}|api[_-]?key)\s*=\s*){_VALUE}", rf"\1{REDACTED}"),
    )
)


def without_secrets(text: str) -> str:
    """Return ``text`` with the credentials in URLs and in ``key=value`` pairs hidden.

    Takes time proportional to the text's length at most, because the text may be untrusted.
    """
    text = "".join(map(_without_password, _NEXT_URL.split(text)))
    for expression, replacement in _SUBSTITUTIONS:
        text = expression.sub(replacement, text)
    return text


def _without_password(text: str) -> str:
    """Hide everything between a URL's user name and the last @ before the next URL."""
    end = text.rfind("@")
    user = _USER.search(text, 0, max(0, end))
    return text if user is None else f"{text[: user.end()]}{REDACTED}{text[end:]}"
