"""The test server in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from types import TracebackType
from typing import Any, Final, Self
from urllib.request import ProxyHandler, Request, build_opener

import attrs

from kitt_engines.testing.behaviour import Behaviour

__all__ = ["RunningServer"]

_PATIENCE: Final = 180.0  # seconds, for a busy machine


class RunningServer:
    """A context manager that runs a test server; the server also ends with this process, however that ends.

    Args:
        behaviour: Its initial behaviour.

    Attributes:
        behaviour: Its initial behaviour.
        url: Its base URL, with ``/v1``.
        process: The process.
    """

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.url = ""
        self.process: subprocess.Popen[str] | None = None
        self._opener = build_opener(ProxyHandler({}))

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kitt_engines.testing.server", "--port", "0", "--until-input-ends"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # Ends a server that prints nothing, and with it the read.
        watch = threading.Timer(_PATIENCE, self.process.kill)
        watch.start()
        try:
            line = self.process.stdout.readline() if self.process.stdout else ""
        finally:
            watch.cancel()
        if not line:
            self.stop()
            raise RuntimeError("the test server did not start; see its standard error")
        self.url = line.strip()
        self.configure(**attrs.asdict(self.behaviour))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def root(self) -> str:
        """Its URL without ``/v1``."""
        return self.url.removesuffix("/v1")

    def configure(self, **changes: Any) -> None:
        """Change fields of its `Behaviour`, count requests from 1 again and forget the recorded ones."""
        self._call("/control/behaviour", changes)

    def reset(self) -> None:
        """Restore its initial behaviour."""
        self.configure(**attrs.asdict(self.behaviour))

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests it received: ``number path headers has_key body outcome``."""
        found: list[dict[str, Any]] = self._call("/control/requests")
        return found

    def probes(self) -> list[dict[str, Any]]:
        """Return the further ones that only found out what it takes; no fault of a number applies."""
        found: list[dict[str, Any]] = self._call("/control/probes")
        return found

    def state(self) -> dict[str, int]:
        """Return how many ``requests`` have arrived and how many are ``in_flight``."""
        found: dict[str, int] = self._call("/control/state")
        return found

    def stop(self) -> None:
        """End the process, if it runs."""
        if self.process is None:
            return
        self.process.kill()
        self.process.communicate()  # also closes the pipes

    def _call(self, path: str, changes: dict[str, Any] | None = None) -> Any:
        data = None if changes is None else json.dumps(changes).encode()
        request = Request(self.root + path, data=data, headers={"Content-Type": "application/json"})  # noqa: S310 - our own server
        with self._opener.open(request, timeout=_PATIENCE) as response:
            return json.load(response)
