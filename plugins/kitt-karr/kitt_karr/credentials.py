"""Who one is for a web server: what git would take, without ever asking on the terminal."""

from __future__ import annotations

import os
import subprocess
from shutil import which
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Credentials", "find_credentials", "of_url"]

_PATIENCE_SECONDS: Final = 60


@frozen
class Credentials:
    """A name and its password, which is in no message."""

    username: str
    password: str = field(repr=False)


def of_url(url: str) -> Credentials | None:
    """Return what stands before the ``@`` of a URL."""
    parts = urlsplit(url)
    if not parts.username:
        return None
    return Credentials(unquote(parts.username), unquote(parts.password or ""))


def find_credentials(url: str, directory: Path) -> Credentials | None:
    """Return what is known for a URL: by itself, by ``~/.git-credentials``, by the helpers of git.

    Args:
        url: What asked for credentials.
        directory: The repository: git's configuration there says which helpers are used.
    """
    from dulwich.client import get_credentials_from_store

    parts = urlsplit(url)
    found = of_url(url)
    if found is not None and found.password:
        return found
    username = None if found is None else found.username
    stored = get_credentials_from_store(parts.scheme, parts.hostname or "", username, _stores())
    for name, password in stored:
        return Credentials(unquote(name), unquote(password))
    return _from_helpers(url, directory) if which("git") else None


def _stores() -> list[str]:
    home = os.path.expanduser("~")  # noqa: PTH111 - dulwich takes texts
    config = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return [f"{home}/.git-credentials", f"{config}/git/credentials"]


def _from_helpers(url: str, directory: Path) -> Credentials | None:
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "SSH_ASKPASS": ""}
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            ["git", "-C", str(directory), "-c", "core.askPass=", "credential", "fill"],  # noqa: S607 - git as the user has it
            input=f"url={url}\n\n",
            capture_output=True,
            text=True,
            env=environment,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    values = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if done.returncode or "username" not in values:
        return None
    return Credentials(values["username"], values.get("password", ""))
