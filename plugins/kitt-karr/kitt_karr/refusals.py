"""What remotes and the way to them refuse, as KITT's errors: one line, the culprit, the cure, and no secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kitt_core.errors import KittError
from kitt_core.redaction import without_secrets

__all__ = ["RemoteError", "remote_errors"]

_ADDRESS: Final = "check the address and the network; nothing was changed"
_LOGIN: Final = (
    "git's ways are open: a credential helper, ~/.git-credentials, http.extraHeader, or `https://NAME:TOKEN@…`"
)
# What ssh and git say before they hang up, and what helps. The first that fits.
_LINES: Final = (
    (
        r"host key verification failed",
        "compare the key with what the host's owner says, then `ssh-keygen -R HOST`",
    ),
    (r"permission denied", "give the host your public key, or load the private one: `ssh-add`"),
    (r"could not resolve|name or service not known|timed out|no route|refused|unreachable", _ADDRESS),
    (r"dubious ownership", "on that machine: git config --global --add safe.directory PATH"),
    (
        r"does not appear to be a git repository|not found|does not exist",
        "check the path; `git init --bare` makes one",
    ),
)
_NOISE: Final = re.compile(
    r"warning: permanently added|^[@\s*-]*$|^\s*fatal: could not read from remote", re.IGNORECASE
)


class RemoteError(KittError):
    """A remote repository cannot be reached, or refuses; this one is as it was."""

    exit_code = 1


@contextmanager
def remote_errors(shown: str) -> Iterator[None]:
    """Raise `RemoteError` for whatever goes wrong on the way to a remote.

    Args:
        shown: The remote, without secrets.
    """
    try:
        yield
    except KittError:
        raise
    except Exception as error:  # dulwich's errors have no root, urllib3's are beneath its own
        what, cure = _explained(error)
        raise RemoteError(f"{shown} {without_secrets(what)}", hint=cure) from error


def _explained(error: Exception) -> tuple[str, str | None]:
    from dulwich.client import HTTPProxyUnauthorized, HTTPUnauthorized
    from dulwich.errors import HangupException, NotGitRepository, SendPackError

    if isinstance(error, HTTPUnauthorized):
        return "asks for a name and a password, and none that is known here is right (HTTP 401)", _LOGIN
    if isinstance(error, HTTPProxyUnauthorized):
        return (
            "is behind a proxy that asks for a password (HTTP 407)",
            "put both into http.proxy: http://NAME:PASSWORD@HOST",
        )
    if isinstance(error, NotGitRepository):
        return "is not a git repository", "check the address; `git init --bare` makes one"
    if isinstance(error, HangupException):
        return _hung_up([line.decode("utf-8", "replace") for line in error.stderr_lines or ()])
    if isinstance(error, SendPackError):
        return f"did not take the objects: {_text(error)}", "nothing was changed there; try again"
    if isinstance(error, FileNotFoundError) and str(error.filename) in {"ssh", "git"}:
        return f"needs the program {error.filename}, which is not installed", f"install {error.filename}"
    if isinstance(error, OSError):
        return f"cannot be used: {error.strerror or type(error).__name__}", _ADDRESS
    return _of_the_web(error)


def _hung_up(lines: list[str]) -> tuple[str, str | None]:
    said = [line.strip() for line in lines if not _NOISE.search(line)]
    for expression, cure in _LINES:
        for line in said:
            if re.search(expression, line, re.IGNORECASE):
                return f"cannot be used: {line}", cure
    return f"hung up: {said[-1] if said else 'it did not say why'}", _ADDRESS


def _of_the_web(error: Exception) -> tuple[str, str | None]:
    """Explain what dulwich says of HTTP; its own text quotes whole requests."""
    link: BaseException | None = error
    names = set()
    while link is not None:
        names.add(type(link).__name__)
        link = (
            getattr(link, "reason", None)
            if isinstance(getattr(link, "reason", None), Exception)
            else link.__cause__
        )
    if names & {"SSLError", "SSLCertVerificationError"}:
        return "has a certificate that is not trusted here", "name the authority's: git config http.sslCAInfo FILE"
    if names & {
        "NameResolutionError",
        "NewConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ProxyError",
    }:
        return "cannot be reached", _ADDRESS
    text = _text(error)
    if status := re.search(r"unexpected http resp (\d+)", text):
        cure = "your account may not do that there" if status[1] == "403" else _ADDRESS
        return f"refused (HTTP {status[1]})", cure
    return f"failed: {text}", _ADDRESS


def _text(error: Exception) -> str:
    first = error.args[0] if error.args else ""
    text = first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)
    return " ".join(text.split()) or type(error).__name__
