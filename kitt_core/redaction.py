"""Hiding the secrets that connection strings and URLs carry.

Where it is unclear what belongs to a secret, more is hidden than necessary: a password may contain ``/ ? # @`` and
spaces, although a URL would have to encode them.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["REDACTED", "shown_value", "without_secrets"]

REDACTED: Final = "***"
"""What replaces a secret."""

_NAME: Final = r"[\w.-]*(?:password|passphrase|passwd|pwd|secret|token|credentials?|signature)"
_KEY: Final = r"(?:[\w.-]*[_.-])?(?:api|access|auth)?(?:key|sig|auth)"
_VALUE: Final = r"""(?:'(?:\\.|[^'\\])*(?:'|$)|"(?:\\.|[^"\\])*(?:"|$)|(?:\\.|\S)+)"""
_NEXT_URL: Final = re.compile(r"(?=\s[a-z][\w+.-]*://)", re.IGNORECASE)
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
_SECRET_KEY: Final = re.compile(rf"((?:^|[?&\s])(?:{_NAME}|{_KEY})\s*=).*", re.IGNORECASE | re.DOTALL)
_NOT_A_PORT: Final = re.compile(r"(://(?:\[[^\]]*\]|[^/?#:@\[]*):)(?!\d+(?:[/?#,]|$))(?!\*\*\*@).*", re.DOTALL)


def shown_value(text: str) -> str:
    """Return one value of a setting as it may be shown: a name, URI, path or connection string.

    Unlike in a sentence, all that follows may belong to the secret, and is hidden: from the user to the last @,
    after the name of a secret, after a port that is not a number. What then still has control characters, or white
    space in a URI, can't be read as anything, and is hidden as a whole.
    """
    shown = _SECRET_KEY.sub(rf"\1{REDACTED}", text)
    shown = _NOT_A_PORT.sub(rf"\1{REDACTED}", _without_user(shown))
    shown = without_secrets(shown)
    unclear = not shown.isprintable() or (any(map(str.isspace, shown)) and re.search("://[^/]", shown))
    return REDACTED if unclear else shown


def _without_user(text: str) -> str:
    """Hide what is before the last @ unless it is a path; a user name in its proper place may stay."""
    before, at, place = text.rpartition("@")
    if not at:
        return text
    scheme, slashes, rest = before.partition("://")
    if not slashes:
        return f"{REDACTED}@{place}" if ":" in before else text
    if rest.startswith("/") and ":" not in rest:
        return text
    user, colon, _ = rest.partition(":")
    known = colon and re.fullmatch(r"[\w.%+-]*", user) and re.fullmatch(r"[\w+.-]+", scheme)
    return f"{scheme if known else REDACTED}://{f'{user}:' if known else ''}{REDACTED}@{place}"


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
