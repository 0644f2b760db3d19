"""Which repository is pushed to and pulled from: an argument, or what git's configuration says."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from kitt_core.errors import ConfigurationError
from kitt_core.redaction import without_secrets
from kitt_karr.errors import translated
from kitt_karr.repository import Repository

if TYPE_CHECKING:
    from dulwich.config import StackedConfig

__all__ = ["Remote", "find_remote", "set_origin"]

_HEADS: Final = "refs/heads/"
_ORIGIN: Final = "origin"
_SCHEMES: Final = ("file", "ssh", "git+ssh", "http", "https")
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]*):(?://|:)", re.IGNORECASE)
"""How a URL begins; two colons are git's way to name a program that is the transport."""
_SCP_LIKE: Final = re.compile(r"[^/:]{2,}:.*")
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*")


@frozen
class Remote:
    """Another repository, and which of its branches is meant.

    Attributes:
        name: Its name in the configuration, None if its address was given.
        url: Where to fetch from.
        push_url: Where to push to.
        branch: The branch's full name there.
    """

    name: str | None
    url: str = field(repr=False)  # may hold a password
    push_url: str = field(repr=False)
    branch: str

    @property
    def shown(self) -> str:
        """The address for people."""
        return without_secrets(self.url)

    @property
    def short_branch(self) -> str:
        """The branch's name for people."""
        return self.branch.removeprefix(_HEADS)

    @property
    def tracking(self) -> str | None:
        """The name under which this repository remembers the branch."""
        return None if self.name is None else f"refs/remotes/{self.name}/{self.short_branch}"

    @property
    def directory(self) -> Path | None:
        """Where it is, if it is on this machine."""
        return _directory(self.url)


def _directory(url: str) -> Path | None:
    if url.startswith("file://"):
        return Path(unquote(urlsplit(url).path))
    return None if _URL.match(url) or (_SCP_LIKE.fullmatch(url) and not Path(url).exists()) else Path(url)


def find_remote(repository: Repository, given: str | None = None, branch: str | None = None) -> Remote:
    """Return the repository that is meant.

    Args:
        repository: This one.
        given: A name from its configuration, a URL or a path; without it the branch's own remote, else ``origin``.
        branch: The branch there; without it the one that the configuration names, else that of the same name.

    Raises:
        ConfigurationError: There is none of that name, or nothing is configured.
        StoreUnavailableError: ``HEAD`` is on no branch.
    """
    head = repository.head()
    repository.refuse_detached(head)
    here = str(head.branch).removeprefix(_HEADS)
    with translated(repository.path):
        config = repository.repo.get_config_stack()
        name = given or _value(config, ("branch", here), "remote") or _ORIGIN
        there = branch or _merged_branch(config, here, name) or here
        url = _value(config, ("remote", name), "url")
        if url is not None:
            push = _value(config, ("remote", name), "pushurl") or url
            base = repository.path
            return Remote(name, _placed(config, url, base), _placed(config, push, base, push=True), _full(there))
    if given is None:
        raise ConfigurationError(
            f"{repository.path} has no remote called {name}",
            hint="name one here, or keep it: `kitt karr init PATH --remote URL`",
        )
    if _PLAIN_NAME.fullmatch(given) and not Path(given).exists():
        known = sorted(part[1].decode() for part in config.sections() if part[0] == b"remote" and len(part) > 1)
        raise ConfigurationError(
            f"{given!r} is neither a remote of {repository.path} nor a path",
            hint=f"its remotes: {', '.join(known)}" if known else "name a URL or a path",
        )
    return Remote(None, _placed(config, given, Path()), _placed(config, given, Path(), push=True), _full(there))


def _full(branch: str) -> str:
    return branch if branch.startswith("refs/") else f"{_HEADS}{branch}"


def _merged_branch(config: StackedConfig, here: str, name: str) -> str | None:
    return (
        _value(config, ("branch", here), "merge") if _value(config, ("branch", here), "remote") == name else None
    )


def _placed(config: StackedConfig, url: str, base: Path, *, push: bool = False) -> str:
    """Return a URL as it is used: replaced as ``url.….insteadOf`` says, a path made absolute."""
    from dulwich.config import apply_instead_of

    url = apply_instead_of(config, url, push=push)
    scheme = _URL.match(url)
    _check_scheme(url)
    place = _directory(url)
    return url if place is None or scheme is not None else str((base / place.expanduser()).absolute())


def _check_scheme(url: str) -> None:
    scheme = _URL.match(url)
    if scheme is not None and (scheme[1].lower() not in _SCHEMES or scheme[0].endswith("::")):
        raise ConfigurationError(
            f"{without_secrets(url)}: no transport for {scheme[1]}",
            hint=f"there are {', '.join(_SCHEMES)} and paths",
        )


def _value(config: StackedConfig, section: tuple[str, ...], name: str) -> str | None:
    try:
        return os.fsdecode(config.get(tuple(map(os.fsencode, section)), name.encode()))
    except KeyError:
        return None


def set_origin(repository: Repository, url: str) -> None:
    """Note in the repository's configuration where it is pushed to; a path is meant from the current directory.

    Raises:
        ConfigurationError: Another address is there already.
    """
    if "://" not in url and Path(url).exists():
        url = str(Path(url).absolute())
    with translated(repository.path, "cannot be written"):
        config = repository.repo.get_config()
        section = (b"remote", _ORIGIN.encode())
        known = os.fsdecode(config.get(section, b"url")) if config.has_section(section) else None
        if known not in {None, url}:
            raise ConfigurationError(
                f"{repository.path} has the remote {without_secrets(str(known))} already",
                hint=f"change it with `git -C {repository.path} remote set-url {_ORIGIN} URL`",
            )
        config.set(section, b"url", os.fsencode(url))
        config.set(section, b"fetch", f"+refs/heads/*:refs/remotes/{_ORIGIN}/*".encode())
        config.write_to_path()
