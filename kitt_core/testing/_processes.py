"""The other processes of `StoreConcurrencyContract`: forked from one warm server, or started where that can't be.

An interpreter that imports a backend takes a second; a fork of one that has imported it, a few milliseconds. The
server only waits, imports and forks, so that it never has a second thread. What a worker imported is told to the
server with the next request, whose worker then begins with it.
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

_PATIENCE: Final = 300  # seconds after which a process that hangs is a failure and not a hang of the tests
_CAN_FORK: Final = hasattr(os, "fork") and hasattr(socket, "send_fds")

_Streams = tuple[int, int, int]
_Started = tuple[int, Callable[[], int]]


class Worker:
    """A process that does a job of `kitt_core.testing.worker`.

    Attributes:
        said: What it writes to standard output.
        returncode: Its exit code once `finish` has returned, negative for the signal that ended it.
    """

    def __init__(self, started: _Started, stdin: int, said: IO[str], complaint: IO[str]) -> None:
        self._pid, self._wait = started
        self._stdin = stdin
        self._complaint = complaint
        self.said = said
        self.returncode: int | None = None

    def go(self) -> None:
        """Let a worker begin that waits for it."""
        os.write(self._stdin, b"go\n")

    def kill(self) -> None:
        """Send SIGKILL to this process alone."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def finish(self) -> list[str]:
        """Wait for the end and return the whole lines that were not read before.

        Raises:
            TimeoutError: The process hung; it is killed.
        """
        hung = threading.Event()

        def give_up() -> None:
            hung.set()
            self.kill()

        timer = threading.Timer(_PATIENCE, give_up)
        timer.start()
        try:
            lines = self.said.read().splitlines(keepends=True)
            if self.returncode is None:
                self.returncode = self._wait()
        finally:
            timer.cancel()
        if hung.is_set():
            raise TimeoutError(f"a worker hung for {_PATIENCE} s: {self.complaint()}")
        return [line.strip() for line in lines if line.endswith("\n")]

    def complaint(self) -> str:
        """Return what it wrote to standard error."""
        self._complaint.seek(0)
        return self._complaint.read()


@contextlib.contextmanager
def started(place: StoreTarget, job: str, *texts: str) -> Iterator[Worker]:
    """Start a worker; whatever happens, it has ended afterwards."""
    arguments = [job, place.encode(), *texts]
    with contextlib.ExitStack() as stack:
        complaint = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
        their_stdin, stdin = os.pipe()
        stack.callback(os.close, stdin)
        stdout, their_stdout = os.pipe()
        said = stack.enter_context(open(stdout, encoding="utf-8"))  # noqa: PTH123  # a descriptor has no path
        try:
            streams = (their_stdin, their_stdout, complaint.fileno())
            process = (_forked(arguments, streams) if _CAN_FORK else None) or _begun(arguments, streams)
        finally:
            os.close(their_stdin)
            os.close(their_stdout)
        worker = Worker(process, stdin, said, complaint)
        try:
            yield worker
        finally:
            worker.kill()
            worker.finish()


def _begun(arguments: Sequence[str], streams: _Streams) -> _Started:
    """Start an interpreter."""
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
    """Have the server fork a worker; None if it can't any longer."""
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
    """The client's side of the process that forks; it ends with the process that started it."""

    def __init__(self) -> None:
        self.modules: dict[str, None] = {}
        """What workers imported and the server did not yet, in that order."""
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
        """Ask for a worker in the directory, with the environment and the path of imports that are ours now."""
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
            # A module may be importable in the worker alone, which will say so if that matters.
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        *streams, status = descriptors
        if threading.active_count() > 1:  # a plugin began one when it was imported: a fork might hang
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
    """Fork the worker, which returns, and wait for its end, which is reported."""
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
