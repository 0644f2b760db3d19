"""A PostgreSQL server that a test starts, stops and crashes."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import secrets
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import quote, urlencode

from kitt_postgres.testing.binaries import (
    LONGEST_SOCKET,
    PrivateServerError,
    ServerBinaries,
    installed_servers,
    reachable,
    run_options,
    server_account,
    temporary_directory,
)

__all__ = ["FAST", "PrivateServer", "StopMode"]

StopMode = Literal["fast", "immediate"]

FAST: Final[Mapping[str, str]] = MappingProxyType(
    {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "autovacuum": "off"}
)
"""Settings for tests without power cuts: what the kernel has survives a crash of the server."""

_HOST: Final = "127.0.0.1"
_SUPERUSER: Final = "postgres"
# Below the ephemeral ports: after a crash the server must get the same port again.
_PORTS: Final = range(20_000, 32_000)
_TRIES: Final = 20
_TIMEOUT: Final = 180  # seconds for a start or stop; recovery is slow on a busy machine

# Waits for the end of the test process, which closes standard input, and cleans up after it.
_WATCHDOG: Final = 'read -r _; "$0" stop -s -m immediate -D "$1"; [ -z "$2" ] || rm -rf "$2"'


class PrivateServer:
    """A server in a directory of its own, gone with the process that started it.

    It listens on 127.0.0.1 and on a Unix socket, and asks for passwords on both. As a context manager it is
    started and finally removed.

    Args:
        binaries: Which server; the newest by default.
        directory: Where its data is kept; it must be reachable by the server's account. By default a temporary
            directory, which is removed when the server is closed.
        settings: For ``postgresql.conf``. By default every commit is durable, as usual in PostgreSQL.
    """

    def __init__(
        self,
        binaries: ServerBinaries | None = None,
        directory: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._account = server_account()
        chosen = binaries or installed_servers()[-1]
        self.major = chosen.major
        self._programs = reachable(chosen, self._account)
        self.password = secrets.token_urlsafe(16)
        self.port = 0
        self._settings = dict(settings or {})
        self._owned = directory is None
        self._base = directory or temporary_directory(self._account)
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._process = os.getpid()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PrivateServer {self.major} on port {self.port} in {self._base}>"

    @property
    def data(self) -> Path:
        """The server's data directory."""
        return self._base / "data"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self._base / "log"

    @property
    def running(self) -> bool:
        """Whether the server runs."""
        if not (self.data / "postmaster.pid").exists():
            return False
        return self._run("pg_ctl", "status", "-D", str(self.data)).returncode == 0

    @property
    def pid(self) -> int | None:
        """The server's process id, None if it does not run."""
        return int((self.data / "postmaster.pid").read_text().split()[0]) if self.running else None

    def start(self) -> None:
        """Start the server and wait until it answers; the first start creates its data.

        Raises:
            PrivateServerError: It does not start; the message ends with the last lines of its log.
        """
        socket_path = f"{self._base}/.s.PGSQL.{_PORTS[-1]}"
        if len(os.fsencode(socket_path)) > LONGEST_SOCKET:
            raise PrivateServerError(f"{self._base} is too long for a Unix socket: choose a shorter directory")
        self._watch()
        if not (self.data / "PG_VERSION").exists():
            self._make()
        fixed = self.port != 0
        for _ in range(_TRIES):
            self.port = self.port if fixed else _free_port()
            options = f"-c port={self.port}"
            begin = self.log.stat().st_size if self.log.exists() else 0
            done = self._control("start", "-l", str(self.log), "-o", options)
            if done.returncode == 0:
                return
            if "could not bind" not in self._log_from(begin):
                break
        raise PrivateServerError(f"PostgreSQL {self.major} does not start:\n{done.stdout}{self.last_lines()}")

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server; nothing happens if it does not run.

        Args:
            mode: ``fast`` ends the sessions and writes everything; ``immediate`` drops everything at once, and the
                next start recovers as after a crash.

        Raises:
            PrivateServerError: It does not stop.
        """
        if not self.running:
            return
        done = self._control("stop", "-m", mode)
        if done.returncode != 0 and self.running:
            raise PrivateServerError(f"PostgreSQL {self.major} does not stop:\n{done.stdout}{self.last_lines()}")

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start the server, on the same port."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop the server for good and remove its data, unless the directory was given."""
        if os.getpid() != self._process:
            return  # a forked child inherits this object, but not the server
        atexit.unregister(self.close)
        try:
            with contextlib.suppress(PrivateServerError):
                self.stop("immediate")
        finally:  # an open pipe would fail whichever test runs when it is collected
            watchdog, self._watchdog = self._watchdog, None
            if watchdog is not None:
                with watchdog:
                    watchdog.kill()
            if self._owned:
                shutil.rmtree(self._base, ignore_errors=True)

    def dsn(
        self,
        database: str = "postgres",
        *,
        user: str = _SUPERUSER,
        password: str | None = None,
        host: Literal["tcp", "socket"] = "tcp",
    ) -> str:
        """Return the URI of a database.

        Args:
            database: Its name.
            user: The role to connect as.
            password: That role's password; the superuser's by default.
            host: How to reach the server.
        """
        word = quote(self.password if password is None else password, safe="")
        who = f"{quote(user, safe='')}:{word}"
        name = quote(database, safe="")
        if host == "tcp":
            return f"postgresql://{who}@{_HOST}:{self.port}/{name}"
        return f"postgresql://{who}@/{name}?{urlencode({'host': str(self._base), 'port': self.port})}"

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement as superuser, outside any transaction, and return its rows."""
        import psycopg

        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def create_database(
        self, name: str | None = None, *, template: str | None = None, options: Mapping[str, str] | None = None
    ) -> str:
        """Make a database and return its URI.

        Args:
            name: Its name; a new one by default.
            template: The database to copy, to which nobody may be connected meanwhile.
            options: Further options of ``CREATE DATABASE``, such as ``{"owner": "alice"}``.
        """
        name = name or f"kitt_{secrets.token_hex(6)}"
        given = ({"template": template} if template else {}) | dict(options or {})
        words = " ".join(f"{option} = {_name(value)}" for option, value in given.items())
        self.execute(f"CREATE DATABASE {_name(name)} {words}")
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it; a missing one is not an error."""
        self.execute(f"DROP DATABASE IF EXISTS {_name(name)} WITH (FORCE)")

    def last_lines(self, number: int = 15) -> str:
        """Return the end of the server's log."""
        return "\n".join(self._log_from(0).splitlines()[-number:])

    def _make(self) -> None:
        word = self._base / "password"
        word.write_text(self.password)
        word.chmod(0o644)  # the directory keeps others out
        how = ["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256"]
        done = self._run("initdb", *how, "-U", _SUPERUSER, f"--pwfile={word}", "-D", str(self.data))
        word.unlink()
        if done.returncode != 0:
            raise PrivateServerError(f"initdb of PostgreSQL {self.major} fails in {self._base}:\n{done.stdout}")
        settings = {"listen_addresses": _HOST, "unix_socket_directories": str(self._base), **self._settings}
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {_text(value)}\n" for name, value in settings.items())

    def _control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run("pg_ctl", *arguments, "-D", str(self.data), "-w", "-t", str(_TIMEOUT))

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the wheel's programs
            [self._programs / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=self._base,  # the account may not be allowed into the caller's
            **run_options(self._account),
        )

    def _watch(self) -> None:
        if self._watchdog is not None:
            return
        command = ["/bin/sh", "-c", _WATCHDOG, str(self._programs / "pg_ctl"), str(self.data)]
        self._watchdog = subprocess.Popen(  # noqa: S603 - the text above
            [*command, str(self._base) if self._owned else ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C at the terminal must not end it before its work
            **run_options(self._account),
        )
        atexit.register(self.close)

    def _log_from(self, begin: int) -> str:
        with contextlib.suppress(OSError):
            return self.log.read_bytes()[begin:].decode(errors="replace")
        return ""


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _free_port() -> int:
    ports = random.SystemRandom().sample(_PORTS, 100)
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, port))
            return port
    raise PrivateServerError(f"no free port was found on {_HOST} between {_PORTS[0]} and {_PORTS[-1]}")
