"""Who commits: what git would take, else a name that says which program it was."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dulwich.config import Config

__all__ = ["identity_of"]

_NAME: Final = b"KITT"
_ADDRESS: Final = b"kitt@localhost"
_CRUD: Final = re.compile(rb"[<>\n\0]+")


def identity_of(config: Config, role: str) -> bytes:
    """Return ``Name <address>`` as git finds it: environment, configuration, else KITT's own.

    A machine that only measures needs no git configuration: a finished run must not be lost for want of a name.

    Args:
        config: The repository's configuration with the user's and the system's.
        role: ``AUTHOR`` or ``COMMITTER``.
    """
    return b"%s <%s>" % (
        _found(config, role, "NAME", _NAME),
        _found(config, role, "EMAIL", _ADDRESS),
    )


def _found(config: Config, role: str, part: str, default: bytes) -> bytes:
    given = os.fsencode(os.environ.get(f"GIT_{role}_{part}", ""))
    for section in (role.lower().encode(), b"user"):
        if not given:
            try:
                given = config.get((section,), part.lower().encode())
            except KeyError:
                continue
    clean = _CRUD.sub(b"", given).strip()
    return clean or default
