"""The worker processes of `StoreConcurrencyContract`: forked from one warm server, or started one by one.

An interpreter that imports a backend takes a second; a fork of one that has imported it, a few milliseconds. The
server only waits, imports and forks, so it never has a second thread. The next request names the modules that
earlier workers imported: the server imports them before it forks.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import IO, Any, Final

from kitt_core.testing import worker
from kitt_core.testing.worker import StoreTarget

__all__ = ["Worker", "started"]

_TIMEOUT_SECONDS: Final = 300  # a worker that hangs longer fails its test, instead of blocking all tests
_CAN_FORK: Final = hasattr(os, "fork") and hasattr(socket, "send_fds")

_Streams = tuple[int, int, int]
_Started = tuple[int, Callable[[], int]]


class Worker:
    """A process that does a job of `kitt_core.testing.worker`.

    Attributes:
        stdout: Its standard output.
        returncode: Its exit code once `finish` has returned, or the negative number of the signal that ended it.
    """

    def __init__(self, started: _Started, stdin: int, stdout: IO[str], stderr: IO[str]) -> None:
        self._pid, self._wait = started
        self._stdin = stdin
        self._stderr = stderr
        self.stdout = stdout
        self.returncode: int | None = None

    def go(self) -> None:
        """Let a worker that waits begin."""
        os.write(self._stdin, b"go\n")

    def kill(self) -> None:
        """Send SIGKILL to this process alone."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def finish(self) -> list[str]:
        """Wait for the end and return the complete lines that were not read before.

        Raises:
            TimeoutError: The process hung; it has been killed.
        """
        hung = threading.Event()

        def give_up() -> None:
            hung.set()
            self.kill()

        timer = threading.Timer(_TIMEOUT_SECONDS, give_up)
        timer.start()
        try:
            lines = self.stdout.read().splitlines(keepends=True)
            if self.returncode is None:
                self.returncode = self._wait()
        finally:
            timer.cancel()
        if hung.is_set():
            raise TimeoutError(f"a worker hung for {_TIMEOUT_SECONDS} s: {self.errors()}")
        return [line.strip() for line in lines if line.endswith("\n")]

    def errors(self) -> str:
        """Return what it wrote to standard error."""
        self._stderr.seek(0)
        return self._stderr.read()


@contextlib.contextmanager
def started(place: StoreTarget, job: str, *texts: str) -> Iterator[Worker]:
    """Start a worker, and end it when the block is left, however that happens."""
    arguments = [job, place.encode(), *texts]
    with contextlib.ExitStack() as stack:
        stderr = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
        their_stdin, stdin = os.pipe()
        stack.callback(os.close, stdin)
        output, their_stdout = os.pipe()
        stdout = stack.enter_context(open(output, encoding="utf-8"))  # noqa: PTH123  # a descriptor has no path
        try:
            streams = (their_stdin, their_stdout, stderr.fileno())
            process = (_forked(arguments, streams) if _CAN_FORK else None) or _spawned(arguments, streams)
        finally:
            os.close(their_stdin)
            os.close(their_stdout)
        worker = Worker(process, stdin, stdout, stderr)
        try:
            yield worker
        finally:
            worker.kill()
            worker.finish()


def _spawned(arguments: Sequence[str], streams: _Streams) -> _Started:
    """Start a new interpreter."""
    stdin, stdout, stderr = streams
    process = subprocess.Popen(  # noqa: S603  # this interpreter and our own module
        [sys.executable, "-m", worker.__name__, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    return process.pid, process.wait


def _forked(arguments: Sequence[str], streams: _Streams) -> _Started | None:
    """Have the server fork a worker; None if it no longer can."""
    server = _server()
    status, their_status = os.pipe()
    reports = open(status, encoding="utf-8")  # noqa: PTH123, SIM115  # closed by `ended`
    try:
        server.request(arguments, (*streams, their_status))
    finally:
        os.close(their_status)
    pid = int(reports.readline() or 0)
    if pid == 0:
        reports.close()
        return None

    def ended() -> int:
        with reports:
            *learned, code = reports.read().splitlines()
        for names in learned:
            server.modules.update(dict.fromkeys(names.split()))
        return int(code)

    return pid, ended


class _Server:
    """The client's side of the process that forks, which ends with the process that started it."""

    def __init__(self) -> None:
        self.modules: dict[str, None] = {}
        """What workers have imported and the server has not yet, in that order."""
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # this interpreter and this module
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C at the terminal is for the tests
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        atexit.register(self.close)

    def request(self, arguments: Sequence[str], descriptors: Sequence[int]) -> None:
        """Request a worker with the current directory, environment and import path of this process."""
        here = {"directory": os.getcwd(), "environment": dict(os.environ), "path": sys.path}  # noqa: PTH109
        text = json.dumps({"arguments": list(arguments), "modules": list(self.modules), **here})
        self.modules.clear()
        socket.send_fds(self._channel, [b"."], descriptors)
        self._channel.sendall(f"{text}\n".encode())

    def close(self) -> None:
        """End the server."""
        self._channel.close()
        self._process.wait()


@cache
def _server() -> _Server:
    return _Server()


# The server's side.


def _serve(channel: socket.socket) -> list[str]:
    """Fork a worker for each request; return its arguments in the worker alone."""
    while True:
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 4)
        if not descriptors:
            sys.exit()
        with channel.makefile("r", encoding="utf-8") as lines:
            request = json.loads(lines.readline())
        sys.path[:] = request["path"]
        for name in request["modules"]:
            # The import may fail here and succeed in the worker, which reports an error if that matters.
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        *streams, status = descriptors
        if threading.active_count() > 1:  # an imported plugin started one: a fork might hang
            os.write(status, b"0\n")
        elif os.fork() == 0:
            channel.close()
            _watch(streams, status)
            _become(request, status)
            return list(request["arguments"])
        for descriptor in descriptors:
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _watch(streams: Sequence[int], status: int) -> None:
    """Fork the worker, in which this returns; the parent waits for its end and reports it."""
    pid = os.fork()
    if pid == 0:
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        return
    for descriptor in streams:
        os.close(descriptor)
    os.write(status, f"{pid}\n".encode())
    _, ended = os.waitpid(pid, 0)
    os.write(status, f"{os.waitstatus_to_exitcode(ended)}\n".encode())
    os._exit(0)


def _become(request: dict[str, Any], status: int) -> None:
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    os.set_inheritable(status, False)  # noqa: FBT003  # it takes no keyword
    known = set(sys.modules)

    def report() -> None:
        os.write(status, f"{' '.join(name for name in sys.modules if name not in known)}\n".encode())
        os.close(status)

    atexit.register(report)


if __name__ == "__main__":
    worker.main(_serve(socket.socket(fileno=int(sys.argv[1]))))
